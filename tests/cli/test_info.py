"""`llama-ffi info`: the library that really runs, and a model's own words about itself."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.model

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def fields(text: str) -> dict[str, str]:
    """Return the lines of the output as name → value, whatever the table they stand in."""
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return {pair[0]: pair[1] if len(pair) > 1 else "" for pair in pairs}


def test_the_library(llama: Run) -> None:
    import llama_ffi

    done = llama("info")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    shown = fields(done.stdout)
    info = llama_ffi.library_info()
    assert shown["llama-ffi"] == llama_ffi.__version__
    assert info.commit in shown["llama.cpp"]
    assert f"found via     {info.found_via}" in done.stdout
    assert f"verified by   {info.verified_by}" in done.stdout
    for name, path in llama_ffi.library_paths().items():
        assert shown[name] in (str(path), path.name)
    assert f"back ends     {', '.join(llama_ffi.available_backends())}" in done.stdout
    for device in llama_ffi.devices():
        assert device.description in shown[device.name]


def test_how_it_was_found(llama: Run) -> None:
    import llama_ffi

    folder = llama_ffi.library_paths()["llama"].parent
    done = llama("info", env={"LLAMA_FFI_LIB": str(folder)})
    assert "found via     LLAMA_FFI_LIB" in done.stdout
    assert str(folder) in done.stdout


def test_a_model(llama: Run, tiny_model: Path) -> None:
    import llama_ffi

    done = llama("info", str(tiny_model))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    shown = fields(done.stdout)
    with llama_ffi.Model.load(tiny_model) as model:
        assert shown["parameters"] == f"{model.n_params:,}"
        assert shown["vocabulary"] == f"{model.vocab.n_tokens:,} tokens"
        assert shown["architecture"] == model.arch
        for key in model.metadata:
            assert key in shown
        assert shown["llama.embedding_length"] == str(model.n_embd)
        assert shown["llama.context_length"] == str(model.n_ctx_train)


def test_metadata_of_a_stranger_stays_on_its_line(llama: Run, tiny_model: Path, tmp_path: Path) -> None:
    """Escape sequences and line ends in a model's metadata don't reach the terminal."""
    data = tiny_model.read_bytes()
    name = b"llama_ffi tiny"
    hostile = b"\x1b[31m\nevil\x07 xy"
    assert data.count(name) == 1
    assert len(hostile) == len(name)
    path = tmp_path / "hostile.gguf"
    path.write_bytes(data.replace(name, hostile))
    done = llama("info", str(path))
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout
    assert "\\x1b[31m\\nevil\\x07 x" in done.stdout
