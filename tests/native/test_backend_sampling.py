"""Samplers that run on the back end: the same as on the CPU, or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import llama_ffi as lf
from llama_ffi.errors import (
    CancelledError,
    InvalidBatchError,
    NoOutputsError,
    NoTokenSelectedError,
    SamplerError,
)
from tests.native.tiny_context import Chain, N, context, prompt

pytestmark = [pytest.mark.native, pytest.mark.model]

INF = float("inf")


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Iterator[lf.Model]:
    with lf.Model.load(tiny_model, n_gpu_layers=0) as loaded:
        yield loaded


@pytest.fixture
def ctx(model: lf.Model) -> Iterator[lf.Context]:
    with context(model) as made:
        yield made


def raw_logits(model: lf.Model) -> Any:
    with context(model) as plain:
        plain.decode(prompt(model))
        return plain.logits()


def left(ids: Any, logits: Any) -> dict[int, float]:
    """What wasn't dropped: back ends set -inf where the CPU shortens the array."""
    return {int(token): float(logit) for token, logit in zip(ids, logits, strict=True) if logit > -INF}


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
        tokens = prompt(model).tokens
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


def test_several_outputs_of_a_sequence(model: lf.Model) -> None:
    words = prompt(model).tokens
    batch = lf.Batch.from_tokens(words, logits="all")
    with context(model) as plain:
        plain.decode(batch)
        rows = [plain.logits(i) for i in range(len(words))]
        on_cpu = Chain().add_temp(0.9).add_dist(7)
        drawn = [on_cpu.sample(plain, i) for i in range(len(words))]
    for most in (0, len(words)):
        with model.context(n_ctx=256, n_batch=64, n_threads=1, n_outputs_max_per_seq=most) as ctx:
            ctx.set_sampler(0, Chain().add_greedy())
            ctx.decode(batch)
            assert [ctx.sampled_token(i) for i in range(len(words))] == [int(row.argmax()) for row in rows]
            chain = Chain().add_temp(0.9).add_dist(7)
            ctx.set_sampler(0, chain)
            ctx.memory.clear()
            ctx.decode(batch)
            assert [chain.sample(ctx, i) for i in range(len(words))] == drawn
            penalized = Chain().add_penalties(N, 64, 1.5).add_greedy()
            ctx.set_sampler(0, penalized)
            assert penalized.names == ["-penalties", "greedy"]
