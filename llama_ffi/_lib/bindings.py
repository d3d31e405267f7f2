"""Which bindings: the generated ones that ship, or a set that ``llama-ffi bind`` made for another llama.cpp.

Such a set is a package folder like ``_abi``, in the user's cache or wherever he says, with a
``binding.json`` that remembers the library it was made for. Its modules are imported under a name of
their own: nothing in the package depends on where bindings come from.
"""

from __future__ import annotations

import json
import os
import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ..errors import BindingsNotFoundError, UnsupportedError

VARIABLE = "LLAMA_FFI_BINDINGS"
_PACKAGE = "llama_ffi_bindings_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Bindings(NamedTuple):
    """One set of bindings."""

    name: str
    """"pinned", or the name that ``bind`` was given"""
    ffi: Any
    manifest: ModuleType
    enums: str
    """name of the module with the enums; importing it is left to whoever needs one"""
    library: str | None
    """the library that the set was made for, unless another one is named"""
    guard: Path | None
    """the guard library that `bind` compiled"""
    guards: str | None
    """the libllama that it was compiled for"""
    pinned: bool
    """they are the ones that the safe layer was written for"""

    @property
    def made_for(self) -> str:
        """Which llama.cpp they were made for, in words."""
        commit = str(self.manifest.COMMIT)[:12]
        if self.pinned:
            return f"llama.cpp {commit}"
        return f"{f'llama.cpp {commit}' if commit else 'headers of your own'} ({self.name!r})"


def cache_folder() -> Path:
    """Return the package's folder in the user's cache (``LLAMA_FFI_CACHE`` moves it).

    Raises:
        UnsupportedError: the user has no home, and the environment names no folder.
    """
    try:
        return _cache_folder()
    except RuntimeError:
        raise UnsupportedError(
            "there is no home folder that could hold the cache: let LLAMA_FFI_CACHE name a folder"
        ) from None


def _cache_folder() -> Path:
    chosen = os.environ.get("LLAMA_FFI_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
        return Path(base) / "llama_ffi" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "llama_ffi"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache") / "llama_ffi"


def folder_of(name: str) -> Path:
    """Return where the bindings ``name`` are: a path is taken as it is, a name is looked up in the cache.

    Raises:
        BindingsNotFoundError: ``name`` is neither.
    """
    if os.sep in name or (os.altsep and os.altsep in name):
        return Path(name).expanduser().absolute()
    if not _NAME.fullmatch(name):
        raise BindingsNotFoundError(
            f"{name!r} is no name for bindings: letters, digits, '.', '_' and '-' only"
        )
    return cache_folder() / "bindings" / name


def find(chosen: str | os.PathLike[str] | None) -> Bindings:
    """Return the bindings ``chosen``, else those that the environment names, else the pinned ones.

    Raises:
        BindingsNotFoundError: there are none of that name, or they are damaged.
    """
    name = os.fspath(chosen) if chosen is not None else os.environ.get(VARIABLE, "")
    if not name:
        from .._abi import manifest
        from .._abi._ffi import ffi

        return Bindings("pinned", ffi, manifest, f"{manifest.__package__}.enums", None, None, None, True)
    return _import(name, folder_of(name))


def _import(name: str, folder: Path) -> Bindings:
    if not (folder / "_ffi.py").is_file():
        raise BindingsNotFoundError(
            f"there are no bindings {name!r}: {folder} has no _ffi.py. Make them with "
            f"`llama-ffi bind --include DIR --lib PATH --name NAME`"
        )
    package = _PACKAGE + re.sub(r"\W", "_", folder.name)
    module = ModuleType(package)
    module.__path__ = [str(folder)]  # a package that is found by its folder, not by sys.path
    sys.modules.setdefault(package, module)
    try:
        ffi = import_module(f"{package}._ffi").ffi
        manifest = import_module(f"{package}.manifest")
        manifest.FUNCTIONS, manifest.UNAVAILABLE, manifest.COMMIT  # noqa: B018  (what the start asks for)
        remembered = json.loads((folder / "binding.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        remembered = {}
    except (ImportError, SyntaxError, AttributeError, ValueError) as error:
        raise BindingsNotFoundError(f"the bindings {name!r} in {folder} are damaged: {error}") from error
    # the guard's own functions change with this package, the bindings' with llama.cpp only
    ours = sys.modules[__name__.partition(".")[0]].__version__
    current = remembered.get("made_by") == ours and remembered.get("guard")
    guard = folder / str(remembered["guard"]) if current else None
    return Bindings(
        folder.name,
        ffi,
        manifest,
        f"{package}.enums",
        remembered.get("library"),
        guard,
        remembered.get("guards"),
        False,
    )
