"""After a fork the child's objects are dead, new ones work, and the parent notices nothing."""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import llama_ffi as lf
from llama_ffi._core import handle
from llama_ffi.errors import ForkedError

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]

SMALL = {"n_ctx": 256, "n_batch": 32, "n_threads": 1}


@pytest.fixture
def model(tiny_model: Path) -> Iterator[lf.Model]:
    with lf.Model.load(tiny_model) as loaded:
        yield loaded


def in_child(function: Callable[[], object]) -> None:
    """Run ``function`` in a forked process; what fails there fails here."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        words = b""
        try:
            function()
        except BaseException:
            words = traceback.format_exc().encode()
        finally:
            os.write(writing, words)
            os._exit(1 if words else 0)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        words = pipe.read()
    assert (os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), words) == (0, "")


def test_everything_from_before_is_dead(model: lf.Model) -> None:
    context, chain = model.context(**SMALL), lf.SamplerChain().add_greedy()
    context.decode(lf.Batch.from_tokens([5]))
    calls = (
        lambda: model.ptr,
        lambda: model.vocab.tokenize("Once"),
        lambda: context.decode(lf.Batch.from_tokens([6])),
        lambda: context.logits(-1),
        context.memory.clear,
        lambda: chain.sample(context),
        lambda: chain.add_dist(1),
    )

    def child() -> None:
        for call in calls:
            with pytest.raises(ForkedError, match="made before fork"):
                call()
        for each in (model, context, chain):
            assert each.closed
            each.close()

    in_child(child)
    assert chain.sample(context) >= 0, "the parent's objects are as they were"


def test_the_child_makes_its_own(model: lf.Model, tiny_model: Path) -> None:
    context = model.context(**SMALL)
    context.decode(lf.Batch.from_tokens([5]))
    expected = context.logits(-1).tolist()

    def child() -> None:
        assert handle.live() == 0
        with lf.Model.load(tiny_model) as own, own.context(**SMALL) as fresh:
            fresh.decode(lf.Batch.from_tokens([5]))
            assert fresh.logits(-1).tolist() == expected

    in_child(child)


def test_what_the_child_drops_is_not_freed(model: lf.Model) -> None:
    """Otherwise the parent's mapping of the file and its locks would be touched from outside."""
    things = [model.context(**SMALL), lf.SamplerChain().add_dist(1)]
    freed: list[object] = []
    for record in [each._handle._record for each in things]:
        destroy = record.destroy
        record.destroy = lambda pointer, destroy=destroy: (freed.append(pointer), destroy(pointer))

    def child() -> None:
        things.clear()
        gc.collect()
        assert freed == []

    in_child(child)
    things.clear()
    gc.collect()
    assert len(freed) == 2


def test_a_generator_in_flight(model: lf.Model) -> None:
    pieces = lf.generate("Once upon a time", model=model, max_tokens=8, temp=0, n_threads=1)
    first = next(pieces)

    def child() -> None:
        with pytest.raises(ForkedError):
            next(pieces)
        pieces.close()

    in_child(child)
    assert first + "".join(pieces)
