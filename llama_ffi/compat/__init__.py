"""Drop-in replacements for the back ends of other wrappers.

- :mod:`llama_ffi.compat.llama_cpp` and :mod:`llama_ffi.compat.mtmd_cpp`: the low level of llama-cpp-python,
  as ctypes modules that are generated from the headers.
- :func:`install`, ``python -m llama_ffi.compat run SCRIPT`` and ``python -m llama_ffi.compat env``: an
  installed llama-cpp-python, or a program that uses one, runs on llama_ffi's library.
- :func:`differences`: what the installed version uses and this one hasn't, by name.

Importing this package imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._differences import Difference, VersionWarning, differences
    from ._install import install, shim_folder

__all__ = ["Difference", "VersionWarning", "differences", "install", "shim_folder"]

_HOME = {
    "Difference": "_differences",
    "VersionWarning": "_differences",
    "differences": "_differences",
    "install": "_install",
    "shim_folder": "_install",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
