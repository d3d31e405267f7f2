"""Where things are: what ships with the package, and what it keeps for the user."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

_DATA = Path(__file__).resolve().parent / "data"


def tiny_model_path() -> Path:
    """Return the path of the small trained model that ships with the package.

    It tells short stories and answers short questions, so that a first run, a test or an example needs no
    download: architecture llama, f16, a byte-fallback vocabulary with chat tokens.

    Returns:
        the path of a GGUF file.

    Threads: any.
    """
    return _DATA / "tiny.gguf"


def bindings_folder(name: str) -> Path:
    """Return the folder of the bindings that ``llama-ffi bind`` makes under ``name``.

    Returns:
        a folder in the user's cache (``LLAMA_FFI_CACHE``), whether it exists or not.

    Raises:
        BindingsNotFoundError: ``name`` is no name.
        ArgumentTypeError: ``name`` isn't text.

    Threads: any.
    """
    from ._core import binding, check

    check.instance("name", name, str)
    return binding.folder(name)


def libraries_at(place: str | PathLike[str]) -> dict[str, Path]:
    """Return the files of the llama.cpp at ``place``, without opening any.

    Arguments:
        place: a libllama file, or the folder that holds one.

    Returns:
        "llama", "ggml", "ggml-base", "ggml-cpu" … → path.

    Raises:
        LibraryNotFoundError, LibraryLoadError: there is no such place; it lacks a library.

    Threads: any.
    """
    from ._core import binding

    return binding.libraries_at(place)
