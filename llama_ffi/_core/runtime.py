"""Start libllama once per process, in the only safe order, and end with it.

1. Find and open the libraries; refuse a ggml that would take our symbols.
2. Prove that they match the bindings.
3. The log callback, before anything can print.
4. The back ends, the CPU included. With *no* back end registered, ``llama_backend_init`` and others search
   the current folder for libraries and run what they find, so one must be there before they are called.
5. ``llama_backend_init``.

At exit: stop running calls, free what is idle, leave the rest, and let C log into the void.
"""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from typing import Any, NamedTuple

from .._lib import bindings as bindings_
from .._lib import load, search, verify
from . import back_ends, binding, handle, logs, record
from .functions import Functions
from .guard import Guard, GuardedFunctions, open_guard

_TINY_MODEL = Path(__file__).resolve().parent.parent / "data" / "tiny.gguf"

_EXIT_WAIT = 2.0
"""Seconds that the exit waits for running calls to notice their cancel flag."""


class LibraryInfo(NamedTuple):
    """The library in use."""

    libraries: search.LibrarySet
    version: str
    """what ``llama_version`` says"""
    commit: str
    """llama.cpp's commit, 40 hexadecimal digits"""
    found_via: str
    """the step of the search that found it"""
    verified_by: str
    """how it was proven to match the bindings"""
    bindings: str
    """"pinned", or the name of the bindings that are used"""
    modules: tuple[back_ends.Outcome, ...] = ()
    """the back-end modules that were found; :func:`llama_ffi.backend_modules` has them in words"""
    package: str = ""
    """the package whose modules the bindings are"""


def start(library: str | os.PathLike[str] | None, bindings: str | os.PathLike[str] | None) -> binding.Binding:
    """Do all the steps; called once, by ``binding.active()``."""
    chosen = bindings_.find(bindings)
    ffi, manifest = chosen.ffi, chosen.manifest
    load.refuse_global_ggml(ffi)
    named = os.environ.get("LLAMA_FFI_LIB")
    if library is None and not named and chosen.library is not None:
        libraries = search.at(Path(chosen.library), f"the bindings {chosen.name!r}")
    else:
        libraries = search.find(library)
    compiled = chosen.guard if chosen.guards == str(libraries.files["llama"]) else None
    guard_file = libraries.files.get("guard", compiled)
    opened = load.Opened(ffi, libraries)
    lib = Functions(ffi, opened, manifest.FUNCTIONS, manifest.UNAVAILABLE, chosen.made_for)
    built = libraries.manifest
    guard = open_guard(guard_file, pinned=chosen.pinned)
    if built is None:
        from .._lib import foreign

        verified_by = foreign.prove_layout(
            ffi,
            lib,
            libraries,
            defaults_known=chosen.pinned,
            struct_return=None if guard is None else guard.struct_return,
        )
    else:
        verified_by = verify.verify(libraries, built, manifest)
    starting = record.recorded(lib, manifest.FUNCTIONS)
    logs.install(ffi, starting, guard, _log_levels(ffi))
    outcomes = back_ends.load_all(ffi, starting, guard, opened)
    libraries = opened.set
    starting.llama_backend_init()
    if built is None:
        foreign.prove_effect(ffi, lib, _TINY_MODEL, libraries)
    version = _version(ffi, starting)
    commit = str((built or {}).get("commit", ""))
    package = str(manifest.__package__)
    info = LibraryInfo(
        libraries, version, commit, libraries.found_via, verified_by, chosen.name, outcomes, package
    )
    atexit.register(_exit, ffi, lib, guard)
    safe: Any = lib if guard is None else GuardedFunctions(ffi, lib, guard)
    safe = record.recorded(safe, manifest.FUNCTIONS)
    other = None if chosen.pinned else _other(ffi, safe, lib)
    return binding.Binding(ffi, other or safe, lib, chosen.enums, manifest, info, guard, other)


def _other(ffi: Any, safe: Any, lib: Functions) -> Any:
    from . import older
    from .other import OtherFunctions

    older.prepare(lib.has)
    return OtherFunctions(ffi, safe, lib)


def _version(ffi: Any, lib: Any) -> str:
    try:
        return str(ffi.string(lib.llama_version()).decode("utf-8", "replace"))
    except AttributeError:  # older than that function
        return "unknown"


def _log_levels(ffi: Any) -> dict[str, int]:
    values = ffi.typeof("enum ggml_log_level").relements  # not the Python enum: making the class costs more
    return {name.removeprefix("GGML_LOG_LEVEL_"): value for name, value in values.items()}


def _exit(ffi: Any, lib: Functions, guard: Guard | None) -> None:
    handle.close_all(_EXIT_WAIT)
    logs.uninstall(ffi, lib, guard)
