"""Samplers written in Python: in every place of a chain, and for how long they live."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi.errors import (
    BusyError,
    GrammarError,
    SamplerError,
)
from tests.native.samplers import NAMES, SELECTING, YES_OR_NO, Once, all_samplers, chain_of

pytestmark = pytest.mark.native


def test_apply_accept_reset_clone(ready: lf.Context) -> None:
    best = [int(token) for token in np.argsort(-ready.logits(), kind="stable")[:6]]
    chain = lf.SamplerChain().add_custom(Once()).add_greedy()
    assert chain.names == ["once", "greedy"]
    assert [chain.sample(ready) for _ in range(3)] == best[:3]
    copy = chain.clone()
    assert copy.sample(ready) == best[3]
    assert copy.sample(ready) == best[4]
    assert chain.sample(ready) == best[3]
    chain.accept(best[4])
    assert chain.sample(ready) == best[5]
    chain.reset()
    assert chain.sample(ready) == best[0]
    other = lf.SamplerChain().add_custom(Once()).add_greedy()
    other.copy_state(copy)
    assert other.sample(ready) == best[5]


@pytest.mark.parametrize("name", NAMES)
def test_in_front_of_and_behind_every_other(ready: lf.Context, name: str) -> None:
    vocab = ready.model.vocab
    seen: list[int] = []

    def look(candidates: lf.Candidates) -> None:
        seen.append(len(candidates))
        assert len(candidates.ids) == len(candidates.logits) == len(candidates.p) == len(candidates)

    for behind in (False, True):
        chain, plain = lf.SamplerChain(), lf.SamplerChain()
        if name == "infill":
            chain.add_top_k(20)
            plain.add_top_k(20)
        if not behind:
            chain.add_custom(look, reorders=False)
        chain.add(all_samplers(vocab)[name]())
        plain.add(all_samplers(vocab)[name]())
        if behind:
            chain.add_custom(look, reorders=False)
        if name not in SELECTING:
            chain.add_dist(7)
            plain.add_dist(7)
        assert chain.sample(ready) == plain.sample(ready), "one that only looks changes nothing"
    assert len(seen) == 2
    if name not in ("infill",):
        assert seen[0] == vocab.n_tokens


def test_with_a_grammar(ready: lf.Context) -> None:
    vocab = ready.model.vocab

    yes = [token for token in range(vocab.n_tokens) if vocab.piece(token).startswith(b"y")]

    def no_first(candidates: lf.Candidates) -> None:
        candidates.logits[np.isin(candidates.ids, yes)] = -np.inf

    for order in ("before", "behind"):
        chain = lf.SamplerChain()
        if order == "before":
            chain.add_custom(no_first, reorders=False)
        chain.add_grammar(vocab, YES_OR_NO)
        if order == "behind":
            chain.add_custom(no_first)
        chain.add_greedy()
        text = b""
        while not vocab.is_eog(token := chain.sample(ready)):
            text += vocab.piece(token)
        assert text == b"no"
    with pytest.raises(SamplerError, match="comes too late"):
        chain_of(no_first).add_grammar(vocab, YES_OR_NO)

    def choose_wrong(candidates: lf.Candidates) -> None:
        candidates.selected = int(np.flatnonzero(candidates.ids == 5)[0])
        candidates.logits[candidates.selected] = 0.0

    chain = lf.SamplerChain().add_grammar(vocab, YES_OR_NO).add_custom(choose_wrong, selects=True)
    with pytest.raises(GrammarError, match="refuses"):
        chain.sample(ready)


def test_it_can_select_sort_and_drop(ready: lf.Context) -> None:
    logits = ready.logits()
    order = np.argsort(-logits, kind="stable")

    def third(candidates: lf.Candidates) -> None:
        assert not candidates.sorted
        candidates.sort()
        candidates.keep(slice(3))
        candidates.selected = 2
        assert candidates.token == order[2]
        assert candidates.softmax().sum() == pytest.approx(1.0)

    assert chain_of(third, selects=True).sample(ready) == order[2]

    def keep_some(candidates: lf.Candidates) -> None:
        candidates.keep([int(order[5]), int(order[3])])

    chain = chain_of(keep_some).add_custom(lambda c: c.keep(c.logits < 1e9)).add_greedy()
    assert chain.sample(ready) == order[3]

    def swap(candidates: lf.Candidates) -> None:
        candidates.data[:] = candidates.data[::-1].copy()

    assert chain_of(swap).add_greedy().sample(ready) == order[0]
    moved = lf.SamplerChain().add_xtc(1.0, 1e-6, seed=1).add_custom(swap).add_top_k(1).add_greedy()
    unmoved = lf.SamplerChain().add_xtc(1.0, 1e-6, seed=1).add_greedy()
    assert moved.sample(ready) == unmoved.sample(ready), "xtc moves the beginning of the array"


def test_in_generate(tiny_model: object) -> None:
    def text(**kwargs: Any) -> str:
        return "".join(lf.generate("Once upon a time", max_tokens=12, **kwargs))

    greedy = lf.SamplerChain().add_custom(lambda candidates: None).add_greedy()
    assert text(sampler=greedy) == text(temp=0)
    once = Once()
    text(sampler=lf.SamplerChain().add_custom(once).add_greedy())
    assert len(set(once.seen)) == len(once.seen) == 12

    def broken(candidates: lf.Candidates) -> None:
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        text(sampler=chain_of(broken).add_greedy())


# --- lifetimes ---


def test_views_outlive_the_call_without_harm(ready: lf.Context) -> None:
    kept: list[Any] = []

    def keep(candidates: lf.Candidates) -> None:
        kept.append((candidates, candidates.logits, memoryview(candidates.data)))

    chain = chain_of(keep).add_typical(0.9).add_dist(1)
    for _ in range(3):
        chain.sample(ready)
        candidates, logits, _view = kept[-1]
        before = logits.copy()
        logits[:] = np.nan  # C has moved out
        assert 0 <= chain.sample(ready) < 32_000
        assert not np.isnan(before).any()
        with pytest.raises(SamplerError, match="that is over"):
            _ = candidates.logits
        with pytest.raises(SamplerError, match="that is over"):
            candidates.keep([0])
    assert np.isnan(kept[0][1]).all()
    chain.close()
    del chain
    gc.collect()
    for candidates, logits, _view in kept:
        assert logits.sum() is not None
        assert "given back" in repr(candidates)


def test_the_object_lives_as_long_as_its_sampler(ready: lf.Context) -> None:
    def made(add: bool) -> tuple[weakref.ref[Once], Any]:
        once = Once()
        sampler = lf.Sampler.custom(once)
        chain = lf.SamplerChain().add(sampler).add_greedy() if add else sampler
        return weakref.ref(once), chain

    for add in (False, True):
        once, owner = made(add)
        gc.collect()
        assert once() is not None
        if add:
            owner.sample(ready)
            taken = owner.remove(0)
            owner.close()
            gc.collect()
            assert once() is not None
            taken.close()
        owner.close()
        gc.collect()
        assert once() is None
    once, owner = made(True)
    del owner
    gc.collect()
    assert once() is None


def test_the_chain_is_busy_meanwhile(ready: lf.Context) -> None:
    errors: list[type[BaseException]] = []
    other = lf.SamplerChain().add_custom(Once()).add_greedy()

    def meddle(candidates: lf.Candidates) -> None:
        for call in (chain.clone, chain.reset, chain.close, lambda: chain.accept(1), ready.logits):
            try:
                call()
            except BaseException as error:
                errors.append(type(error))
        assert other.apply(lf.Candidates([1.0, 3.0, 2.0])).token == 1

    chain = chain_of(meddle).add_greedy()
    assert chain.sample(ready) >= 0
    assert errors == [BusyError] * 5

    class Recursive(Once):
        def clone(self) -> Once:
            with pytest.raises(BusyError):
                whole.clone()
            return Once()

    whole = lf.SamplerChain().add_custom(Recursive()).add_greedy()
    assert whole.clone().names == ["once", "greedy"]


def test_raw_code_can_use_it(ready: lf.Context, capsys: pytest.CaptureFixture[str]) -> None:
    """llama_sampler_sample, llama_sampler_clone: C calls Python by itself, and the views don't outlive it."""
    lib = lf.raw.lib
    kept: list[Any] = []
    once = Once()
    chain = chain_of(lambda c: kept.append(c.logits)).add_custom(once).add_greedy()
    token = lib.llama_sampler_sample(chain.ptr, ready.ptr, -1)
    assert once.seen == [token] == [int(ready.logits().argmax())]
    kept[0][:] = np.nan
    copy = lib.llama_sampler_clone(chain.ptr)
    second = lib.llama_sampler_sample(copy, ready.ptr, -1)
    assert second == lib.llama_sampler_sample(chain.ptr, ready.ptr, -1) != token
    lib.llama_sampler_free(copy)

    class Failing(Once):
        def accept(self, token: int) -> None:
            raise ZeroDivisionError("in raw")

    failing = lf.SamplerChain().add_custom(Failing()).add_greedy()
    lib.llama_sampler_accept(failing.ptr, 1)
    assert "in raw" in capsys.readouterr().err


def test_many_threads_with_chains_of_their_own(random_model: lf.Model) -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with random_model.context(n_ctx=256, n_batch=8, n_threads=1) as ctx:
                ctx.decode(lf.Batch.from_tokens([1, 2, 3]))
                chain = lf.SamplerChain().add_custom(Once()).add_top_k(100).add_dist(1)
                tokens = [chain.sample(ctx) for _ in range(60)]
                assert len(set(tokens)) == 60
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
