"""llama.cpp's C API, verbatim and without a safety net.

``ffi`` and ``lib`` are cffi's: structs by value, pointers, ``ffi.new``, ``ffi.callback``. Every function
of llama.h, ggml*.h, gguf.h and mtmd*.h is an attribute of ``lib`` under its C name, every macro constant
and enum member too. Both are made at the first access, which finds, opens and verifies the library.

What C doesn't check isn't checked here: a wrong call can end the process. The safe layer's objects give
their pointer as ``.ptr``, which stays valid for as long as you hold it.

    from llama_ffi.raw import ffi, lib
    params = lib.llama_model_default_params()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._core import binding

if TYPE_CHECKING:
    from ._abi.c_api import FFI, Lib

    ffi: FFI
    lib: Lib

__all__ = ["ffi", "functions", "lib"]


def functions() -> dict[str, str]:
    """Tell where each bound C function comes from.

    Returns:
        C name → file name of the library that holds it, or the reason why it can't be called.

    Threads: any.
    """
    from ._core.functions import table

    return table(binding.active().raw)


def __getattr__(name: str) -> Any:
    if name == "ffi" or name == "lib":
        active = binding.active()
        globals().update(ffi=active.ffi, lib=active.raw)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
