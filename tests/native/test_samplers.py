"""Samplers and chains: every sampler of llama.cpp, what they choose, and any chain at all."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi.errors import (
    GrammarError,
    InvalidArgumentError,
    NoOutputsError,
    NoTokenSelectedError,
    SamplerError,
)
from tests.native.samplers import NAMES, SELECTING, YES_OR_NO, all_samplers

pytestmark = pytest.mark.native


def test_there_is_a_constructor_for_every_sampler_of_llama_h() -> None:
    functions = {
        name.removeprefix("llama_sampler_init_")
        for name in lf.raw.functions()
        if name.startswith("llama_sampler_init_")
    }
    functions -= {"grammar_lazy_patterns"}  # the waiting is done in Python, see Sampler.grammar_lazy
    assert functions == set(NAMES)
    for name in NAMES:
        assert hasattr(lf.Sampler, name)
        assert hasattr(lf.SamplerChain, f"add_{name}")


@pytest.mark.parametrize("name", NAMES)
def test_each_alone_and_in_a_chain(ready: lf.Context, name: str) -> None:
    vocab = ready.model.vocab
    sampler = all_samplers(vocab)[name]()
    assert name.split("_")[0] in sampler.name.replace("-", "_")
    sampler.reset()
    copy = sampler.clone()
    chain = lf.SamplerChain()
    if name == "infill":
        chain.add_top_k(20).add_top_p(0.9)  # it compares every pair of candidates
    chain.add(sampler)
    if name not in SELECTING:
        with pytest.raises(NoTokenSelectedError, match="selects"):
            chain.sample(ready)
        chain.add_dist(7)
    for _ in range(3):
        try:
            token = chain.sample(ready)
        except GrammarError:
            break  # a complete "yes" or "no" lets nothing follow
        assert 0 <= token < vocab.n_tokens
    second = chain.clone()
    chain.reset()
    second.close()
    chain.close()
    copy.close()


# --- choosing ---


def test_greedy_is_argmax(ready: lf.Context) -> None:
    chain = lf.SamplerChain().add_greedy()
    assert chain.sample(ready) == int(ready.logits().argmax())
    slow = lf.SamplerChain().add_grammar_lazy(ready.model.vocab, YES_OR_NO, trigger_tokens=[5]).add_greedy()
    assert slow.sample(ready) == int(ready.logits().argmax())


def test_fast_and_slow_path_choose_the_same(ready: lf.Context) -> None:
    """A lazy grammar that never triggers takes the candidates through Python's array instead of C's."""
    vocab = ready.model.vocab

    def build(chain: lf.SamplerChain) -> lf.SamplerChain:
        return chain.add_logit_bias(32_000, {3: 2.0}).add_top_k(50).add_top_p(0.95).add_temp(0.9).add_dist(42)

    fast = build(lf.SamplerChain())
    slow = build(lf.SamplerChain().add_grammar_lazy(vocab, YES_OR_NO, trigger_patterns=["never"]))
    assert [fast.sample(ready) for _ in range(50)] == [slow.sample(ready) for _ in range(50)]


def test_seeds(ready: lf.Context) -> None:
    def draw(seed: int | None) -> list[int]:
        chain = lf.SamplerChain().add_top_k(1000).add_temp(5.0).add_dist(seed)
        return [chain.sample(ready) for _ in range(30)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert draw(None) != draw(None)
    chain = lf.SamplerChain().add_top_k(5)
    assert chain.seed is None
    assert chain.add_dist(11).seed == 11
    first = [chain.sample(ready) for _ in range(20)]
    chain.reset()
    assert [chain.sample(ready) for _ in range(20)] == first


def test_a_clone_goes_on_where_the_original_is(ready: lf.Context) -> None:
    chain = lf.SamplerChain().add_penalties(32_000, 64, 1.3).add_temp(3.0).add_dist(5)
    for _ in range(5):
        chain.sample(ready)
    copy = chain.clone()
    assert copy.names == chain.names == ["penalties", "temp", "dist"]
    assert [chain.sample(ready) for _ in range(20)] == [copy.sample(ready) for _ in range(20)]


def test_bias_and_penalties_change_the_choice(ready: lf.Context) -> None:
    best = int(ready.logits().argmax())
    arrays = (np.array([best]), np.array([-np.inf], np.float32))
    assert lf.SamplerChain().add_logit_bias(32_000, arrays).add_greedy().sample(ready) != best
    forbidden = lf.SamplerChain().add_logit_bias(32_000, {best: float("-inf")}).add_greedy()
    assert forbidden.sample(ready) != best
    penalized = lf.SamplerChain().add_penalties(32_000, 64, 1.0, 0.0, 100.0).add_greedy()
    penalized.accept(best)
    assert penalized.sample(ready) != best


def test_dist_follows_the_probabilities(ready: lf.Context) -> None:
    logits = ready.logits()
    best = np.argsort(-logits)[:4]
    expected = np.exp(logits[best] - logits[best[0]])
    expected /= expected.sum()
    chain = lf.SamplerChain().add_top_k(4).add_dist(3)
    draws = Counter(chain.sample(ready) for _ in range(3000))
    assert set(draws) <= {int(token) for token in best}
    for token, share in zip(best, expected, strict=True):
        assert abs(draws[int(token)] / 3000 - share) < 0.05


def test_rows(ctx: lf.Context) -> None:
    ctx.decode(lf.Batch.from_tokens([1, 9038, 2501, 263], logits="all"))
    chain = lf.SamplerChain().add_greedy()
    assert [chain.sample(ctx, i) for i in range(4)] == [int(ctx.logits(i).argmax()) for i in range(4)]
    assert chain.sample(ctx, -4) == chain.sample(ctx, 0)
    for row in (4, -5, 10**9):
        with pytest.raises(NoOutputsError):
            chain.sample(ctx, row)


def test_perf(ready: lf.Context, caplog: pytest.LogCaptureFixture) -> None:
    chain = lf.SamplerChain(no_perf=False).add_temp(0.5).add_greedy()
    for _ in range(3):
        chain.sample(ready)
    assert chain.perf.n_sample == 3
    assert chain.perf.t_sample_ms > 0
    with caplog.at_level("INFO", "llama_ffi"):
        chain.perf_print()
    assert "3 runs" in caplog.text
    chain.perf_reset()
    assert chain.perf.n_sample == 0


# --- any chain at all ---


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_chain_of_any_samplers_kills(random_model: lf.Model, data: st.DataObject) -> None:
    makers = all_samplers(random_model.vocab)
    with random_model.context(n_ctx=256, n_batch=8, n_threads=1) as ctx, lf.SamplerChain() as chain:
        ctx.decode(lf.Batch.from_tokens([1, data.draw(st.integers(0, 31_999))]))
        for _ in range(data.draw(st.integers(1, 10))):
            step = data.draw(st.sampled_from(["add", "add", "sample", "accept", "reset", "clone", "remove"]))
            try:
                if step == "add":
                    name = data.draw(
                        st.sampled_from([each for each in NAMES if each not in ("infill", "dry")])
                    )
                    chain.add(makers[name]())
                elif step == "sample":
                    assert 0 <= chain.sample(ctx) < 32_000
                elif step == "accept":
                    chain.accept(data.draw(st.integers(0, 31_999)))
                elif step == "reset":
                    chain.reset()
                elif step == "clone":
                    with chain.clone() as copy:
                        copy.sample(ctx)
                else:
                    chain.remove(data.draw(st.integers(0, 3))).close()
            except (SamplerError, NoTokenSelectedError, InvalidArgumentError):
                pass
