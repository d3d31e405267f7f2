"""Samplers written in Python: in every place of a chain, with every mistake that they can make."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi.errors import (
    ArgumentTypeError,
    BusyError,
    GrammarError,
    InvalidArgumentError,
    NoTokenSelectedError,
    SamplerError,
)
from tests.native.samplers import NAMES, SELECTING, YES_OR_NO, all_samplers

pytestmark = pytest.mark.native


class Once(lf.PythonSampler):
    """Lets no token come twice."""

    name = "once"
    reorders = False

    def __init__(self, seen: tuple[int, ...] = ()) -> None:
        self.seen = list(seen)

    def apply(self, candidates: lf.Candidates) -> None:
        candidates.logits[np.isin(candidates.ids, self.seen)] = -np.inf

    def accept(self, token: int) -> None:
        self.seen.append(token)

    def reset(self) -> None:
        self.seen.clear()

    def clone(self) -> Once:
        return Once(tuple(self.seen))


def chain_of(function: Callable[[lf.Candidates], object], **kind: Any) -> lf.SamplerChain:
    return lf.SamplerChain().add_custom(function, **kind)


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


# --- errors ---


class Failing(Once):
    def __init__(self, where: str, error: BaseException) -> None:
        super().__init__()
        self.where, self.error = where, error

    def _maybe(self, where: str) -> None:
        if where == self.where:
            raise self.error

    def apply(self, candidates: lf.Candidates) -> None:
        candidates.logits[:] = np.nan if self.where == "apply" else 1.0
        self._maybe("apply")

    def accept(self, token: int) -> None:
        self._maybe("accept")

    def reset(self) -> None:
        self._maybe("reset")

    def clone(self) -> Once:
        self._maybe("clone")
        return self


@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), KeyboardInterrupt("mine"), SystemExit("mine")])
@pytest.mark.parametrize("where", ["apply", "accept", "reset", "clone"])
def test_an_exception_is_raised_by_the_call(ready: lf.Context, where: str, error: BaseException) -> None:
    behind: list[int] = []
    accepted = Once()
    chain = lf.SamplerChain().add_custom(Failing(where, error))
    chain.add_custom(lambda candidates: behind.append(1), reorders=False).add_custom(accepted).add_dist(1)
    calls: dict[str, Callable[[], object]] = {
        "apply": lambda: chain.sample(ready),
        "accept": lambda: chain.accept(5),
        "reset": chain.reset,
        "clone": chain.clone,
    }
    with pytest.raises(type(error), match="mine"):
        calls[where]()
    assert not behind
    assert accepted.seen == ([5] if where == "accept" else [])
    with pytest.raises(type(error), match="mine"):
        calls[where]()
    chain.remove(0).close()
    assert chain.sample(ready) >= 0, "the chain is as good as before"


BAD: dict[str, tuple[Callable[[lf.Candidates], object], dict[str, bool], str]] = {
    "NaN": (lambda c: c.logits.__setitem__(3, np.nan), {}, "logit of token 3 is nan"),
    "+inf": (lambda c: c.logits.__setitem__(4, np.inf), {}, "logit of token 4 is inf"),
    "too large": (lambda c: c.logits.__setitem__(4, 1e9), {}, "numbers up to 1e\\+08"),
    "unknown id": (lambda c: c.ids.__setitem__(0, 32_000), {}, "id 32000; ids are 0 to 31999"),
    "negative id": (lambda c: c.ids.__setitem__(0, -7), {}, "id -7"),
    "selects unasked": (lambda c: setattr(c, "selected", 1), {}, "selects=True"),
    "selected is far": (lambda c: setattr(c, "selected", 32_000), {"selects": True}, "must lie in"),
    "selected is negative": (lambda c: setattr(c, "selected", -1), {"selects": True}, "must lie in"),
    "drops unasked": (lambda c: c.keep(slice(9)), {"reorders": False}, "reorders=False"),
    "reorders unasked": (lambda c: c.sort(), {"reorders": False}, "reorders=False"),
    "keeps nothing": (lambda c: c.keep(slice(0)), {}, "keep 1 to 32000"),
    "keeps a mask of none": (lambda c: c.keep(c.logits > 1e30), {}, "keep 1 to 32000"),
    "keeps too much": (lambda c: c.keep(np.zeros(32_001, int)), {}, "keep 1 to 32000"),
    "keeps what isn't there": (lambda c: c.keep([32_000]), {}, "out of bounds"),
    "keeps text": (lambda c: c.keep(["a"]), {}, "not <U1 values"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_a_sampler_must_not_do(ready: lf.Context, name: str) -> None:
    function, kind, says = BAD[name]
    chain = chain_of(function, **kind)
    if not kind.get("selects"):
        chain.add_typical(0.5) if kind.get("reorders", True) else chain.add_temp(0.5)
        chain.add_dist(1)
    with pytest.raises((SamplerError, InvalidArgumentError, ArgumentTypeError), match=says):
        chain.sample(ready)


def test_a_lie_about_sorting_is_put_right(ready: lf.Context) -> None:
    best = int(ready.logits().argmax())
    assert chain_of(lambda c: setattr(c, "sorted", True)).add_top_k(1).add_dist(1).sample(ready) == best

    def last_first(candidates: lf.Candidates) -> None:
        assert candidates.sorted
        candidates.logits[:] = candidates.logits[::-1].copy()

    chain = lf.SamplerChain().add_top_k(5).add_custom(last_first).add_top_k(1).add_greedy()
    assert chain.sample(ready) == np.argsort(-ready.logits(), kind="stable")[4]


def test_what_is_no_sampler(ready: lf.Context) -> None:
    for thing in (None, 5, "top_k", object()):
        with pytest.raises(ArgumentTypeError, match="apply"):
            lf.Sampler.custom(thing)
    with pytest.raises(ArgumentTypeError, match="name"):
        lf.Sampler.custom(lambda c: None, name=5)  # type: ignore[arg-type]

    class Nothing:
        def apply(self, candidates: lf.Candidates) -> None:
            pass

    chain = lf.SamplerChain().add_custom(Nothing()).add_greedy()
    assert chain.names[0] == "Nothing"
    chain.sample(ready)
    chain.accept(1)
    chain.reset()
    with pytest.raises(SamplerError, match=r"'Nothing'.*no clone"):
        chain.clone()
    with pytest.raises(SamplerError, match=r"'Nothing'.*no clone"):
        chain.remove(0).clone()
    with pytest.raises(NotImplementedError, match="must define apply"):
        lf.SamplerChain().add_custom(lf.PythonSampler()).sample(ready)
    with pytest.raises(NoTokenSelectedError, match="selects"):
        chain_of(lambda c: None).sample(ready)


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
    failing = lf.SamplerChain().add_custom(Failing("accept", ZeroDivisionError("in raw"))).add_greedy()
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


# --- whatever it does ---

ACTIONS = st.sampled_from(
    ["nan", "inf", "-inf", "id", "sort", "keep", "claim", "select", "raise", "store", "noise"]
)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_python_sampler_kills(random_model: lf.Model, data: st.DataObject) -> None:
    makers = all_samplers(random_model.vocab)
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    stored: list[Any] = []

    def act(candidates: lf.Candidates) -> None:
        for action in data.draw(st.lists(ACTIONS, max_size=4)):
            at = random.integers(len(candidates))
            if action in ("nan", "inf", "-inf"):
                candidates.logits[at] = float(action)
            elif action == "id":
                candidates.ids[at] = random.integers(-5, 40_000)
            elif action == "sort":
                candidates.sort()
            elif action == "keep":
                candidates.keep(random.integers(0, len(candidates), random.integers(0, 50)))
            elif action == "claim":
                candidates.sorted = True
            elif action == "select":
                candidates.selected = random.integers(-1, len(candidates) + 1)
            elif action == "raise":
                raise ZeroDivisionError
            elif action == "store":
                stored.append(candidates.data)
            else:
                candidates.data["logit"] = random.standard_normal(len(candidates))
                for view in stored:
                    view["logit"] = np.nan

    with random_model.context(n_ctx=256, n_batch=8, n_threads=1) as ctx, lf.SamplerChain() as chain:
        ctx.decode(lf.Batch.from_tokens([1, data.draw(st.integers(0, 31_999))]))
        for _ in range(data.draw(st.integers(1, 5))):
            if data.draw(st.booleans()):
                kind = {name: data.draw(st.booleans()) for name in ("selects", "reorders")}
                sampler = lf.Sampler.custom(act, **kind)
            else:
                sampler = makers[
                    data.draw(st.sampled_from([each for each in NAMES if each not in ("infill", "dry")]))
                ]()
            try:
                chain.add(sampler)
            except SamplerError:
                sampler.close()
        for _ in range(3):
            try:
                assert 0 <= chain.sample(ctx) < 32_000
                with chain.clone() as copy:
                    copy.sample(ctx)
            except (SamplerError, NoTokenSelectedError, InvalidArgumentError, ZeroDivisionError):
                pass
