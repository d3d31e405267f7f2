"""llama.cpp for programs written against ``llama_cpp.llama_cpp``, on the library that llama_ffi verified.

    from llama_ffi.compat import llama_cpp

    params = llama_cpp.llama_model_default_params()
    model = llama_cpp.llama_model_load_from_file(b"model.gguf", params)     # an int, or None

All of llama.h, and of ggml*.h and gguf.h beside it: handles to opaque structs are plain integers, NULL is
None, ``const char *`` is bytes, structs are ``ctypes.Structure`` by value and by reference, callback types
are decorators, ``_lib`` is a ``ctypes.CDLL``. The declarations are generated from the headers and compared
with the C compiler's. What llama-cpp-python 0.3.36 adds to them is here too, but :data:`LEFT_OUT`.

Like there, nothing is checked: a wrong call can end the process. Importing this module loads the library.
"""

from __future__ import annotations

import ctypes
import os  # noqa: F401  (llama_cpp.llama_cpp exports its imports, too)
import pathlib  # noqa: F401
import sys
import warnings
from collections.abc import Callable  # noqa: F401
from ctypes import byref  # noqa: F401
from typing import TYPE_CHECKING, Any, NewType, Optional, Union  # noqa: F401

from .. import log
from . import _library, _names
from ._wrapper import ctypes_function_for_shared_library, load_shared_library  # noqa: F401

LEFT_OUT = {
    "LLAMA_VOCAB_PRE_TYPE_": "an enum of llama.cpp's sources that left its public headers; no C function "
    "takes or returns one",
}
"""Beginnings of names that ``llama_cpp.llama_cpp`` 0.3.36 has and this module hasn't, and why."""

_api: Any = _library.api()
_lib: ctypes.CDLL = _library.library("llama")
_NAMES = {name: value for name, value in vars(_api).items() if not name.startswith(("_", "mtmd_", "MTMD_"))}
_NAMES.pop("load")
globals().update(_NAMES)

# Handles: for a type checker an int of its own, for ctypes an address.
for _stem in (
    "gguf_context",
    "llama_batch_ext",
    "llama_context",
    "llama_kv_cache",
    "llama_model",
    "llama_vocab",
):
    globals()[f"{_stem}_p"] = NewType(f"{_stem}_p", int)
    globals()[f"{_stem}_p_ctypes"] = ctypes.c_void_p
llama_memory_t = NewType("llama_memory_t", int)
llama_memory_t_ctypes = llama_adapter_lora_p = llama_adapter_lora_p_ctypes = ctypes.c_void_p
llama_sampler_p_ctypes = ctypes.POINTER(_api.llama_sampler)
llama_token_p = ctypes.POINTER(_api.llama_token)

llama_log_callback = _api.ggml_log_callback
for _name, _type in getattr(_api.llama_sampler_i, "_fields_", ()):
    globals()[f"llama_sampler_i_{_name}"] = _type

# The union has no name in C; programs for llama-cpp-python call it `value`.
_union = dict(_api.llama_model_kv_override._fields_).get("_anonymous_2")
if _union is not None:
    llama_model_kv_override_value = _union
    _api.llama_model_kv_override.value = _api.llama_model_kv_override._anonymous_2

_names.add_fields(_api)
ctypes_function = ctypes_function_for_shared_library(_lib)
LLAMA_MAX_DEVICES: int = _lib.llama_max_devices()


_log: tuple[Any, Any] = (None, None)
"""What the program has set, and gets from llama_log_get."""


def llama_log_set(log_callback: Any, user_data: Any) -> None:
    """Hand each piece of llama.cpp's log to a ``llama_log_callback``, or write it to stderr (None).

    The log of llama_ffi, and the lines that its errors carry, go on beside it.
    """
    global _log
    if log_callback is not None and not isinstance(log_callback, llama_log_callback):
        raise TypeError(f"expected a llama_log_callback or None, not {type(log_callback).__name__}")
    _log = (log_callback, user_data)
    if not log_callback:
        log.forward(lambda level, text: print(text.decode("utf-8", "replace"), end="", file=sys.stderr))
    else:
        log.forward(lambda level, text: log_callback(level, text, user_data))


def llama_log_get(log_callback: Any, user_data: Any) -> None:
    """Write what llama_log_set was given last to two pointers; NULL before."""
    for pointer, value in zip((log_callback, user_data), _log, strict=True):
        address = ctypes.cast(value, ctypes.c_void_p).value if value else None
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_void_p))[0] = ctypes.c_void_p(address)


def llama_set_adapter_lora(ctx: int, adapter: int, scale: float, /) -> int:
    """Use one LoRA adapter in a context (deprecated: llama.cpp takes all of them at once)."""
    _deprecated("llama_set_adapter_lora", "llama_set_adapters_lora")
    set_adapters: Any = _library.function("llama_set_adapters_lora")
    adapters, scales = (ctypes.c_void_p * 1)(adapter), (ctypes.c_float * 1)(scale)
    return int(set_adapters(ctx, adapters, 1, scales))


def llama_apply_adapter_cvec(
    ctx: int, data: Any, len: int, n_embd: int, il_start: int, il_end: int, /
) -> int:
    """Use a control vector in a context (deprecated: it was renamed)."""
    _deprecated("llama_apply_adapter_cvec", "llama_set_adapter_cvec")
    set_vector: Any = _library.function("llama_set_adapter_cvec")
    return int(set_vector(ctx, data, len, n_embd, il_start, il_end))


def _deprecated(old: str, new: str) -> None:
    warnings.warn(f"{old} is deprecated; use {new}", DeprecationWarning, stacklevel=3)


_IN_LOOPS = frozenset(
    {
        "llama_batch_get_one",
        "llama_decode",
        "llama_get_embeddings_ith",
        "llama_get_logits",
        "llama_get_logits_ith",
        "llama_get_memory",
        "llama_memory_seq_pos_max",
        "llama_memory_seq_rm",
        "llama_sampler_accept",
        "llama_sampler_apply",
        "llama_sampler_sample",
        "llama_token_to_piece",
        "llama_vocab_is_eog",
    }
)
"""What is called for every token; these take no keywords, like all functions of llama-cpp-python's own."""


_NOT_EXPORTED = ("LEFT_OUT", "Any", "log", "sys")


def _bind() -> list[str]:
    """Bind every function now, and return those that this library lacks.

    Bound later, by a module's ``__getattr__``, they would make each access of a program dearer for ever:
    Python doesn't specialize access to such modules, and a token has four.
    """
    absent = []
    for name in _api._FUNCTIONS:
        if name.startswith("mtmd_") or name in globals():
            continue
        try:
            globals()[name] = getattr(_lib, name) if name in _IN_LOOPS else _api._function(name)
        except AttributeError:
            if name.startswith("llama_"):
                absent.append(name)
    for name in _names.older_names():
        older = None if name in globals() else _names.older(name)
        if older is not None:
            globals()[name] = older
    return absent


_absent = _bind()
__all__ = [
    name
    for name in globals()
    if not name.startswith("_")
    and name not in _NOT_EXPORTED
    and not (name in _api._FUNCTIONS and not name.startswith("llama_"))
]

if TYPE_CHECKING or _absent:

    def __getattr__(name: str) -> Any:
        if name in _absent:
            return _library.function(name)  # says which library lacks it, and what to do
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
