"""Back ends that came as distributions of their own, and those that ``llama-ffi build`` put into the cache.

Entry points are read from the files beside the packages, without :mod:`importlib.metadata`: that alone
costs more than loading the library. Nothing of a plugin is imported, and nothing in the current folder
counts.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import UnsupportedError
from .bindings import cache_folder
from .modules import Module, plugin, tag_of
from .search import LibrarySet

KIND = "plugin"
GROUP = "llama_ffi.backends"
_SECTION = f"[{GROUP}]".encode()
_ENTRY_POINTS = "entry_points.txt"
_MOST = 1 << 20


class EntryPoint(NamedTuple):
    """What a distribution announces."""

    name: str
    package: str
    distribution: str
    """its name and version, as the folder of its metadata says"""
    site: str
    """the folder in which it is installed"""


def find(libraries: LibrarySet) -> list[Module]:
    """Return the plugins' modules; those from the cache first, since somebody built them for this machine."""
    modules = [*_built_here(libraries)]
    for entry in entry_points():
        folder = _folder(entry)
        if folder is None:
            what = f"its package {entry.package} can't be found"
            cure = f"`pip install --force-reinstall {entry.distribution.split()[0]}`"
            modules.append(Module(entry.name, Path(entry.site), entry.distribution, what, cure))
        else:
            modules.append(_look_at(folder, entry.name, entry.distribution, libraries))
    return modules


def entry_points() -> list[EntryPoint]:
    """Return the announced back ends along ``sys.path``; of a project that is there twice the first."""
    found: dict[str, list[EntryPoint]] = {}
    here = _current_folder()
    for site in sys.path:
        if not site or not os.path.isabs(site) or os.path.realpath(site) == here:
            continue
        try:
            names = os.listdir(site)
        except OSError:
            continue
        for name in names:
            if not name.endswith((".dist-info", ".egg-info")):
                continue
            project = name.rpartition(".")[0].partition("-")[0].replace(".", "_").lower()
            if project not in found:
                entries = [*_read(site, name)]
                if entries:
                    found[project] = entries
    return [entry for name in sorted(found) for entry in found[name]]


def _current_folder() -> str:
    """Return the current folder, "" if it has been removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _read(site: str, name: str) -> Iterator[EntryPoint]:
    try:
        descriptor = os.open(os.path.join(site, name, _ENTRY_POINTS), os.O_RDONLY)
    except OSError:
        return
    try:
        data = os.read(descriptor, _MOST)
    finally:
        os.close(descriptor)
    if _SECTION not in data:
        return
    section = ""
    for line in data.decode("utf-8", "replace").splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line
        elif section == f"[{GROUP}]" and "=" in line and line[0] not in "#;":
            key, _, value = line.partition("=")
            package = value.partition(":")[0].partition("[")[0].strip()
            project, _, version = name.rpartition(".")[0].partition("-")
            distribution = f"{project.replace('_', '-')} {version.partition('-')[0]}"
            yield EntryPoint(key.strip(), package, distribution, site)


def _folder(entry: EntryPoint) -> Path | None:
    """Return a plugin's folder: beside its metadata, or (installed editable) where Python would find it."""
    if not all(part.isidentifier() for part in entry.package.split(".")):
        return None
    folder = Path(entry.site, *entry.package.split("."))
    if folder.is_dir():
        return folder
    from importlib.util import find_spec

    try:
        spec = find_spec(entry.package.split(".")[0])
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place, *entry.package.split(".")[1:])
        if folder.is_dir() and os.path.realpath(folder.parent) != _current_folder():
            return folder
    return None


def _built_here(libraries: LibrarySet) -> Iterator[Module]:
    """Yield what ``llama-ffi build`` put into the cache for this library; for others it is no news."""
    tag = tag_of(libraries)
    try:
        place = cache_folder() / "backends"
        names = sorted(os.listdir(place)) if tag else []
    except (OSError, UnsupportedError):
        return
    for name in names:
        # a whole build beside the plugins, with its libraries, is for LLAMA_FFI_LIB
        if name.endswith(f"-{tag}") and not _is_core(place / name):
            yield _look_at(place / name, name.removesuffix(f"-{tag}"), "llama-ffi build", libraries)


def _is_core(folder: Path) -> bool:
    try:
        return "libraries" in json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _look_at(folder: Path, name: str, found_via: str, libraries: LibrarySet) -> Module:
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if not isinstance(manifest, dict):
            raise ValueError("it is no object")
        if manifest.get("format") != 1:
            raise ValueError(f"it has format {manifest.get('format')!r}, this llama_ffi reads 1")
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Module(
            name, folder, found_via, f"its manifest.json can't be read: {words}", "install it again"
        )
    if manifest.get("kind") != KIND:
        problem = f"its manifest is of kind {manifest.get('kind')!r}, not {KIND!r}"
        return Module(name, folder, found_via, problem, "install it again", label=name)
    return plugin(folder, name, found_via, libraries, manifest)
