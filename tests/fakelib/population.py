"""The population of a random life: the objects that exist, and what must hold for all of them.

Lists of its own hold the objects: a hypothesis bundle would keep what is dropped alive.
"""

from __future__ import annotations

import functools
import gc
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

import llama_ffi as lf
from llama_ffi import errors
from llama_ffi._core import handle
from tests.fakelib.fake import KINDS, Fake

index = st.integers(0, 5)

REFUSALS = (
    errors.SamplerError,  # doesn't fit there
    errors.NoOutputsError,
    errors.NoTokenSelectedError,
    errors.InvalidArgumentError,
    errors.DecodeError,
    errors.AdapterError,
    errors.MemoryOperationError,
)


class Anchor:
    """A Python object to make reference cycles with."""


def recorded(function: Callable[..., None]) -> Callable[..., None]:
    """Note the first failure: threads and collections make lives differ, so a replay may miss it."""

    @functools.wraps(function)
    def run(self: Population, **arguments: Any) -> None:
        try:
            function(self, **arguments)
        except BaseException:
            type(self).failure = type(self).failure or traceback.format_exc()
            raise

    return run


class Population(RuleBasedStateMachine):
    """One random life; the class attributes are set by the runner."""

    fake: ClassVar[Fake]
    path: ClassVar[Path]
    steps: ClassVar[int] = 0
    forks: ClassVar[int] = 0
    overlaps: ClassVar[int] = 0
    failure: ClassVar[str] = ""
    trace: ClassVar[Callable[[str], None]] = print

    def __init__(self) -> None:
        super().__init__()
        self.models: list[lf.Model] = []
        self.contexts: list[lf.Context] = []
        self.samplers: list[lf.Sampler] = []
        self.chains: list[lf.SamplerChain] = []
        self.loras: list[lf.LoraAdapter] = []
        self.pools: list[lf.ThreadPool] = []
        self.batches: list[lf.BatchExt] = []
        self.snapshots: list[lf.Snapshot] = []
        self.generators: list[Any] = []
        self.pointers: list[tuple[str, Any]] = []
        self.anchors: list[Anchor] = []
        type(self).trace("--- a new life")

    # --- helpers ---

    def step(self, words: str) -> None:
        type(self).steps += 1
        type(self).trace(words)

    def objects(self) -> list[Any]:
        return [each for objects in self.lists() for each in objects]

    def lists(self) -> list[list[Any]]:
        return [
            self.models,
            self.contexts,
            self.samplers,
            self.chains,
            self.loras,
            self.pools,
            self.batches,
        ]

    def expect(self, call: Callable[[], Any], *needed: Any, busy: bool = False) -> Any:
        """Return what ``call`` returns; a refusal must have its reason in one of the ``needed`` objects."""
        try:
            return call()
        except errors.ClosedError:
            assert any(each.closed for each in needed), "ClosedError, but everything is open"
        except errors.BusyError:
            assert busy, "BusyError, but nobody is inside"
        except REFUSALS:
            pass
        return None

    def left(self) -> str:
        """Return which C objects are not freed."""
        return ", ".join(f"{self.fake.live(kind)} {kind}s" for kind in KINDS if self.fake.live(kind))

    def pick(self, objects: list[Any], i: int) -> Any:
        return objects[i % len(objects)] if objects else None

    def some_model(self, i: int) -> lf.Model:
        if not self.models:
            self.models.append(lf.Model.load(self.path))
        return self.pick(self.models, i)

    def some_context(self, i: int) -> lf.Context:
        if not self.contexts:
            self.contexts.append(self.open_model(i).context(n_ctx=256))
        return self.pick(self.contexts, i)

    def some_chain(self, i: int) -> lf.SamplerChain:
        if not self.chains:
            self.chains.append(lf.SamplerChain())
        return self.pick(self.chains, i)

    def open_model(self, i: int) -> lf.Model:
        usable = [each for each in self.models if not each.closed]
        if usable:
            return self.pick(usable, i)
        self.models.append(lf.Model.load(self.path))
        return self.models[-1]

    def open_context(self, i: int) -> lf.Context:
        usable = [each for each in self.contexts if not each.closed]
        if usable:
            return self.pick(usable, i)
        self.contexts.append(self.open_model(i).context(n_ctx=256))
        return self.contexts[-1]

    def take(self, i: int) -> Any:
        """Take an object out of our lists: what is returned is the last reference of ours."""
        everything = self.objects()
        if not everything:
            return None
        chosen = everything[i % len(everything)]
        for each in self.lists():
            each[:] = [one for one in each if one is not chosen]
        return chosen

    # --- what must hold ---

    @invariant()
    @recorded
    def no_mistakes(self) -> None:
        assert not self.fake.mistakes(), self.fake.mistakes()

    @recorded
    def teardown(self) -> None:
        self.fake.fail("")
        self.fake.delay(0)
        for everything in (*self.lists(), self.snapshots, self.anchors, self.pointers, self.generators):
            everything.clear()
        gc.collect()
        handle.drain()
        assert not self.fake.mistakes(), self.fake.mistakes()
        assert self.fake.live() == 0, f"left after every reference is gone: {self.left()}"
        assert handle.live() == 0
