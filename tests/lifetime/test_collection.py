"""Nothing of ours keeps what nobody else holds: objects in cycles are collected, C objects included."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

import llama_ffi as lf
from llama_ffi._core import handle

pytestmark = pytest.mark.model


class Program:
    """An object that holds a model, whose progress it watches."""

    def __init__(self, path: Path) -> None:
        self.seen: list[float] = []
        self.model = lf.Model.load(path, progress=self.watch)
        self.context = self.model.context(n_ctx=256, n_batch=32, n_threads=1)
        self.chain = lf.SamplerChain().add_grammar(self.model.vocab, 'root ::= "a"').add_dist(1)
        self.pieces = lf.generate("Once", model=self.model, sampler=self.chain, n_threads=1)
        self.me = self

    def watch(self, fraction: float) -> None:
        self.seen.append(fraction)


def test_a_program_that_is_dropped(tiny_model: Path) -> None:
    gc.collect()  # of earlier tests
    owned = handle.live()
    program: Any = Program(tiny_model)
    assert program.seen and handle.live() > owned
    gone = weakref.ref(program)
    del program
    gc.collect()
    assert gone() is None, "something of ours holds it"
    assert handle.live() == owned


def test_an_error_keeps_nothing(tiny_model: Path) -> None:
    """A kept exception holds frames, and frames hold what they were called with - but it can be collected."""
    gc.collect()  # of earlier tests
    owned = handle.live()
    with lf.Model.load(tiny_model) as model:
        context = model.context(n_ctx=256, n_batch=32, n_threads=1)
        with pytest.raises(lf.errors.InvalidBatchError) as raised:
            context.decode(lf.Batch.from_tokens([5] * 33))
    context.close()
    del context, model, raised
    gc.collect()
    assert handle.live() == owned
