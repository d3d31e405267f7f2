"""What is kept of llama.cpp's tree, which paths are safe, and the digests that identify a tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from little_llama import FILES, OTHER_FILES, write_tree

from vendor import tree


@pytest.mark.parametrize(
    "path",
    [
        "CMakeLists.txt",
        "LICENSE",
        "include/llama.h",
        "src/models/llama.cpp",
        "ggml/src/ggml-cuda/x.cu",
        "tools/mtmd/mtmd.h",
        "vendor/nlohmann/json.hpp",
        "models/ggml-vocab-gpt-2.gguf.inp",
        "models/templates/a.jinja",
        "licenses/LICENSE-x",
        "common/chat.cpp",
        "cmake/common.cmake",
    ],
)
def test_kept(path: str) -> None:
    assert tree.selected(path)


@pytest.mark.parametrize(
    "path",
    [
        "docs/build.md",
        "tools/server/x.cpp",
        "tools/ui/LICENSE",
        "models/x.gguf",
        "README.md",
        "examples/include/x",
    ],
)
def test_not_kept(path: str) -> None:
    assert not tree.selected(path)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "src/../../x", "..", "src\\..\\x", "C:/x", "src/a\0b"])
def test_unsafe(path: str) -> None:
    assert not tree.is_safe(path)


def test_every_header_is_kept_and_sorted() -> None:
    assert all(tree.selected(header) for header in tree.HEADERS)
    assert list(tree.HEADERS) == sorted(tree.HEADERS)


def test_digest_sees_every_kept_byte_and_nothing_else(tmp_path: Path) -> None:
    root = write_tree(tmp_path, FILES)
    first = tree.digest(root)
    write_tree(root, OTHER_FILES)
    (root / ".llama_ffi_source.json").write_text("{}")
    assert tree.digest(root) == first
    (root / "src/llama.c").write_text("int changed;\n")
    changed = tree.digest(root)
    assert changed != first
    (root / "src/llama.c").rename(root / "src/renamed.c")
    assert tree.digest(root) not in (first, changed)


def test_headers_digest_ignores_line_ends(tmp_path: Path) -> None:
    root = write_tree(tmp_path, FILES)
    first = tree.headers_digest(root)
    header = root / "include/llama.h"
    header.write_bytes(header.read_bytes().replace(b"\n", b"\r\n"))
    assert tree.headers_digest(root) == first
    header.write_bytes(b"other\n")
    assert tree.headers_digest(root) != first
