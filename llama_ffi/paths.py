"""Files that ship with the package."""

from __future__ import annotations

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
