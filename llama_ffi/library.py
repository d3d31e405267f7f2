"""Which library is in use: its files, how it was found, how it was proven to match the bindings."""

from __future__ import annotations

from pathlib import Path

from ._core import binding
from ._core.runtime import LibraryInfo


def library_info() -> LibraryInfo:
    """Return which library is in use, how it was found, and how it was proven to match the bindings.

    Threads: any; the first call loads the library.
    """
    return binding.active().info


def library_paths() -> dict[str, Path]:
    """Return the files of the library in use: "llama", "ggml", "ggml-base", "ggml-cpu", "mtmd" → path.

    Threads: any; the first call loads the library.
    """
    return dict(binding.active().info.libraries.files)
