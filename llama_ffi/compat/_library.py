"""The ctypes declarations that fit the library in use, and that library, opened for ctypes.

The library is the one that the rest of the package found, opened and verified: asking for it here makes
that happen. Opening the same files once more gives ctypes handles to them; nothing is loaded twice.
"""

from __future__ import annotations

import ctypes
import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import library_info, raw
from ..errors import AbiMismatchError, LibraryNotFoundError, MissingFunctionError

_api: ModuleType | None = None
_LAZY = ("mtmd",)
"""Opened when somebody wants them."""


def api() -> ModuleType:
    """Return the generated declarations for the library in use, with that library in them.

    Raises:
        AbiMismatchError: the bindings in use were made without declarations for ctypes.
        LibraryNotFoundError, LibraryLoadError, ForeignGgmlError: no library can be used.
    """
    global _api
    if _api is None:
        info = library_info()
        module = _declarations(info.bindings, info.package)
        module.load(_Libraries())
        _api = module
    return _api


def _declarations(bindings: str, package: str) -> ModuleType:
    if bindings == "pinned":
        from . import _ctypes_api

        return _ctypes_api
    try:
        return import_module(f"{package}.ctypes_api")
    except ModuleNotFoundError:
        raise AbiMismatchError(
            f"the bindings {bindings!r} have no declarations for ctypes: make them again with "
            f"`llama-ffi bind`"
        ) from None


class _Libraries(dict[str, ctypes.CDLL]):
    """The libraries by key, each opened for ctypes when it is first asked for."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> ctypes.CDLL:
        self[key] = library = _Library(str(_file(key)))
        return library


class _Library(ctypes.CDLL):
    """A library whose functions have their types by themselves: without them a call would cut addresses."""

    def __getattr__(self, name: str) -> Any:
        function = super().__getattr__(name)
        if _api is not None and name in _api._FUNCTIONS:
            _, result, parameters, _ = _api._FUNCTIONS[name]
            function.restype, function.argtypes = result, [kind for _, kind in parameters]
        return function


def _file(key: str) -> Path:
    libraries = library_info().libraries
    path = libraries.files.get(key)
    if path is None and key == "ggml-cpu":
        path = next((p for p in libraries.modules.values() if "ggml-cpu" in p.name and _is_open(p)), None)
    if path is None and key in _LAZY:
        raise LibraryNotFoundError(f"the llama.cpp in {libraries.folder} has no library {key!r}")
    return path or libraries.files["llama"]  # a build that is cut differently: its symbols are found there


def _is_open(path: Path) -> bool:
    """Tell whether a back-end module is the one that was chosen, for example among the CPU's variants."""
    if sys.platform == "win32":
        return True
    try:
        ctypes.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_NOLOAD)
    except OSError:
        return False
    return True


def library(key: str) -> ctypes.CDLL:
    """Return one of the libraries in use: "llama", "ggml", "ggml-base", "ggml-cpu", "mtmd".

    Raises:
        LibraryNotFoundError: this llama.cpp has no such library.
    """
    found: ctypes.CDLL = api()._libraries[key]
    return found


def function(name: str) -> object:
    """Return the C function ``name`` for ctypes.

    Raises:
        MissingFunctionError: it is declared, but not in this library.
    """
    module = api()
    try:
        return getattr(module, name)
    except AttributeError:
        getattr(raw.lib, name)  # says which library lacks it, and what to do
        raise MissingFunctionError(f"{name} can't be called through ctypes with this library") from None
