"""Which library: a list of steps, each of which says how it found what it found.

A place that the user names (``LLAMA_FFI_LIB``, ``use(library=…)``) is used or fails; it never falls back
to another one. Nothing is ever taken from the current folder.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import LibraryLoadError, LibraryNotFoundError

BUNDLED = Path(__file__).resolve().parent.parent / "_native"
ORDER = ("ggml-base", "ggml-cpu", "ggml-rpc", "ggml", "llama", "mtmd")
"""Our libraries, dependencies first."""

REQUIRED = ("ggml-base", "ggml", "llama")
_WANTED = "name a libllama that has ggml's libraries beside it, or the folder of them all"
_SUFFIXES = {"darwin": (".dylib",), "win32": (".dll",)}.get(sys.platform, (".so",))


class LibrarySet(NamedTuple):
    """The files of one libllama build (a NamedTuple: importing dataclasses costs more than loading does)."""

    folder: Path
    files: Mapping[str, Path]
    found_via: str
    manifest: Mapping[str, Any] | None
    modules: Mapping[str, Path]


def find(explicit: str | os.PathLike[str] | None = None) -> LibrarySet:
    """Return the library to use: ``explicit``, the environment's, or the bundled one.

    Raises:
        LibraryNotFoundError: there is none; the message lists every place tried.
        LibraryLoadError: a named place holds no libllama, or a manifest that can't be read.
    """
    if explicit is not None:
        return at(Path(explicit), "use(library=…)")
    for variable in ("LLAMA_FFI_LIB", "LLAMA_CPP_LIB_PATH"):
        value = os.environ.get(variable)
        if value:
            return at(Path(value), variable)
    if (BUNDLED / "manifest.json").is_file():
        return at(BUNDLED, "bundled")
    raise LibraryNotFoundError(
        "no libllama found. Tried: LLAMA_FFI_LIB (not set); LLAMA_CPP_LIB_PATH (not set); "
        f"the package's own folder {BUNDLED} (no manifest.json there). "
        "Install a wheel that carries the library, run `pip install .` in a checkout to build it, "
        "or set LLAMA_FFI_LIB to a libllama or to its folder"
    )


def at(place: Path, found_via: str) -> LibrarySet:
    """Return the libraries at ``place``, a libllama file or a folder that has one."""
    place = Path(os.path.abspath(place))
    if _is_file(place):
        folder, chosen = place.parent, place
    elif os.path.isdir(place):
        folder, chosen = place, None
    else:
        raise LibraryNotFoundError(f"{found_via} names {place}, which doesn't exist; {_WANTED}")
    manifest = _manifest(folder)
    if manifest is not None and (chosen is None or chosen.name == manifest["libraries"].get("llama")):
        files = {key: folder / name for key, name in manifest["libraries"].items()}
        modules = {key: folder / name for key, name in manifest.get("modules", {}).items()}
    else:
        manifest, modules = None, {}
        files = _by_name(folder)
        if chosen is not None:
            files["llama"] = chosen
    missing = [key for key in REQUIRED if not _is_file(files.get(key))]
    if missing:
        names = [files[key].name if key in files else f"lib{key}{_SUFFIXES[0]}" for key in missing]
        raise LibraryLoadError(
            f"{found_via} names {place}, but there is no {' and no '.join(names)} in {folder}; {_WANTED}"
        )
    return LibrarySet(folder, files, found_via, manifest, modules)


def _is_file(path: Path | None) -> bool:
    return path is not None and os.path.isfile(path)


def _manifest(folder: Path) -> dict[str, Any] | None:
    path = folder / "manifest.json"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LibraryLoadError(f"the build manifest {path} can't be read: {error}") from error
    try:
        manifest = json.loads(text)
        names = manifest["libraries"]
        if not all(isinstance(name, str) and os.path.basename(name) == name for name in names.values()):
            raise ValueError("a library's name is not a plain file name")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LibraryLoadError(
            f"the build manifest {path} is damaged ({error}); build or install again"
        ) from error
    if manifest.get("format") != 1:
        raise LibraryLoadError(
            f"the build manifest {path} has format {manifest.get('format')!r}, this llama_ffi reads 1; "
            f"upgrade llama-ffi or rebuild the library"
        )
    return dict(manifest)


def _by_name(folder: Path) -> dict[str, Path]:
    """Find the libraries of a build that isn't ours by their customary names; the shortest name wins."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda each: (len(each.name), each.name)):
        stem = path.name.removeprefix("lib")
        for suffix in _SUFFIXES:
            if suffix in stem:
                key = stem.split(suffix, 1)[0]
                if key in ORDER:
                    files.setdefault(key, path)
    return files
