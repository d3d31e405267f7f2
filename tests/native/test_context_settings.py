"""The parameters of a context as a type checker knows them, and what can be set later."""

from __future__ import annotations

import inspect

import pytest

import llama_ffi as lf
from llama_ffi.context_params import ContextOptions
from llama_ffi.errors import InvalidArgumentError

pytestmark = pytest.mark.native


def test_threads(ctx: lf.Context) -> None:
    ctx.set_n_threads(1, 2)
    assert (ctx.n_threads, ctx.n_threads_batch) == (1, 2)
    ctx.set_n_threads(2)
    assert (ctx.n_threads, ctx.n_threads_batch) == (2, 2)
    for wrong in (0, 513, 10**9):
        with pytest.raises(InvalidArgumentError):
            ctx.set_n_threads(wrong)


def test_model_context_has_the_names_of_context() -> None:
    signature = inspect.signature(lf.Context.__init__).parameters
    keywords = {name for name, each in signature.items() if each.kind is each.KEYWORD_ONLY}
    assert keywords == set(ContextOptions.__annotations__)
    for name, each in signature.items():
        if name in keywords:
            annotation = ContextOptions.__annotations__[name]
            assert getattr(annotation, "__forward_arg__", annotation) == each.annotation, name
