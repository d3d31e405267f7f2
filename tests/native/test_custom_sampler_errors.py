"""Samplers written in Python: every mistake that they can make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi.errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    NoTokenSelectedError,
    SamplerError,
)
from tests.native.samplers import NAMES, Once, all_samplers, chain_of

pytestmark = pytest.mark.native


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
