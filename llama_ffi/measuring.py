"""How much memory a context would need: made, asked and freed again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import limits, memory_use
from ._core import binding, logs
from ._core.handle import Handle
from .context import Context
from .context_params import context_params
from .decode_failures import reason
from .errors import ArgumentTypeError, ContextCreateError, UnsupportedError
from .memory_use import MemoryBreakdown
from .model import Model


def measure(model: Model, options: Mapping[str, Any]) -> MemoryBreakdown:
    """Return the memory of ``model`` and a context with ``options``; :meth:`Model.measure` has the words."""
    active = binding.active()
    parent = model.ptr
    if model.vocab_only:
        raise UnsupportedError("only the vocabulary of this model is loaded; load it with no_alloc=True")
    code = context_params.__code__
    known = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    usual = Context.__init__.__kwdefaults__ or {}
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ArgumentTypeError(f"measure() knows no parameter {unknown[0]!r}; it takes those of Context")
    values = {name: options.get(name, usual.get(name)) for name in known}
    params = context_params(active, limits.facts(model), **values)
    with logs.capture() as lines:
        pointer = active.lib.llama_init_from_model(parent, params[0])
    if pointer == active.NULL:
        raise ContextCreateError(f"llama.cpp made no context: {reason(lines)}", log=lines)
    handle = Handle(active.ffi, pointer, active.lib.llama_free, "context", keep=[parent], exclusive=True)
    del pointer  # the handle's is the only one, so that it is freed below
    try:
        with handle as context:
            return memory_use.of_context(active, context)
    finally:
        handle.close()
