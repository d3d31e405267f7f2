"""Open the libraries: by absolute path, dependencies first, for this process's life.

RTLD_LOCAL keeps our symbols to ourselves; the private SONAMEs of our builds keep another ggml's
libraries from being taken for ours. What neither can prevent is a ggml that somebody opened with
RTLD_GLOBAL: the loader would bind *our* libllama to *its* functions. That is refused.
Nothing is ever dlclosed: threads, callbacks and finalizers may still point into it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..errors import ForeignGgmlError, LibraryLoadError
from . import elf
from .search import ORDER, LibrarySet

_LAZY = frozenset({"mtmd"})
"""Opened on first use: most programs never do."""


class Opened:
    """The opened libraries of one build, by key."""

    def __init__(self, ffi: Any, libraries: LibrarySet) -> None:
        self._ffi = ffi
        self.set = libraries
        self.adopted: set[str] = set()
        """keys of libraries that are back-end modules"""
        self._open: dict[str, Any] = {}
        self._flags = 0 if sys.platform == "win32" else ffi.RTLD_NOW | ffi.RTLD_LOCAL
        for key in ORDER:
            if key in libraries.files and key not in _LAZY:
                self.get(key)

    def get(self, key: str) -> Any | None:
        """Return the cffi library for ``key``, opening it if need be; None if this build has none.

        Raises:
            LibraryLoadError: the loader refuses the file.
        """
        library = self._open.get(key)
        if library is None and key in self.set.files:
            path = self.set.files[key]
            damage = elf.problem(path)
            if damage is not None:  # the loader would die of it
                raise LibraryLoadError(f"{path} can't be loaded: {damage}; build or install it again")
            try:
                library = self._ffi.dlopen(str(path), self._flags)
            except OSError as error:
                from . import cures

                raise LibraryLoadError(cures.explain(path, error)) from error
            self._open[key] = library
        return library

    def adopt(self, key: str, path: Path) -> None:
        """Take a back-end module that is loaded already for the library ``key``, for its functions."""
        self.adopted.add(key)
        self.set = self.set._replace(files={**self.set.files, key: path})
        self._open.pop(key, None)
        self.get(key)

    def keys(self) -> list[str]:
        """Return the keys of this build's libraries, dependencies first."""
        return [key for key in ORDER if key in self.set.files]


def refuse_global_ggml(ffi: Any) -> None:
    """Raise if the process already offers ggml's symbols to everybody.

    Raises:
        ForeignGgmlError: with the file that holds them.
    """
    if sys.platform == "win32":
        return  # no global symbol name space there
    everybody = ffi.dlopen(None)
    try:
        address = ffi.addressof(everybody, "ggml_backend_reg_count")
    except ffi.error:
        return
    file = _file_of(int(ffi.cast("uintptr_t", address)))
    raise ForeignGgmlError(
        f"another ggml is loaded with its symbols global, from {file}; "
        f"our libllama would call into it. Import llama_ffi first, or open that library without RTLD_GLOBAL"
    )


def _file_of(address: int) -> str:
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            for line in maps:
                span, *rest = line.split(None, 5)
                low, high = (int(part, 16) for part in span.split("-"))
                if low <= address < high and len(rest) == 5:
                    return rest[4].strip()
    except OSError:
        pass
    return "a file that this system doesn't name"
