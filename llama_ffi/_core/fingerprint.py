"""Which model a state belongs to.

libllama takes a state that another model of the same shape has written and goes on from it, wrongly. So
states carry a fingerprint of the model's files: all of a small file, and of a large one its size and samples
from its beginning to its end, a few milliseconds' worth. Two models that were trained apart differ in every
sample; what is told apart only by luck is one file with a handful of weights patched.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence

_WHOLE = 32 << 20
_SAMPLE = 64 << 10
_SAMPLES = 256


def of(paths: Iterable[str], more: Mapping[str, object]) -> str:
    """Return the fingerprint of a model's files, 64 hex digits.

    Arguments:
        paths: the files, in their order.
        more: what else decides what the model computes, by name.

    Raises:
        OSError: a file is no longer there.
    """
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(f"file {size}\n".encode())
            for offset, length in _places(size):
                file.seek(offset)
                digest.update(file.read(length) or b"")
    for name, value in sorted(more.items()):
        digest.update(f"{name}={value!r}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()


def with_splits(paths: Sequence[str], count: str) -> list[str]:
    """Return all files of a model that was loaded by the name of the first."""
    match = re.fullmatch(r"(.*)-00001-of-(\d{5})\.gguf", paths[0]) if len(paths) == 1 else None
    if match is None or not count.isdecimal() or int(count) != int(match[2]):
        return list(paths)
    return [f"{match[1]}-{index:05}-of-{match[2]}.gguf" for index in range(1, int(count) + 1)]


def _places(size: int) -> Iterable[tuple[int, int]]:
    if size <= _WHOLE:
        return [(0, size)]
    step = (size - _SAMPLE) // (_SAMPLES - 1)
    return [(index * step, _SAMPLE) for index in range(_SAMPLES)]
