"""Verification against the build manifest: equal digests pass at once, any difference is named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llama_ffi._lib.search import LibrarySet
from llama_ffi._lib.verify import compare, verify
from llama_ffi.errors import AbiMismatchError

LAYOUT: dict[str, Any] = {
    "struct": {"batch": {"size": 16, "fields": {"n": [0, 4], "p": [8, 8]}}},
    "constant": {"MAGIC": 7},
}


def text(layout: Any) -> bytes:
    return json.dumps(layout, sort_keys=True, separators=(",", ":")).encode()


def digest(layout: Any) -> str:
    return hashlib.sha256(text(layout)).hexdigest()


def bindings() -> SimpleNamespace:
    sha = dict.fromkeys(("lp64", "llp64", "ilp32"), digest(LAYOUT))
    return SimpleNamespace(
        COMMIT="a" * 40, HEADERS_SHA256="h1", LAYOUT_SHA256=sha, probe=lambda model: LAYOUT
    )


def library(folder: Path, found: Any, headers: str = "h1", *, write: bool = True) -> LibrarySet:
    if write:
        (folder / "probe.json").write_bytes(text(found))
    manifest = {"commit": "b" * 40, "headers_sha256": headers, "probe_sha256": digest(found)}
    return LibrarySet(folder, {"llama": folder / "libllama.so"}, "bundled", manifest, {})


def check(libraries: LibrarySet) -> str:
    assert libraries.manifest is not None
    return verify(libraries, libraries.manifest, bindings())


def test_equal_digests_need_no_probe_file(tmp_path: Path) -> None:
    assert "equal" in check(library(tmp_path, LAYOUT, write=False))


def test_other_headers_with_the_same_layout_pass(tmp_path: Path) -> None:
    found = {"struct": {**LAYOUT["struct"], "new": {"size": 4}}, "constant": {"MAGIC": 7}}
    assert "other headers" in check(library(tmp_path, found, "h2"))


def test_a_moved_field_is_named(tmp_path: Path) -> None:
    found = {
        "struct": {"batch": {"size": 16, "fields": {"n": [4, 4], "p": [8, 8]}}},
        "constant": {"MAGIC": 7},
    }
    with pytest.raises(AbiMismatchError) as caught:
        check(library(tmp_path, found, "h2"))
    message = str(caught.value)
    assert "struct batch fields n is [4, 4] in the library, [0, 4] in the bindings" in message
    assert "bbbbbbbbbbbb" in message and "aaaaaaaaaaaa" in message and "llama-ffi bind" in message
    assert isinstance(caught.value, ImportError)


def test_many_differences_are_counted() -> None:
    expected = {"constant": {f"C{i}": i for i in range(10)}}
    found = {"constant": {f"C{i}": i + 1 for i in range(9)}}
    differences = compare(expected, found)
    assert len(differences) == 10
    assert differences[-1] == "constant C9 is missing in the library's headers"


def test_a_changed_probe_file_is_refused(tmp_path: Path) -> None:
    libraries = library(tmp_path, LAYOUT, "h2")
    (tmp_path / "probe.json").write_bytes(text(LAYOUT).replace(b"7", b"8"))
    with pytest.raises(AbiMismatchError, match="SHA-256"):
        check(libraries)


def test_a_missing_probe_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AbiMismatchError, match=r"probe\.json can't be used"):
        check(library(tmp_path, LAYOUT, "h2", write=False))
