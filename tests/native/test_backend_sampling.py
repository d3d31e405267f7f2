"""Samplers that run on the back end: the same as on the CPU, or refused."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi.errors import (
    BorrowedError,
    BusyError,
    CancelledError,
    GrammarError,
    InvalidArgumentError,
    InvalidBatchError,
    NoOutputsError,
    NoTokenSelectedError,
    SamplerError,
    SequenceRangeError,
)
from tests.native.samplers import NAMES, all_samplers

pytestmark = [pytest.mark.native, pytest.mark.model]

PROMPT = "Once upon a time"
INF = float("inf")
Chain = lf.SamplerChain


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Iterator[lf.Model]:
    with lf.Model.load(tiny_model, n_gpu_layers=0) as loaded:
        yield loaded


def context(model: lf.Model, n_seq_max: int = 1) -> lf.Context:
    return model.context(n_ctx=256, n_batch=64, n_threads=1, n_seq_max=n_seq_max)


@pytest.fixture
def ctx(model: lf.Model) -> Iterator[lf.Context]:
    with context(model) as made:
        yield made


def prompt(model: lf.Model) -> lf.Batch:
    return lf.Batch.from_tokens(model.vocab.tokenize(PROMPT))


def raw_logits(model: lf.Model) -> Any:
    with context(model) as plain:
        plain.decode(prompt(model))
        return plain.logits()


def left(ids: Any, logits: Any) -> dict[int, float]:
    """What wasn't dropped: back ends set -inf where the CPU shortens the array."""
    return {int(token): float(logit) for token, logit in zip(ids, logits, strict=True) if logit > -INF}


N = 2157
OFFLOADED: dict[str, Callable[[], lf.SamplerChain]] = {
    "top_k": lambda: Chain().add_top_k(40),
    "top_p": lambda: Chain().add_top_p(0.9),
    "min_p": lambda: Chain().add_min_p(0.05),
    "temp": lambda: Chain().add_temp(0.7),
    "temp of 0": lambda: Chain().add_temp(0.0),
    "temp_ext": lambda: Chain().add_temp_ext(0.8, 0.5, 1.2),
    "logit_bias": lambda: Chain().add_logit_bias(N, {3: 2.0, 325: -INF, 700: -5.0}),
    "penalties": lambda: Chain().add_penalties(N, 64, 1.3, 0.2, 0.1),
    "several": lambda: (
        Chain().add_logit_bias(N, {325: -3.0}).add_penalties(N, 64, 1.3).add_top_k(50).add_temp(0.8)
    ),
    "top_k twice": lambda: Chain().add_top_k(50).add_top_k(20).add_min_p(0.1),
    "penalties of a few": lambda: Chain().add_top_k(50).add_penalties(N, 64, 1.3, 0.2, 0.1).add_temp(1.5),
    "switched off": lambda: Chain().add_top_k(0).add_temp(1.0).add_top_p(1.0).add_top_k(9),
    "then CPU": lambda: Chain().add_top_k(50).add_typical(0.8),
}


@pytest.mark.parametrize("name", OFFLOADED)
def test_the_same_as_on_the_cpu(model: lf.Model, ctx: lf.Context, name: str) -> None:
    chain, on_cpu = OFFLOADED[name](), OFFLOADED[name]()
    for each in (chain, on_cpu):
        for token in (2017, 325, 325, 1747):
            each.accept(token)
    ctx.set_sampler(0, chain)
    ctx.decode(prompt(model))
    got = left(ctx.sampled_candidates(), ctx.sampled_logits())
    if name == "then CPU":
        on_cpu = Chain().add_top_k(50)
    candidates = on_cpu.apply(lf.Candidates(raw_logits(model)))
    expected = left(candidates.ids, candidates.logits)
    assert set(got) == set(expected)
    assert [got[token] for token in expected] == pytest.approx(list(expected.values()), rel=1e-4, abs=1e-4)
    assert ctx.sampled_token() is None
    with pytest.raises(NoOutputsError, match="no probabilities"):
        ctx.sampled_probs()
    with pytest.raises(NoTokenSelectedError, match="selects"):
        chain.sample(ctx)


def generated(model: lf.Model, chain: lf.SamplerChain, backend: bool, count: int = 24) -> list[int]:
    with context(model) as ctx:
        if backend:
            ctx.set_sampler(0, chain)
        batch, tokens = prompt(model), []
        position = len(batch)
        for _ in range(count):
            ctx.decode(batch)
            tokens.append(chain.sample(ctx))
            batch = lf.Batch.from_tokens(tokens[-1:], pos0=position)
            position += 1
        return tokens


WHOLE: dict[str, Callable[[lf.Vocab], lf.SamplerChain]] = {
    "greedy": lambda v: Chain().add_greedy(),
    "penalized greedy": lambda v: Chain().add_penalties(N, 64, 2.0).add_greedy(),
    "dist": lambda v: Chain().add_logit_bias(N, {9: 1.0}).add_temp(0.9).add_dist(3),
    "best": lambda v: Chain().add_top_k(1).add_dist(3),
    "half": lambda v: Chain().add_top_k(40).add_typical(0.9).add_top_n_sigma(2.0).add_dist(3),
    "python": lambda v: Chain().add_top_k(40).add_custom(lambda c: c.sort()).add_dist(3),
    "grammar": lambda v: Chain().add_grammar(v, 'root ::= [a-z ]+ "."').add_top_k(40).add_greedy(),
    "mirostat": lambda v: Chain().add_temp(0.9).add_mirostat_v2(3),
}


@pytest.mark.parametrize("name", WHOLE)
def test_the_same_text_as_on_the_cpu(model: lf.Model, name: str) -> None:
    make = WHOLE[name]
    chain = make(model.vocab)
    assert generated(model, chain, True, 10) == generated(model, make(model.vocab), False, 10)
    runs_there = [each.startswith("+") for each in chain.names]
    assert runs_there == sorted(runs_there, reverse=True)
    assert any(runs_there) == (name != "grammar")


def test_probabilities_and_draws(model: lf.Model, ctx: lf.Context) -> None:
    chain = Chain().add_top_k(6).add_dist(1)
    ctx.set_sampler(0, chain)
    assert chain.names == ["+top-k", "+dist"]
    ctx.decode(prompt(model))
    best = lf.Candidates(raw_logits(model))
    Chain().add_top_k(6).apply(best)
    expected = dict(zip(best.ids.tolist(), best.softmax().tolist(), strict=True))
    got = dict(zip(ctx.sampled_candidates().tolist(), ctx.sampled_probs().tolist(), strict=True))
    assert set(got) == set(expected)
    assert [got[each] for each in expected] == pytest.approx(list(expected.values()), rel=1e-4)
    token = ctx.sampled_token()
    assert token in expected
    assert chain.sample(ctx) == token == ctx.sampled_token(len(prompt(model)) - 1)


def test_several_sequences(model: lf.Model) -> None:
    with context(model, 3) as ctx:
        first, second = Chain().add_greedy(), Chain().add_top_k(3).add_dist(1)
        ctx.set_sampler(0, first)
        ctx.set_sampler(2, second)
        batch = lf.Batch(12, 3)
        tokens = model.vocab.tokenize(PROMPT)
        for sequence in range(3):
            for position, token in enumerate(tokens[:3]):
                batch.add(token, position, [sequence], logits=position == 2)
        ctx.decode(batch)
        raw = ctx.logits(5)
        assert ctx.sampled_token(2) == first.sample(ctx, 2) == raw.argmax()
        assert second.sample(ctx, 8) in ctx.sampled_candidates(-1) and len(ctx.sampled_candidates(8)) == 3
        own = Chain().add_greedy()
        assert own.sample(ctx, 5) == own.sample(ctx, -2) == raw.argmax()
        for index in (2, 8, -1, -3):
            with pytest.raises(NoOutputsError, match="no raw logits"):
                ctx.logits(index)
        with pytest.raises(NoOutputsError, match="no raw logits"):
            with ctx.borrow_logits():
                pass
        for index in (0, 1, 5, 9, -2, -4):
            with pytest.raises(NoOutputsError, match="nothing was sampled"):
                ctx.sampled_token(index)
        for chain, index in ((first, 8), (second, 2), (own, 2)):
            with pytest.raises(SamplerError, match="sampled on the back end by the chain of sequence"):
                chain.sample(ctx, index)
        for chain in (first, second):
            with pytest.raises(SamplerError, match="is attached"):
                chain.sample(ctx, 5)


def test_one_output_of_a_sequence_at_a_time(model: lf.Model, ctx: lf.Context) -> None:
    ctx.set_sampler(0, Chain().add_greedy())
    with pytest.raises(InvalidBatchError, match="at most 1 outputs per sequence"):
        ctx.decode(lf.Batch.from_tokens([1, 2, 3], logits="all"))
    with pytest.raises(NoOutputsError):
        ctx.sampled_token()
    ctx.decode(lf.Batch.from_tokens([1, 2, 3]))
    assert ctx.sampled_token() is not None
    ctx.cancel()
    with pytest.raises(CancelledError):
        ctx.decode(lf.Batch.from_tokens([1], pos0=3))
    with pytest.raises(NoOutputsError):
        ctx.sampled_token()
    long = lf.Batch.from_tokens([1] * 60, pos0=3)
    ctx.decode(long)
    assert ctx.sampled_token() == ctx.sampled_token(59)


# --- what would be something else there ---

REFUSED: dict[str, tuple[Callable[[], lf.SamplerChain], str]] = {
    "empty": (Chain, "empty"),
    "greedy behind top_k": (lambda: Chain().add_top_k(5).add_greedy(), r"greedy behind top-k .*use dist"),
    "greedy behind top_p": (lambda: Chain().add_top_p(0.5).add_temp(2.0).add_greedy(), "greedy behind top-p"),
    "greedy behind temp": (lambda: Chain().add_temp(0.0).add_greedy(), "greedy behind temp"),
    "bias behind top_k": (lambda: Chain().add_top_k(5).add_logit_bias(N, {7: 1.0}), "add it first"),
    "more than there are": (lambda: Chain().add_top_k(N + 1), "keeps 2157 at most"),
    "more than are left": (lambda: Chain().add_top_k(5).add_top_k(6), "keeps 5 at most"),
    "min_p of all": (lambda: Chain().add_min_p(1.0), "drops the best token"),
    "min_keep": (lambda: Chain().add_top_p(0.5, 3), "min_keep"),
    "temp_ext of one": (lambda: Chain().add_top_k(1).add_temp_ext(1.0, 0.5), "computes NaN"),
    "another vocabulary": (lambda: Chain().add_penalties(10, 64, 2.0), "vocabulary of 10 tokens"),
    "too many": (lambda: _times(51), "a back end takes 50"),
}


def _times(count: int) -> lf.SamplerChain:
    chain = Chain()
    for _ in range(count):
        chain.add_temp(1.1)
    return chain


@pytest.mark.parametrize("name", REFUSED)
def test_refused(model: lf.Model, ctx: lf.Context, name: str) -> None:
    make, says = REFUSED[name]
    chain = make()
    with pytest.raises(SamplerError, match=says):
        ctx.set_sampler(0, chain)
    ctx.decode(prompt(model))
    assert ctx.logits() is not None, "nothing is attached"
    assert chain.names is not None
    chain.add_custom(lambda candidates: None, reorders=False)


def test_the_largest_chain(model: lf.Model, ctx: lf.Context) -> None:
    chain = Chain()
    for _ in range(49):
        chain.add_penalties(N, 64, 1.01, 0.1, 0.1)
    ctx.set_sampler(0, chain.add_greedy())
    ctx.decode(prompt(model))
    assert chain.sample(ctx) == ctx.sampled_token()


def test_a_chain_serves_one_sequence_once(model: lf.Model, ctx: lf.Context) -> None:
    with pytest.raises(SequenceRangeError):
        ctx.set_sampler(1, Chain().add_greedy())
    with pytest.raises(TypeError):
        ctx.set_sampler(0, lf.Sampler.greedy())  # type: ignore[arg-type]
    ctx.set_sampler(0, None)
    chain = Chain().add_top_k(4).add_dist(2)
    ctx.set_sampler(0, chain)
    calls: list[Callable[[], object]] = [
        chain.add_greedy,
        lambda: chain.remove(0),
        lambda: chain.apply(lf.Candidates([1.0])),
        lambda: ctx.set_sampler(0, chain),
    ]
    for call in calls:
        with pytest.raises(SamplerError, match="attached"):
            call()
    ctx.decode(prompt(model))
    token = chain.sample(ctx)
    ctx.set_sampler(0, None)
    for reading in (ctx.sampled_token, ctx.sampled_logits, ctx.sampled_candidates, ctx.sampled_probs):
        with pytest.raises(NoOutputsError):
            reading()
    with pytest.raises(NoOutputsError, match="no raw logits"):
        ctx.logits()
    ctx.decode(lf.Batch.from_tokens([token], pos0=len(prompt(model))))
    assert ctx.logits() is not None
    with pytest.raises(SamplerError, match="was attached"):
        chain.sample(ctx)
    with pytest.raises(SamplerError, match="or was"):
        ctx.set_sampler(0, chain)
    copy = chain.clone()
    assert copy.sample(ctx) >= 0
    ctx.set_sampler(0, copy)
    with pytest.raises(NoOutputsError, match="nothing was sampled"):
        ctx.sampled_token()
    ctx.logits()


def test_a_view_forbids_it(model: lf.Model, ctx: lf.Context) -> None:
    ctx.decode(prompt(model))
    with ctx.borrow_logits() as rows:
        with pytest.raises(BorrowedError):
            ctx.set_sampler(0, Chain().add_greedy())
        kept = rows[0]
    with pytest.raises(BorrowedError, match="another sampler"):
        ctx.set_sampler(0, Chain().add_greedy())
    before = kept.copy()
    del rows, kept
    ctx.set_sampler(0, Chain().add_greedy())
    assert (ctx.logits() == before).all(), "what was decoded before can still be read"


def test_outputs_in_another_order(model: lf.Model) -> None:
    """llama.cpp moves outputs into the batch's order when they are read, sampled ones too."""
    mamba = lf.testing.random_model("mamba", seed=1)
    n_vocab = mamba.vocab.n_tokens

    def decode(ctx: lf.Context, position: int) -> None:
        batch = lf.Batch(8, 1)
        for offset, sequence in ((0, 1), (0, 0), (1, 1), (1, 0)):
            batch.add(3 + sequence, position + offset, [sequence], logits=offset == 1)
        ctx.decode(batch)

    with mamba.context(n_ctx=64, n_batch=16, n_seq_max=2, n_threads=1) as ctx:
        decode(ctx, 0)
        chain = Chain().add_logit_bias(n_vocab, {7: 1.0}).add_greedy()
        ctx.set_sampler(0, chain)
        rows = [ctx.logits(2), ctx.logits(3)]
    with mamba.context(n_ctx=64, n_batch=16, n_seq_max=2, n_threads=1) as plain:
        decode(plain, 0)
        assert (rows[0] == plain.logits(2)).all() and (rows[1] == plain.logits(3)).all()
        decode(plain, 2)
        expected = plain.logits(3), plain.logits(2)
    with mamba.context(n_ctx=64, n_batch=16, n_seq_max=2, n_threads=1) as ctx:
        ctx.set_sampler(0, Chain().add_greedy())
        decode(ctx, 0)
        decode(ctx, 2)
        assert ctx.sampled_token(3) == expected[0].argmax()
        assert (ctx.logits(2) == expected[1]).all()
    mamba.close()


# --- lifetimes and threads ---


def test_the_context_keeps_its_chains(model: lf.Model) -> None:
    with context(model) as ctx:
        chain = Chain().add_logit_bias(N, {5: 1.0}).add_top_k(5).add_dist(1)
        ctx.set_sampler(0, chain)
        chain.close()
        del chain
        gc.collect()
        ctx.decode(prompt(model))
        assert ctx.sampled_token() in ctx.sampled_candidates()
        ctx.set_sampler(0, Chain().add_greedy())
        gc.collect()
        ctx.decode(lf.Batch.from_tokens([5], pos0=len(prompt(model))))
        assert ctx.sampled_token() is not None
    outlives = Chain().add_greedy()
    with context(model) as ctx:
        ctx.set_sampler(0, outlives)
        ctx.decode(prompt(model))
    with pytest.raises(SamplerError, match="attached"):
        outlives.apply(lf.Candidates([1.0]))
    assert outlives.clone().apply(lf.Candidates([1.0, 2.0])).token == 1
    outlives.accept(3)
    outlives.reset()


def test_a_decode_makes_its_chains_busy(model: lf.Model, ctx: lf.Context) -> None:
    chain = Chain().add_greedy()
    ctx.set_sampler(0, chain)
    found: list[BaseException] = []

    class Inner:
        def decode(self, pointer: Any, batch: lf.Batch) -> None:
            thread = threading.Thread(target=meddle)
            thread.start()
            thread.join()

    def meddle() -> None:
        try:
            chain.accept(1)
        except BaseException as error:
            found.append(error)

    inner, ctx._decoder._inner = ctx._decoder._inner, Inner()
    ctx.decode(prompt(model))
    ctx._decoder._inner = inner
    assert [type(each) for each in found] == [BusyError]
    ctx.decode(prompt(model))
    assert chain.sample(ctx) == ctx.sampled_token()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_chain_kills_on_the_back_end(model: lf.Model, data: st.DataObject) -> None:
    makers = all_samplers(model.vocab)
    names = [each for each in NAMES if each not in ("infill", "dry")]
    with context(model, 2) as ctx:
        chains: list[lf.SamplerChain] = []
        positions = {0: 0, 1: 0}
        for _ in range(data.draw(st.integers(2, 8))):
            step = data.draw(
                st.sampled_from(["attach", "attach", "detach", "decode", "decode", "sample", "close"])
            )
            sequence = data.draw(st.integers(0, 1))
            try:
                if step == "attach":
                    chain = lf.SamplerChain()
                    chains.append(chain)
                    for name in data.draw(st.lists(st.sampled_from(names), max_size=5)):
                        try:
                            chain.add(makers[name]())
                        except SamplerError:
                            pass
                    ctx.set_sampler(sequence, chain)
                elif step == "detach":
                    ctx.set_sampler(sequence, None)
                elif step == "decode":
                    tokens = data.draw(st.lists(st.integers(0, N - 1), min_size=1, max_size=4))
                    batch = lf.Batch.from_tokens(tokens, pos0=positions[sequence], seq_id=sequence)
                    ctx.decode(batch)
                    positions[sequence] += len(tokens)
                elif step == "sample" and chains:
                    assert 0 <= data.draw(st.sampled_from(chains)).sample(ctx) < N
                elif chains:
                    data.draw(st.sampled_from(chains)).close()
            except (SamplerError, NoTokenSelectedError, InvalidArgumentError, NoOutputsError, GrammarError):
                pass
            except lf.errors.ClosedError:
                pass
