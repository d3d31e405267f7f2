"""Whose a sampler is, what fits behind what, and arguments that no sampler takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import llama_ffi as lf
from llama_ffi.errors import (
    ArgumentTypeError,
    ClosedError,
    ConsumedError,
    InvalidArgumentError,
    NoTokenSelectedError,
    SamplerError,
    TokenRangeError,
)
from tests.native.samplers import SELECTING, YES_OR_NO, all_samplers

pytestmark = pytest.mark.native


def test_a_sampler_belongs_to_its_chain_until_it_is_removed(ready: lf.Context) -> None:
    sampler = lf.Sampler.top_k(5)
    chain = lf.SamplerChain().add(sampler)
    assert sampler.consumed
    assert sampler.closed
    for call in (sampler.reset, sampler.clone, lambda: sampler.name, lambda: sampler.ptr):
        with pytest.raises(ConsumedError, match="belongs to a sampler chain"):
            call()
    sampler.close()  # nothing: it isn't ours to free
    other = lf.SamplerChain()
    with pytest.raises(ConsumedError):
        other.add(sampler)
    chain.add_greedy()
    back = chain.remove(0)
    assert back.name == "top-k"
    assert chain.names == ["greedy"]
    assert chain.sample(ready) >= 0
    other.add(back).add_dist(1)
    chain.close()
    assert other.sample(ready) >= 0
    assert other.remove(-1).name == "dist"
    with pytest.raises(InvalidArgumentError):
        other.remove(5)
    other.remove(0).close()
    with pytest.raises(InvalidArgumentError, match="empty"):
        other.remove(0)


def test_closed(ready: lf.Context) -> None:
    chain = lf.SamplerChain().add_greedy()
    chain.close()
    chain.close()
    for call in (
        lambda: chain.sample(ready),
        lambda: chain.accept(1),
        chain.add_greedy,
        chain.clone,
        chain.reset,
        lambda: chain.names,
        lambda: chain.seed,
        lambda: chain.perf,
        chain.__enter__,
    ):
        with pytest.raises(ClosedError, match="sampler chain is closed"):
            call()
    with pytest.raises(ClosedError):
        lf.SamplerChain().add(_closed_sampler())
    assert "closed" in repr(chain)


def _closed_sampler() -> lf.Sampler:
    with lf.Sampler.greedy() as sampler:
        pass
    return sampler


def test_a_grammar_keeps_its_model_alive(random_model_path: object, ready: lf.Context) -> None:
    model = lf.Model.load(random_model_path)  # type: ignore[arg-type]
    chain = lf.SamplerChain().add_grammar(model.vocab, YES_OR_NO).add_greedy()
    model.close()
    assert ready.model.vocab.piece(chain.sample(ready)) in (b"y", b"n", b"ye", b"no", b"yes")


# --- what fits behind what ---


def test_the_order_of_a_chain(ready: lf.Context) -> None:
    vocab = ready.model.vocab
    makers = all_samplers(vocab)
    for before in (*SELECTING, "top_k", "top_p", "min_p", "typical", "xtc", "temp_ext", "infill"):
        for grammar in ("grammar", "grammar_lazy"):
            chain = lf.SamplerChain().add(makers[before]())
            late = makers[grammar]()
            with pytest.raises(SamplerError, match="comes too late"):
                chain.add(late)
            assert not late.consumed
            late.close()
    for before in SELECTING:
        for after in (*SELECTING, "top_k", "top_p"):
            with pytest.raises(SamplerError, match=r"add .* last"):
                lf.SamplerChain().add(makers[before]()).add(makers[after]())
    with pytest.raises(SamplerError, match="only a Sampler"):
        lf.SamplerChain().add(lf.SamplerChain())  # type: ignore[arg-type]


def test_vocabularies_must_be_one(source: object, ready: lf.Context) -> None:
    with lf.Model.load(source / "models/ggml-vocab-gpt-2.gguf", vocab_only=True) as other:  # type: ignore[operator]
        chain = lf.SamplerChain().add_grammar(other.vocab, YES_OR_NO).add_greedy()
        with pytest.raises(SamplerError, match="50257 tokens; the context has 32000"):
            chain.sample(ready)
        chain.remove(1)
        with pytest.raises(SamplerError, match="vocabulary"):
            chain.add_grammar(ready.model.vocab, YES_OR_NO)


def test_empty_chain(ready: lf.Context) -> None:
    with pytest.raises(NoTokenSelectedError, match="chain is empty"):
        lf.SamplerChain().sample(ready)
    with pytest.raises(NoTokenSelectedError, match=r"no sampler of the chain \(temp\) selects"):
        lf.SamplerChain().add_temp(0.5).sample(ready)


# --- arguments ---

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda s, v: s.top_k(2**31), InvalidArgumentError),
        (lambda s, v: s.top_k(1.5), ArgumentTypeError),
        (lambda s, v: s.top_p(NAN), InvalidArgumentError),
        (lambda s, v: s.top_p(-0.1), InvalidArgumentError),
        (lambda s, v: s.top_p(0.9, -1), InvalidArgumentError),
        (lambda s, v: s.min_p(NAN), InvalidArgumentError),
        (lambda s, v: s.typical(INF), InvalidArgumentError),
        (lambda s, v: s.temp(NAN), InvalidArgumentError),
        (lambda s, v: s.temp("1"), ArgumentTypeError),
        (lambda s, v: s.temp_ext(1.0, NAN), InvalidArgumentError),
        (lambda s, v: s.xtc(0.5, NAN), InvalidArgumentError),
        (lambda s, v: s.dist(-1), InvalidArgumentError),
        (lambda s, v: s.dist(2**32), InvalidArgumentError),
        (lambda s, v: s.mirostat(0), InvalidArgumentError),
        (lambda s, v: s.mirostat(32_000, tau=NAN), InvalidArgumentError),
        (lambda s, v: s.mirostat(32_000, m=0), InvalidArgumentError),
        (lambda s, v: s.mirostat_v2(eta=INF), InvalidArgumentError),
        (lambda s, v: s.adaptive_p(2.0), InvalidArgumentError),
        (lambda s, v: s.adaptive_p(0.5, 1.0), InvalidArgumentError),
        (lambda s, v: s.penalties(32_000, -1), InvalidArgumentError),
        (lambda s, v: s.penalties(32_000, 2**31 - 1), InvalidArgumentError),
        (lambda s, v: s.penalties(32_000, 64, 0.0), InvalidArgumentError),
        (lambda s, v: s.penalties(32_000, 64, 1.0, NAN), InvalidArgumentError),
        (lambda s, v: s.dry(v, NAN), InvalidArgumentError),
        (lambda s, v: s.dry(v, 1.0, penalty_last_n=2**31 - 1), InvalidArgumentError),
        (lambda s, v: s.dry(v, 1.0, seq_breakers="abc"), ArgumentTypeError),
        (lambda s, v: s.dry(v, 1.0, seq_breakers=["a" * 41]), SamplerError),
        (lambda s, v: s.dry(v, 1.0, seq_breakers=["a\0b"]), InvalidArgumentError),
        (lambda s, v: s.logit_bias(32_000, {32_000: 1.0}), TokenRangeError),
        (lambda s, v: s.logit_bias(32_000, {-1: 1.0}), TokenRangeError),
        (lambda s, v: s.logit_bias(32_000, {1: NAN}), InvalidArgumentError),
        (lambda s, v: s.logit_bias(32_000, {1: INF}), InvalidArgumentError),
        (lambda s, v: s.logit_bias(32_000, {1: 1e7}), InvalidArgumentError),
        (lambda s, v: s.logit_bias(32_000, ([1, 2], [1.0])), InvalidArgumentError),
        (lambda s, v: s.logit_bias(32_000, ([1, 1], [1.0, 2.0])), InvalidArgumentError),
        (lambda s, v: s.logit_bias(32_000, ([1.5], [1.0])), ArgumentTypeError),
        (lambda s, v: s.logit_bias(32_000, (5, [1.0])), ArgumentTypeError),
        (lambda s, v: s.temp(1e-9), InvalidArgumentError),
        (lambda s, v: s.temp_ext(1e-9, 0.0), InvalidArgumentError),
        (lambda s, v: s(lf.raw.ffi.NULL), SamplerError),
        (lambda s, v: s.grammar("v", YES_OR_NO), ArgumentTypeError),
        (lambda s, v: s.grammar(v, 5), ArgumentTypeError),
        (lambda s, v: s.infill(None), ArgumentTypeError),
        (lambda s, v: s.dry("v", 1.0), ArgumentTypeError),
        (lambda s, v: s.dry(v, 1.0, seq_breakers=None), ArgumentTypeError),
        (lambda s, v: s.logit_bias(10, [(1, 2.0)]), ArgumentTypeError),
        (lambda s, v: s.grammar_lazy(v, YES_OR_NO, trigger_patterns=None), ArgumentTypeError),
        (lambda s, v: s.grammar_lazy(v, YES_OR_NO, trigger_patterns="abc"), ArgumentTypeError),
        (lambda s, v: s.grammar_lazy(v, YES_OR_NO, trigger_patterns=[b"abc"]), ArgumentTypeError),
        (lambda s, v: s.grammar_lazy(v, YES_OR_NO, trigger_tokens=5), ArgumentTypeError),
    ],
)
def test_arguments_that_no_sampler_takes(
    random_model: lf.Model, make: Callable[[type[lf.Sampler], lf.Vocab], lf.Sampler], error: type[Exception]
) -> None:
    with pytest.raises(error):
        make(lf.Sampler, random_model.vocab)


def test_accept_checks_the_token(random_model: lf.Model) -> None:
    chain = lf.SamplerChain().add_grammar_lazy(random_model.vocab, YES_OR_NO, trigger_tokens=[5])
    chain.add_adaptive_p(-1.0)
    for token in (-1, 32_000):
        with pytest.raises(TokenRangeError):
            chain.accept(token)
    chain.accept(31_999)
