"""Which files of llama.cpp's tree are kept, and how a tree is recognised by its content.

Both sources (a source distribution from the package index, an archive of the commit) hold far more than a
build needs: documentation, a web UI, converters. `selected` is the one statement of what is kept. `digest`
turns the kept files into a single hash, so that a tree is verified by what it holds and not by the archive
it came in: the same commit fetched from elsewhere must give the same digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

# Whatever cmake needs to configure libllama with libmtmd and any back end, the headers that bindings are made
# of, the tokenizer goldens and chat templates that tests read, and every licence.
KEPT_FILES = frozenset({"CMakeLists.txt", "LICENSE"})
KEPT_FOLDERS = (
    "cmake/",
    "common/",
    "ggml/",
    "include/",
    "licenses/",
    "models/templates/",
    "src/",
    "tools/mtmd/",
    "vendor/",
)
KEPT_PREFIXES = ("models/ggml-vocab-",)

# The headers that bindings are generated from. `bindgen` computes the same hash over the same list, on its
# own: the two must agree, and neither may import the other.
HEADERS = (
    "ggml/include/ggml-alloc.h",
    "ggml/include/ggml-backend.h",
    "ggml/include/ggml-cpu.h",
    "ggml/include/ggml-opt.h",
    "ggml/include/ggml-rpc.h",
    "ggml/include/ggml.h",
    "ggml/include/gguf.h",
    "include/llama.h",
    "tools/mtmd/mtmd-helper.h",
    "tools/mtmd/mtmd.h",
)


def selected(path: str) -> bool:
    """Tell whether a file of llama.cpp's tree is kept; `path` is relative to its root, with `/`."""
    return path in KEPT_FILES or path.startswith(KEPT_FOLDERS) or path.startswith(KEPT_PREFIXES)


def is_safe(path: str) -> bool:
    """Tell whether a path from an archive stays below the folder it is unpacked into, on any system."""
    parts = PurePosixPath(path).parts
    return (
        bool(parts)
        and not path.startswith("/")
        and ".." not in parts
        and "\\" not in path
        and ":" not in path
        and "\0" not in path
    )


def walk(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield (relative path, file) for every kept regular file below `root`, sorted by relative path."""
    candidates = [root / name for name in KEPT_FILES]
    for folder in KEPT_FOLDERS:
        candidates.extend((root / folder).rglob("*"))
    for prefix in KEPT_PREFIXES:
        candidates.extend(root.glob(prefix + "*"))
    yield from sorted(
        (file.relative_to(root).as_posix(), file)
        for file in candidates
        if file.is_file() and not file.is_symlink()
    )


def combine(hashes: Iterable[tuple[str, str]]) -> str:
    """Return one SHA-256 (hex) for (relative path, SHA-256 hex) pairs, in any order."""
    whole = hashlib.sha256()
    for relative, content in sorted(hashes):
        whole.update(relative.encode() + b"\0" + content.encode() + b"\n")
    return whole.hexdigest()


def digest(root: Path) -> str:
    """Return the digest of the kept files below `root`."""
    return combine((relative, hashlib.sha256(file.read_bytes()).hexdigest()) for relative, file in walk(root))


def headers_digest(root: Path) -> str:
    """Return the hash of the ten bound headers, the same for checkouts with either kind of line ending."""

    def content(relative: str) -> str:
        return hashlib.sha256((root / relative).read_bytes().replace(b"\r\n", b"\n")).hexdigest()

    return combine((relative, content(relative)) for relative in HEADERS)
