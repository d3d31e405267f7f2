"""The search: each step says how it found what it found; a named place never falls back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llama_ffi._lib import search
from llama_ffi.errors import LibraryLoadError, LibraryNotFoundError

FILES = {"ggml-base": "libggml-base-x.so", "ggml": "libggml-x.so", "llama": "libllama-x.so"}


def build(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES.values():
        (folder / name).touch()
    manifest: dict[str, Any] = {"format": 1, "commit": "c" * 40, "libraries": FILES, **changes}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LLAMA_FFI_LIB", raising=False)
    monkeypatch.delenv("LLAMA_CPP_LIB_PATH", raising=False)
    monkeypatch.setattr(search, "BUNDLED", tmp_path / "bundled")


def test_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    build(search.BUNDLED)
    assert search.find().found_via == "bundled"
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(build(tmp_path / "peer")))
    assert search.find().found_via == "LLAMA_CPP_LIB_PATH"
    monkeypatch.setenv("LLAMA_FFI_LIB", str(build(tmp_path / "mine")))
    found = search.find()
    assert (found.found_via, found.folder) == ("LLAMA_FFI_LIB", tmp_path / "mine")
    assert search.find(build(tmp_path / "explicit")).found_via == "use(library=…)"


def test_a_file_or_its_folder(tmp_path: Path) -> None:
    folder = build(tmp_path / "mine")
    by_file, by_folder = search.find(folder / "libllama-x.so"), search.find(folder)
    assert by_file == by_folder
    assert by_file.manifest is not None and by_file.files["llama"] == folder / "libllama-x.so"


def test_another_file_than_the_manifests_has_no_manifest(tmp_path: Path) -> None:
    folder = build(tmp_path / "mine")
    for name in ("libllama.so", "libggml.so", "libggml-base.so"):
        (folder / name).touch()
    found = search.find(folder / "libllama.so")
    assert found.manifest is None and found.files["llama"].name == "libllama.so"


def test_a_plain_build_is_found_by_names(tmp_path: Path) -> None:
    for name in (
        "libllama.so",
        "libllama.so.0",
        "libggml.so",
        "libggml-base.so.0",
        "libggml-cpu.so",
        "unrelated.so",
    ):
        (tmp_path / name).touch()
    found = search.find(tmp_path)
    assert {key: path.name for key, path in found.files.items()} == {
        "llama": "libllama.so",
        "ggml": "libggml.so",
        "ggml-base": "libggml-base.so.0",
        "ggml-cpu": "libggml-cpu.so",
    }


def test_nothing_found_lists_every_place() -> None:
    with pytest.raises(LibraryNotFoundError) as caught:
        search.find()
    for place in ("LLAMA_FFI_LIB", "LLAMA_CPP_LIB_PATH", str(search.BUNDLED), "pip install"):
        assert place in str(caught.value)


def test_a_named_place_never_falls_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    build(search.BUNDLED)
    monkeypatch.setenv("LLAMA_FFI_LIB", str(tmp_path / "nowhere"))
    with pytest.raises(LibraryNotFoundError, match=r"LLAMA_FFI_LIB names .*nowhere, which doesn't exist"):
        search.find()
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("LLAMA_FFI_LIB", str(tmp_path / "empty"))
    with pytest.raises(LibraryLoadError, match=r"there is no libggml-base.* in .*empty; name a libllama"):
        search.find()


def test_the_current_folder_is_never_searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(build(tmp_path / "here"))
    with pytest.raises(LibraryNotFoundError):
        search.find()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "has format 2, this llama_ffi reads 1"),
        ({"libraries": {"llama": "../evil.so"}}, "not a plain file name"),
        ({"libraries": None}, "damaged"),
    ],
)
def test_bad_manifests(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(LibraryLoadError, match=words):
        search.find(build(tmp_path / "mine", **changes))


def test_a_manifest_that_is_no_json(tmp_path: Path) -> None:
    folder = build(tmp_path / "mine")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(LibraryLoadError, match="damaged"):
        search.find(folder)
