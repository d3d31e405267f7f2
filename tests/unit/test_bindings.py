"""Choosing bindings: the pinned ones, or a set by name or path; what isn't there is said plainly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llama_ffi._lib import bindings
from llama_ffi.errors import ArgumentTypeError, BindingsNotFoundError
from llama_ffi.paths import bindings_folder


def test_pinned_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLAMA_FFI_BINDINGS", raising=False)
    found = bindings.find(None)
    assert (found.name, found.library) == ("pinned", None)
    assert "llama_decode" in found.manifest.FUNCTIONS


def test_a_name_is_looked_up_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLAMA_FFI_CACHE", str(tmp_path))
    assert bindings.folder_of("fork-1.2") == tmp_path / "bindings" / "fork-1.2"
    assert bindings.folder_of(str(tmp_path / "x")) == tmp_path / "x"
    with pytest.raises(BindingsNotFoundError, match=r"there are no bindings 'fork-1\.2'.*llama-ffi bind"):
        bindings.find("fork-1.2")
    assert bindings_folder("fork-1.2") == tmp_path / "bindings" / "fork-1.2"
    with pytest.raises(ArgumentTypeError, match="name must be a str"):
        bindings_folder(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["..", "a b", "-x", "", "a\nb"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(BindingsNotFoundError, match="is no name"):
        bindings.folder_of(name)


def test_damaged_ones_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "_ffi.py").write_text("this is no Python")
    with pytest.raises(BindingsNotFoundError, match="damaged"):
        bindings.find(folder)


def test_a_guard_of_another_version_is_left_alone(tmp_path: Path) -> None:
    from llama_ffi import __version__

    pinned = Path(bindings.__file__).parents[1] / "_abi"
    for number, (made_by, used) in enumerate([(__version__, True), ("0.0.0", False)]):
        folder = tmp_path / f"set{number}"
        folder.mkdir()
        for name in ("_ffi.py", "manifest.py", "enums.py"):
            (folder / name).write_bytes((pinned / name).read_bytes())
        remembered = {"library": "x", "guard": "guard.so", "guards": "libllama.so", "made_by": made_by}
        (folder / "binding.json").write_text(json.dumps(remembered))
        found = bindings.find(folder)
        assert found.guard == (folder / "guard.so" if used else None)
        assert (found.library, found.guards, found.pinned) == ("x", "libllama.so", False)
    (tmp_path / "set0" / "manifest.py").write_text("COMMIT = ''\nFUNCTIONS = {}\n")
    sys.modules.pop("llama_ffi_bindings_set0.manifest")
    with pytest.raises(BindingsNotFoundError, match=r"damaged.*UNAVAILABLE"):
        bindings.find(tmp_path / "set0")


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLAMA_FFI_CACHE", str(tmp_path))
    assert bindings.cache_folder() == tmp_path
    monkeypatch.delenv("LLAMA_FFI_CACHE")
    if sys.platform.startswith("linux"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert bindings.cache_folder() == tmp_path / "xdg" / "llama_ffi"
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        assert bindings.cache_folder() == Path.home() / ".cache" / "llama_ffi"


TOO_LATE = """
import llama_ffi as lf
lf.raw.lib
try:
    lf.use(library="elsewhere")
except lf.errors.AlreadyLoadedError as error:
    print(error)
"""


@pytest.mark.native
def test_use_after_the_first_use_is_refused() -> None:
    done = subprocess.run([sys.executable, "-c", TOO_LATE], capture_output=True, text=True, env=os.environ)
    assert done.stdout.startswith("use() came too late"), done.stderr
