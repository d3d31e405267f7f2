"""The active bindings: which ffi, library and enums this process uses, fixed at the first use.

Safe modules ask :func:`active` and nothing else, so that on a fork's bindings a shifted enum or an
added field is right by itself.
"""

from __future__ import annotations

import os
import threading
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import AlreadyLoadedError, ArgumentTypeError

if TYPE_CHECKING:
    from .functions import Functions
    from .guard import Guard
    from .other import OtherFunctions
    from .runtime import LibraryInfo


class Binding:
    """One llama.cpp: the bindings' modules and the library that was proven to match them.

    ``lib`` has the functions for the safe layer: guarded, and on other bindings than the pinned ones
    (``other`` is then the same object) checked one by one. ``raw`` has the plain ones.
    """

    __slots__ = ("NULL", "_enums", "ffi", "guard", "info", "lib", "manifest", "other", "raw")

    def __init__(
        self,
        ffi: Any,
        lib: Any,
        raw: Functions,
        enums: str,
        manifest: ModuleType,
        info: LibraryInfo,
        guard: Guard | None,
        other: OtherFunctions | None,
    ) -> None:
        self.ffi = ffi
        self.lib = lib
        self.other = other
        self.raw = raw
        self.guard = guard
        self._enums = enums
        self.manifest: Any = manifest
        self.info = info
        self.NULL = ffi.NULL

    @property
    def enums(self) -> Any:
        """The module with the enums as Python classes; imported when first asked for."""
        return import_module(self._enums)

    def enum(self, c_name: str) -> Any:
        """Return the Python class of a C enum: the active bindings', or the pinned one if they have none."""
        try:
            return self.enums.CLASSES[c_name]
        except KeyError:
            return self.pinned_enum(c_name)

    def pinned_enum(self, c_name: str) -> Any:
        """Return the Python class of a C enum as the pinned headers have it."""
        return _pinned_enums().CLASSES[c_name]

    def enum_class(self, name: str) -> Any:
        """Return the class of an enum by its Python name, likewise.

        Raises:
            AttributeError: there is none.
        """
        try:
            return getattr(self.enums, name)
        except AttributeError:
            return getattr(_pinned_enums(), name)

    def fields(self, pointer: Any) -> Any:
        """Return a struct of parameters for setting fields by their pinned names; ``[0]`` is the struct."""
        if self.other is None:
            return pointer
        from .other import Fields

        return Fields(pointer, self.ffi.typeof(pointer).item.cname.removeprefix("struct "), self.other)


def _pinned_enums() -> Any:
    return import_module(".._abi.enums", __package__)


_active: Binding | None = None
_chosen: tuple[str | os.PathLike[str] | None, str | os.PathLike[str] | None] = (None, None)
"""Library and bindings, as ``use()`` was told."""
_lock = threading.RLock()


def active() -> Binding:
    """Return the active bindings; the first call finds, opens and verifies the library.

    Raises:
        LibraryNotFoundError, LibraryLoadError, ForeignGgmlError, AbiMismatchError: no library can be used.

    Threads: any; the first caller loads, the others wait.
    """
    if _active is not None:
        return _active
    return _load()


def loaded() -> Binding | None:
    """Return the active bindings if the library is loaded, without loading it."""
    return _active


def use(
    *, bindings: str | os.PathLike[str] | None = None, library: str | os.PathLike[str] | None = None
) -> None:
    """Choose the bindings, the library or both, before the first use.

    Arguments:
        bindings: the name that ``llama-ffi bind`` was given, or the path of such a folder; None = the
            environment's (``LLAMA_FFI_BINDINGS``), else the pinned ones.
        library: a libllama file or the folder that holds one; None = the one that the bindings were made
            for, else the environment's (``LLAMA_FFI_LIB``), else the bundled one.

    Raises:
        AlreadyLoadedError: a library is loaded; a process can't exchange it.

    Threads: any.
    """
    global _chosen
    with _lock:
        if _active is not None:
            raise AlreadyLoadedError(
                f"use() came too late: {_active.info.libraries.files['llama']} is loaded already; "
                f"call use() before anything that needs the library"
            )
        _chosen = (library, bindings)


def folder(name: str) -> Path:
    """Return where the bindings ``name`` are kept, whether they exist or not."""
    from .._lib.bindings import folder_of

    return folder_of(name)


def libraries_at(place: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the files of the llama.cpp at ``place``."""
    from .._lib.search import at

    if not isinstance(place, str | os.PathLike):
        raise ArgumentTypeError(f"place must be a path, not {type(place).__name__}")
    return dict(at(Path(place), "the path").files)


def _load() -> Binding:
    global _active
    from . import runtime

    with _lock:
        if _active is None:
            _active = runtime.start(*_chosen)
        return _active


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
