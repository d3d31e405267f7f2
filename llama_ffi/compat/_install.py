"""Make ``import llama_cpp`` use our library: a finder that stands before all others.

Of llama-cpp-python's modules two are replaced, those with the declarations: ``llama_cpp.llama_cpp`` and
``llama_cpp.mtmd_cpp``. One more is changed: whoever asks its ``load_shared_library`` for a library gets ours.
Everything else, the ``Llama`` class, the server, the chat handlers, is the installed package's own Python
code; its own native library is never opened, and need not exist.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import AlreadyLoadedError

PACKAGE = "llama_cpp"
_OURS = {f"{PACKAGE}.llama_cpp": "llama_cpp", f"{PACKAGE}.mtmd_cpp": "mtmd_cpp"}
_HELPERS = f"{PACKAGE}._ctypes_extensions"
_INSTALL = "CMAKE_ARGS=-DLLAMA_BUILD=OFF pip install --no-cache-dir llama-cpp-python"
"""How to get the Python code without compiling anything."""

_lock = threading.Lock()
_finder: _Finder | None = None


def shim_folder() -> Path:
    """Return the folder that, on PYTHONPATH, makes ``import llama_cpp`` call :func:`install` first.

    Returns:
        a folder of this package; it holds a package ``llama_cpp`` that hands over to the installed one.

    Threads: any.
    """
    return Path(__file__).resolve().parent / "shim"


def install() -> None:
    """Make ``import llama_cpp`` run on the library and the bindings of llama_ffi, in this process.

    An installed llama-cpp-python keeps its Python code (``Llama``, the server, the chat handlers); its own
    native library isn't opened and need not be there. Without an installed one, ``llama_cpp`` has the low
    level only. Calling it again changes nothing. Its children don't inherit it: see :func:`shim_folder`.

    Raises:
        AlreadyLoadedError: ``llama_cpp`` is imported already, with a library of its own.

    Threads: any.
    """
    global _finder
    with _lock:
        if _finder is not None:
            if _finder not in sys.meta_path:
                sys.meta_path.insert(0, _finder)
            return
        loaded = sys.modules.get(f"{PACKAGE}.llama_cpp")
        if loaded is not None:
            raise AlreadyLoadedError(
                f"install() came too late: llama_cpp is imported already, with its own library (from "
                f"{getattr(loaded, '__file__', 'a place without a name')}). Call llama_ffi.compat.install() "
                f"before the first `import llama_cpp`, or start the program with "
                f"`python -m llama_ffi.compat run`"
            )
        _finder = _Finder()
        sys.meta_path.insert(0, _finder)


def installed_package() -> ModuleSpec | None:
    """Return where the installed llama-cpp-python is, without importing it; None if there is none."""
    shim = str(shim_folder())
    for finder in sys.meta_path:
        if finder is _finder or not hasattr(finder, "find_spec"):
            continue
        path = [p for p in sys.path if not _same(p, shim)] if finder is PathFinder else None
        spec = finder.find_spec(PACKAGE, path)
        if spec is not None and spec.origin is not None and not spec.origin.startswith(shim):
            return spec
    return None


def _same(entry: object, folder: str) -> bool:
    return isinstance(entry, str) and bool(entry) and str(Path(entry).resolve()) == folder


class _Finder:
    """Finds ``llama_cpp`` and those of its modules that we replace or change."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in _OURS:
            return ModuleSpec(name, _loader(_Ours(_OURS[name])), origin="llama_ffi")
        if name == PACKAGE:
            spec = installed_package()
            if spec is None:
                return ModuleSpec(name, _loader(_LowLevel()), origin="llama_ffi", is_package=True)
            return _changed(spec, instead=_put_off)
        if name == _HELPERS:
            spec = PathFinder.find_spec(name, path)
            return None if spec is None else _changed(spec, after=_redirect)
        if name.startswith(f"{PACKAGE}.") and not path:
            raise ModuleNotFoundError(_missing(name), name=name)
        return None


class _Ours:
    """Gives one of our modules for one of llama-cpp-python's."""

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        self._module = import_module(f"{__package__}.{self._name}")
        self._own = self._module.__spec__
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._own  # it stays what it is under its own name


class _LowLevel:
    """Makes a package of the low level alone, where no llama-cpp-python is installed."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        from ._names import gone

        ours = import_module(f"{PACKAGE}.llama_cpp")
        for name in ours.__all__:
            setattr(module, name, getattr(ours, name))

        def absent(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}")
            if hasattr(ours, name):
                return getattr(ours, name)
            if name.startswith(("llama_", "ggml_", "gguf_", "LLAMA_", "GGML_")):
                raise AttributeError(gone(name))
            raise AttributeError(_missing(f"{PACKAGE}.{name}"))

        module.__dict__["__getattr__"] = absent


def _missing(name: str) -> str:
    return f"{name} is Python code of llama-cpp-python, which isn't installed here: {_INSTALL}"


class _Changed:
    """A loader with something done instead of it or after it; all else is the loader's own."""

    def __init__(self, loader: Any, instead: Any, after: Any) -> None:
        self._loader, self._instead, self._after = loader, instead, after

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        if self._instead is not None:
            self._instead(module, self._loader)
            return
        self._loader.exec_module(module)
        self._after(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _changed(spec: ModuleSpec, instead: Any = None, after: Any = None) -> ModuleSpec:
    spec.loader = _loader(_Changed(spec.loader, instead, after))
    return spec


def _loader(loader: Any) -> Any:
    """Take one of ours for a loader: the import system asks for the two methods, not for the class."""
    return loader


def _redirect(module: ModuleType) -> None:
    from . import _wrapper

    vars(module)["load_shared_library"] = _wrapper.load_shared_library


def _put_off(module: ModuleType, loader: Any) -> None:
    from ._differences import prepare
    from ._lazy import delay

    prepare(Path(str(module.__file__)).parent)
    delay(module, lambda: loader.exec_module(module), lambda: import_module(f"{PACKAGE}.llama_cpp"))
