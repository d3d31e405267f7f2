"""The closed list of generated files: render them in memory, write them, or show the drift."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from .analyze import Bindings
from .emit.ctypes_module import emit_ctypes
from .emit.enums import emit_enums, emit_enums_stub
from .emit.ffi_module import emit_ffi_module
from .emit.guard import emit_guard_calls, emit_guarded_names
from .emit.manifest import emit_layout, emit_manifest
from .emit.probe import emit_probe
from .emit.stubs import emit_stubs
from .guard import guarded_functions, load_guard
from .pipeline import ROOT
from .report import emit_report
from .seal import is_intact, seal

EMITTERS = {
    "llama_ffi/_abi/_ffi.py": emit_ffi_module,
    "llama_ffi/_abi/enums.py": emit_enums,
    "llama_ffi/_abi/enums.pyi": emit_enums_stub,
    "llama_ffi/_abi/c_api.pyi": emit_stubs,
    "llama_ffi/_abi/manifest.py": emit_manifest,
    "llama_ffi/_abi/layout.py": emit_layout,
    "llama_ffi/_abi/REPORT.md": emit_report,
    "llama_ffi/compat/_ctypes_api.py": emit_ctypes,
    "build_backends/native/probe.c": emit_probe,
}


def render(bindings: Bindings) -> dict[str, str]:
    """Return the text of every generated file, sealed, by its path in the repository."""
    texts = {path: emit(bindings) for path, emit in EMITTERS.items()}
    guarded = guarded_functions(bindings, ROOT / "llama_ffi")
    homes = {function.name: bindings.library_of(function) for function in guarded}
    texts["build_backends/native/guard/calls.cpp"] = emit_guard_calls(guarded, homes)
    texts["llama_ffi/_abi/_guard.py"] = emit_ffi_module(load_guard(ROOT)) + emit_guarded_names(guarded, homes)
    return {path: seal(text, Path(path).suffix) for path, text in texts.items()}


def write(rendered: dict[str, str], root: Path) -> list[str]:
    """Write what differs from what is there, and return the paths written.

    Each file is replaced as a whole, so that an interrupted run leaves no half file.
    """
    written = []
    for path, text in rendered.items():
        target = root / path
        if target.exists() and target.read_bytes() == text.encode():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".partial")
        partial.write_bytes(text.encode())
        os.replace(partial, target)
        written.append(path)
    return written


def drift(rendered: dict[str, str], root: Path) -> Iterator[str]:
    """Yield the lines of a unified diff from the files in `root` to what would be generated now.

    A file whose seal is broken is named first: somebody edited it.
    """
    for path, text in rendered.items():
        target = root / path
        current = target.read_bytes().decode() if target.exists() else ""
        if current == text:
            continue
        if current and not is_intact(current):
            yield f"{path}: the seal is broken, this file was edited by hand\n"
        yield from difflib.unified_diff(
            current.splitlines(keepends=True),
            text.splitlines(keepends=True),
            f"{path} (now)",
            f"{path} (generated)",
        )
