"""What llama-cpp-python adds around the declarations: the helpers that its modules import from each other."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import LibraryNotFoundError
from . import _library

VERSION = "0.3.36"
"""The llama-cpp-python that carries the very llama.cpp that our bindings were made for."""

_KEYS = ("llama", "ggml", "ggml-base", "ggml-cpu", "ggml-rpc", "mtmd")


def load_shared_library(lib_base_name: str, base_path: Path | str | None = None) -> ctypes.CDLL:
    """Return the library in use for "llama", "ggml", "mtmd" …, whatever the folder is.

    Raises:
        LibraryNotFoundError: llama.cpp has no such library (any more).
    """
    if lib_base_name not in _KEYS:
        hint = "; libmtmd took its place: use llama_cpp.mtmd_cpp" if lib_base_name == "llava" else ""
        raise LibraryNotFoundError(
            f"llama.cpp has no library {lib_base_name!r}, it has {', '.join(_KEYS)}{hint}"
        )
    return _library.library(lib_base_name)


def ctypes_function_for_shared_library(lib: ctypes.CDLL) -> Callable[..., Any]:
    """Return the decorator that puts a function of ``lib`` in the place of its Python declaration."""

    def ctypes_function(name: str, argtypes: list[Any], restype: Any, enabled: bool = True) -> Any:
        def bound(declaration: Any) -> Any:
            if not enabled:
                return declaration
            function = lib[name]  # a new object: others of this name keep their types
            function.argtypes, function.restype = argtypes, restype
            function.__doc__ = declaration.__doc__
            return function

        return bound

    return ctypes_function
