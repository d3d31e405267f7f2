"""Chains that are attached to a context: which are refused, how long they live, who may use them."""

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
    GrammarError,
    InvalidArgumentError,
    NoOutputsError,
    NoTokenSelectedError,
    SamplerError,
    SequenceRangeError,
)
from tests.native.samplers import NAMES, all_samplers
from tests.native.tiny_context import Chain, N, context, prompt

pytestmark = [pytest.mark.native, pytest.mark.model]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Iterator[lf.Model]:
    with lf.Model.load(tiny_model, n_gpu_layers=0) as loaded:
        yield loaded


@pytest.fixture
def ctx(model: lf.Model) -> Iterator[lf.Context]:
    with context(model) as made:
        yield made


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
    "three top_k": (lambda: Chain().add_top_k(9).add_top_k(8).add_top_k(7), "two of top_k and top_p"),
    "top_p, top_k, top_p": (lambda: Chain().add_top_p(0.9).add_top_k(8).add_top_p(0.5), "two of top_k"),
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
