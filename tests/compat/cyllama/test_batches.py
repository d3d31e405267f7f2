"""Batches and samplers of cyllama."""

from __future__ import annotations

import pytest

import llama_ffi as lf
import llama_ffi.compat.cyllama as cy
from llama_ffi import errors
from tests.compat.cyllama.steps import feed

pytestmark = pytest.mark.model


def test_batches() -> None:
    batch = cy.LlamaBatch(n_tokens=4, embd=0, n_seq_max=2, verbose=False)
    batch.set_last_logits_to_true()  # of an empty one it does nothing
    cy.common_batch_add(batch, 5, 0, [0, 1], False)
    batch.add(6, 1, [1], False)
    batch.set_last_logits_to_true()
    batch.set_last_logits_to_true()
    assert batch.n_tokens == 2 and batch.safe.outputs == [False, True]
    assert batch.safe.sequences == [[0, 1], [1]] and batch.safe.positions == [0, 1]
    batch.set_batch([7, 8, 9], 4, False)
    assert (batch.safe.tokens, batch.safe.positions) == ([7, 8, 9], [4, 5, 6])
    assert batch.safe.outputs == [False, False, True]
    batch.add_sequence([1], 1, False)
    assert batch.n_tokens == 4 and batch.safe.sequences[-1] == [1] and batch.safe.outputs[-1]
    for kind in (IndexError, ValueError):
        with pytest.raises(kind, match="4 \\+ 1 tokens don't fit into a batch of 4"):
            batch.add(1, 1, [0], False)
    with pytest.raises(IndexError):
        batch.add_sequence([1, 2], 0, True)
    batch.reset()
    assert batch.n_tokens == 0
    with pytest.raises(IndexError):
        batch.set_batch([1] * 5, 0, True)
    batch.set_batch([1, 2], 0, True)
    assert batch.safe.outputs == [True, True]
    cy.common_batch_clear(batch)
    with pytest.raises(ValueError, match="n_seq_max"):
        batch.add(1, 0, [0, 0, 0], False)
    batch.close()
    with pytest.raises(ValueError, match="closed"):
        batch.add(1, 0, [0], False)
    with pytest.raises(ValueError, match="capacity"):
        cy.LlamaBatch(n_tokens=0, embd=0, n_seq_max=1)
    assert cy.LlamaBatch(n_tokens=2, embd=64, n_seq_max=1).safe.n_embd == 64


# --- samplers ---


def test_samplers_choose_what_the_safe_chain_chooses(ctx: cy.LlamaContext) -> None:
    vocab = ctx.model.get_vocab()
    n_vocab = int(vocab.n_vocab)
    feed(ctx)
    mine = cy.LlamaSampler(cy.LlamaSamplerChainParams(no_perf=False))
    mine.add_logit_bias(n_vocab, [(300, 1.0), cy.LlamaLogitBias(301, -1.0)])
    mine.add_penalties(16, 1.1, 0.1, 0.1)
    mine.add_top_k(40)
    mine.add_typical(0.99, 1)
    mine.add_top_p(0.95, 1)
    mine.add_min_p(0.01, 1)
    mine.add_xtc(0.1, 0.4, 1, 3)
    mine.add_temp(0.9)
    mine.add_temp_ext(1.0, 0.1, 1.0)
    mine.add_infill(vocab)
    mine.add_dist(5)
    other = lf.SamplerChain()
    other.add_logit_bias(n_vocab, {300: 1.0, 301: -1.0})
    other.add_penalties(n_vocab, 16, 1.1, 0.1, 0.1).add_top_k(40).add_typical(0.99, 1).add_top_p(0.95, 1)
    other.add_min_p(0.01, 1).add_xtc(0.1, 0.4, 1, 3).add_temp(0.9).add_temp_ext(1.0, 0.1, 1.0)
    other.add_infill(ctx.model.safe.vocab).add_dist(5)
    with pytest.raises(errors.SamplerError, match="first sample"):
        mine.get_seed()
    mine.accept(300)
    other.accept(300)
    twin = mine.clone()
    expected = [other.sample(ctx.safe, -1) for _ in range(10)]
    assert [mine.sample(ctx, -1) for _ in range(10)] == expected
    assert [twin.sample(ctx, -1) for _ in range(10)] == expected
    assert mine.name() == "chain" and mine.get_seed() == 5
    assert mine.get_perf_data()["n_sample"] >= 10
    mine.reset_perf_data()
    mine.print_perf_data()
    mine.reset()
    mine.close()
    with pytest.raises(ValueError, match="closed"):
        mine.sample(ctx, -1)


def test_mirostat_and_seeds(ctx: cy.LlamaContext) -> None:
    feed(ctx)
    for fill in (
        lambda sampler, seed: sampler.add_mirostat(int(ctx.model.n_vocab), seed, 5.0, 0.1, 100),
        lambda sampler, seed: sampler.add_mirostat_v2(seed, 5.0, 0.1),
        lambda sampler, seed: sampler.add_dist(seed),
    ):
        first, second = cy.LlamaSampler(), cy.LlamaSampler()
        fill(first, 9)
        fill(second, 9)
        assert [first.sample(ctx, -1) for _ in range(5)] == [second.sample(ctx, -1) for _ in range(5)]
    chance = cy.LlamaSampler()
    chance.add_dist(cy.LLAMA_DEFAULT_SEED)
    assert chance.get_seed() != cy.LLAMA_DEFAULT_SEED
    assert cy.LlamaSampler().get_seed() == cy.LLAMA_DEFAULT_SEED


def test_grammars(ctx: cy.LlamaContext) -> None:
    tokens = feed(ctx)
    for owner in (ctx.model.get_vocab(), ctx.model):  # early releases took the model
        ctx.kv_cache_clear()
        feed(ctx)
        sampler = cy.LlamaSampler()
        sampler.add_grammar(owner, 'root ::= "yes" | "no"', "root")
        sampler.add_greedy()
        text, pos = "", len(tokens)
        while not ctx.model.token_is_eog(token := sampler.sample(ctx, -1)):
            text += cy.common_token_to_piece(ctx, token)
            ctx.decode(cy.llama_batch_get_one([token], pos))
            pos += 1
        assert text in ("yes", "no")
    with pytest.raises(ValueError, match="doesn't parse"):
        cy.LlamaSampler().add_grammar(ctx.model.get_vocab(), 'root ::= "a', "root")
    with pytest.raises(TypeError, match="LlamaVocab"):
        cy.LlamaSampler().add_grammar("vocab", 'root ::= "a"', "root")  # type: ignore[arg-type]


def test_a_chain_that_selects_nothing(ctx: cy.LlamaContext) -> None:
    feed(ctx)
    with pytest.raises(errors.NoTokenSelectedError):
        cy.LlamaSampler().sample(ctx, -1)  # cyllama's process ends on this
