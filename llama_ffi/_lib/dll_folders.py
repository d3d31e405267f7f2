"""Let Windows find the libraries that a back end's module needs: CUDA's, OpenBLAS', ROCm's, oneAPI's.

Elsewhere the module's run path leads to NVIDIA's packages, and the system's loader knows the rest. On Windows
a library has no run path, and the loader looks in the module's own folder, in the system's, and in those that
this process has named; not along PATH. So the usual places are named before a module is opened.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

TOOLKITS: Mapping[str, tuple[str, ...]] = {
    "cuda": ("CUDA_PATH",),
    "hip": ("HIP_PATH", "ROCM_PATH"),
    "blas": ("OPENBLAS_HOME",),
    "sycl": ("CMPLR_ROOT", "MKLROOT"),
}
"""Back end → the variables in which its toolkit's installer leaves its folder."""

_BIN = ("bin", "bin/x64", "bin/x86_64")
"""Where a toolkit or a package of NVIDIA's has its libraries: before CUDA 13, and since."""

_named: dict[Path, object] = {}
"""Folders that this process has named, and what would take each back: CUDA opens more libraries later."""


def folders(name: str, paths: Sequence[str], prefix: str, environment: Mapping[str, str]) -> list[Path]:
    """Return the folders in which the libraries may be that the back end ``name`` needs; all of them exist.

    Arguments:
        name: the back end's module, without "ggml-".
        paths: as ``sys.path``: where packages are installed.
        prefix: as ``sys.prefix``: conda's libraries and those that pip puts beside them are below it.
        environment: as ``os.environ``.
    """
    if name not in TOOLKITS:
        return []
    roots = [Path(environment[key]) for key in TOOLKITS[name] if environment.get(key)]
    if name == "cuda":
        packages = (Path(path, "nvidia") for path in paths if path)  # an empty one is the current folder
        roots += [root for each in packages if each.is_dir() for root in sorted(each.iterdir())]
    found = [root / place for root in roots for place in _BIN]
    return [folder for folder in (*found, Path(prefix, "Library", "bin")) if folder.is_dir()]


def name_for(name: str) -> None:
    """Tell Windows the folders in which the libraries of the back end ``name`` may be."""
    if sys.platform == "win32":
        for folder in folders(name, sys.path, sys.prefix, os.environ):
            place = folder.resolve()
            if place not in _named:
                # A folder that Windows refuses can't help; the loader will say that something is missing.
                with contextlib.suppress(OSError):
                    _named[place] = os.add_dll_directory(str(place))
