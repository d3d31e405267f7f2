"""Which back-end modules there are: in the library's own folder, in installed plugins, in the cache.

A back end is a shared library that ggml opens while the program runs. Ours come

- with the library, in its folder (the CPU's variants, RPC),
- as distributions of their own (``llama-ffi-vulkan``), announced by the entry-point group
  ``llama_ffi.backends``, whose package folder holds a module and its ``manifest.json``,
- from ``llama-ffi build``, which puts such a folder into the user's cache.

Next to a library that the user names only the modules of its own folder are taken. Whatever is found here is
only looked at; :mod:`llama_ffi._core.back_ends` opens it, by its absolute path.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from . import elf
from .search import LibrarySet

VARIABLE = "LLAMA_FFI_BACKEND"
CPU = "cpu"
ORDER = (
    *("blas", "zendnn", "cann", "cuda", "hip", "metal", "rpc", "sycl", "vulkan", "virtgpu", "opencl"),
    *("hexagon", "musa", "openvino"),
)
"""llama.cpp's order: of a GPU that two back ends drive the first one's device is used. The CPU is last."""


class Module(NamedTuple):
    """One back-end module that may be opened."""

    name: str
    """the back end: "vulkan", "cuda", "cpu" """
    path: Path
    found_via: str
    problem: str = ""
    """why it is refused without being opened; "" if nothing speaks against it"""
    cure: str = ""
    sha256: str = ""
    """of the file, as its manifest has it"""
    label: str = ""
    """what a plugin calls itself, if that isn't the back end: "cuda13" """
    look_in: tuple[str, ...] = ()
    """folders with libraries that it needs, where it was built on this machine"""

    def is_called(self, name: str) -> bool:
        """Tell whether somebody who asks for ``name`` means this one."""
        return name in (self.name, self.label)


def wanted() -> list[str] | None:
    """Return the back ends that the environment names, None if it names none."""
    value = os.environ.get(VARIABLE, "")
    names = [name.strip().lower() for name in value.split(",") if name.strip()]
    return list(dict.fromkeys(names)) or None


def find(libraries: LibrarySet, plugins: bool = True) -> list[Module]:
    """Return the modules for ``libraries`` in the order in which they are opened, the CPU's variants last.

    Arguments:
        plugins: whether to look for plugins too; those of another library than the bundled one never count.
    """
    found = list(_own(libraries))
    if plugins and libraries.found_via == "bundled":
        from . import plugins as plugins_

        have = {module.name for module in found}
        found += [module for module in plugins_.find(libraries) if module.name not in have]
    return sorted(found, key=_place)  # a stable sort: the cache's stay before the distributions'


def _place(module: Module) -> tuple[int, str]:
    if module.name == CPU:
        return len(ORDER) + 1, module.path.name
    return (ORDER.index(module.name) if module.name in ORDER else len(ORDER)), module.name


def _own(libraries: LibrarySet) -> Iterator[Module]:
    """Yield the modules in the library's folder: those of its manifest, else by their names."""
    modules = libraries.modules
    if libraries.manifest is None:
        modules = _by_name(libraries.folder)
    for key, path in modules.items():
        problem = elf.problem(path) or ""
        cure = "install or build it again" if problem else ""
        look_in = _folders(libraries.manifest or {})
        yield Module(back_end_of(key), path, libraries.found_via, problem, cure, look_in=look_in)


def _by_name(folder: Path) -> dict[str, Path]:
    """Return what may be modules beside a library without a manifest; of equal ones the shortest name."""
    import re

    pattern = re.compile(r"(?:lib)?(ggml-([a-z0-9_]+)(?:-[\w.]+)?)\.(?:so|dll|dylib)")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda each: (len(each.name), each.name)):
        found = pattern.fullmatch(path.name.partition(".so.")[0] + (".so" if ".so." in path.name else ""))
        if found and (found[2] in ORDER or found[2] == CPU):
            files.setdefault(found[1], path)
    return files


def back_end_of(key: str) -> str:
    """Return the back end of a module's key or file: "ggml-cpu-haswell" → "cpu", "vulkan" → "vulkan"."""
    return key.removeprefix("lib").removeprefix("ggml-").partition("-")[0].partition(".")[0].lower()


def tag_of(libraries: LibrarySet) -> str:
    """Return what the names of our libraries end with, the start of the commit; "" for upstream's."""
    return _tag(libraries.files["ggml-base"].name)


def _tag(name: str) -> str:
    tag = name.rpartition(".")[0].rpartition("-")[2]  # no regular expression: each start would compile it
    return tag if len(tag) == 9 and tag.isalnum() else ""


def other_commit(needed: list[str], tag: str) -> str | None:
    """Return the commit of the ggml-base that a module needs if it isn't ``tag``."""
    for name in needed:
        if name.startswith("libggml-base-"):
            other = name.removeprefix("libggml-base-").partition(".")[0]
            if other != tag:
                return other
    return None


def plugin(
    folder: Path, label: str, found_via: str, libraries: LibrarySet, manifest: Mapping[str, Any]
) -> Module:
    """Return the module of a plugin's folder; one that doesn't belong to ``libraries`` has a problem.

    Its commit must be the library's three times: in its manifest, its file name, and in what it needs.
    """
    name, file = str(manifest.get("backend", "")).lower(), str(manifest.get("module", ""))
    path = folder / file
    again = f'`pip install --force-reinstall "llama-ffi[{label}]"`, or `llama-ffi build {label}`'
    if not name or os.path.basename(file) != file or not file:
        problem = "its manifest names no back end, or no file of its folder"
        return Module(name or label, folder, found_via, problem, again, label=label)
    if not path.is_file():
        return Module(name, path, found_via, f"{file} is missing", again, label=label)
    ours, theirs = str((libraries.manifest or {}).get("commit", "")), str(manifest.get("commit", ""))
    tag = tag_of(libraries)
    named = _tag(file)
    inside = other_commit(elf.needed(path), tag)
    if theirs != ours:
        problem = f"it was built for llama.cpp {theirs[:12]}, the library is {ours[:12]}"
    elif named != tag:
        problem = f"its file is named for llama.cpp {named or '?'}, the library is {tag}"
    elif inside is not None:
        problem = f"it was linked against llama.cpp {inside}, the library is {tag}"
    else:
        problem = _damage(path, manifest) or ""
        sha256 = str(manifest.get("sha256", ""))
        cure = again if problem else ""
        return Module(name, path, found_via, problem, cure, sha256, label, _folders(manifest))
    cure = (
        f'`pip install --upgrade "llama-ffi[{label}]"` brings both to one version; '
        f"`llama-ffi build {label}` makes one for this library"
    )
    return Module(name, path, found_via, problem, cure, label=label)


def elsewhere(name: str, look_in: tuple[str, ...]) -> Path | None:
    """Return the library ``name`` in one of ``look_in``, or where pip puts others' libraries, or None."""
    import sys

    folders = [Path(each) for each in look_in]
    for site in sys.path:
        if os.path.isabs(site) and os.path.realpath(site) != os.getcwd():
            folders += sorted(Path(site, "nvidia").glob("*/lib"))
    folders.append(Path(sys.prefix, "lib"))
    paths = (folder / name for folder in folders if folder.is_absolute())
    return next((path for path in paths if path.is_file()), None)


def _folders(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    found = manifest.get("look_in")
    return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list) else ()


def _damage(path: Path, manifest: Mapping[str, Any]) -> str | None:
    size, expected = path.stat().st_size, manifest.get("size")
    if isinstance(expected, int) and size != expected:
        return f"the file is cut off or was changed: it has {size:,} bytes of {expected:,}"
    return elf.problem(path)
