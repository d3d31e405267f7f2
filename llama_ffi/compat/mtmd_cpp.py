"""libmtmd for programs written against ``llama_cpp.mtmd_cpp``, on the library that llama_ffi verified.

All of mtmd.h and mtmd-helper.h, in the way of :mod:`llama_ffi.compat.llama_cpp`.
"""

from __future__ import annotations

import ctypes
import os  # noqa: F401  (llama_cpp.mtmd_cpp exports its imports, too)
import pathlib  # noqa: F401
import warnings
from collections.abc import Callable  # noqa: F401
from ctypes import (  # noqa: F401
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_bool,
    c_char,
    c_char_p,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint32,
    c_void_p,
)
from typing import TYPE_CHECKING, Any, NewType, Optional, Union  # noqa: F401

from . import _library, llama_cpp
from ._wrapper import ctypes_function_for_shared_library, load_shared_library  # noqa: F401

_api: Any = _library.api()
_libmtmd: ctypes.CDLL = _library.library("mtmd")
globals().update({n: value for n, value in vars(_api).items() if n.startswith(("mtmd_", "MTMD_"))})
for _stem in (
    "batch",
    "bitmap",
    "context",
    "helper_gen_audio",
    "helper_video",
    "image_tokens",
    "input_chunk",
    "input_chunks",
):
    globals()[f"mtmd_{_stem}_p"] = NewType(f"mtmd_{_stem}_p", int)
    globals()[f"mtmd_{_stem}_p_ctypes"] = ctypes.c_void_p

ctypes_function = ctypes_function_for_shared_library(_libmtmd)


def mtmd_helper_bitmap_init_from_file(
    ctx: int, fname: bytes, placeholder: bool, opt: Any = None, /
) -> int | None:
    """Read an image or a sound from a file; llama-cpp-python hands out the bitmap alone."""
    read: Any = _library.function("mtmd_helper_bitmap_init_from_file")
    bitmap: int | None = read(ctx, fname, placeholder, _options() if opt is None else opt).bitmap
    return bitmap


def mtmd_helper_bitmap_init_from_buf(
    ctx: int, buf: Any, length: int, placeholder: bool, opt: Any = None, /
) -> int | None:
    """Read an image or a sound from memory; llama-cpp-python hands out the bitmap alone."""
    read: Any = _library.function("mtmd_helper_bitmap_init_from_buf")
    bitmap: int | None = read(ctx, buf, length, placeholder, _options() if opt is None else opt).bitmap
    return bitmap


def _options() -> Any:
    default: Any = _library.function("mtmd_helper_init_opt_default")
    return default()


def mtmd_get_audio_bitrate(ctx: int, /) -> int:
    """Return samples per second of the sound that the projector takes (deprecated: it was renamed)."""
    warnings.warn(
        "mtmd_get_audio_bitrate is deprecated; use mtmd_get_audio_sample_rate",
        DeprecationWarning,
        stacklevel=2,
    )
    rate: Any = _library.function("mtmd_get_audio_sample_rate")
    return int(rate(ctx))


def __getattr__(name: str) -> Any:
    if name == "__all__":
        here = [each for each in globals() if not each.startswith("_") and each != "Any"]
        return [*here, *_functions()]
    if name.endswith("_wrapper") and name.removesuffix("_wrapper") in _functions():
        return globals().setdefault(name, _library.function(name.removesuffix("_wrapper")))
    if name not in _functions():
        return getattr(llama_cpp, name)  # its message says what became of it
    return globals().setdefault(name, _library.function(name))


def _functions() -> list[str]:
    return [name for name in _api._FUNCTIONS if name.startswith("mtmd_") and hasattr(_libmtmd, name)]


def __dir__() -> list[str]:
    return sorted({*globals(), *_functions()})
