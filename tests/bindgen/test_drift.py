"""The generated files in the repository are what the generator writes, to the byte."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bindgen.analyze import Bindings
from bindgen.files import drift, render, write
from bindgen.pipeline import ROOT, load
from bindgen.seal import is_intact, seal


def test_generated_files_have_not_drifted(bindings: Bindings) -> None:
    lines = list(drift(render(bindings), ROOT))
    if lines:
        pytest.fail("run `python -m bindgen generate`:\n" + "".join(lines[:200]), pytrace=False)


def test_regeneration_is_byte_identical_in_another_process(
    bindings: Bindings, source: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    command = [sys.executable, "-m", "bindgen", "generate", "--source", str(source), "--root", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    for path, text in render(bindings).items():
        assert (tmp_path / path).read_bytes() == text.encode(), path


def test_generation_takes_at_most_three_seconds(source: Path) -> None:
    before = os.times()
    render(load(source))
    after = os.times()
    processor = sum(after[:4]) - sum(before[:4])  # this process and the preprocessor's
    assert processor <= 3.0


def test_drift_is_shown_as_a_diff(bindings: Bindings, tmp_path: Path) -> None:
    rendered = render(bindings)
    assert write(rendered, tmp_path) == list(rendered)
    assert write(rendered, tmp_path) == []
    target = tmp_path / "llama_ffi/_abi/manifest.py"
    target.write_text(target.read_text().replace('"llama_decode": "llama"', '"llama_decode": "ggml"'))
    lines = "".join(drift(rendered, tmp_path))
    assert "llama_ffi/_abi/manifest.py: the seal is broken" in lines
    assert '-    "llama_decode": "ggml",' in lines
    assert '+    "llama_decode": "llama",' in lines


def test_a_missing_file_is_drift(bindings: Bindings, tmp_path: Path) -> None:
    rendered = render(bindings)
    write(rendered, tmp_path)
    (tmp_path / "build_backends/native/probe.c").unlink()
    assert "build_backends/native/probe.c (generated)" in "".join(drift(rendered, tmp_path))


@pytest.mark.parametrize("suffix", [".py", ".pyi", ".md", ".c", ".cpp"])
def test_a_seal_breaks_when_the_text_changes(suffix: str) -> None:
    sealed = seal("one\ntwo\n", suffix)
    assert is_intact(sealed)
    assert not is_intact(sealed.replace("two", "three"))
    assert not is_intact(sealed + "\n")
    assert not is_intact("one\ntwo\n")


def test_no_text_of_upstreams_comments_is_stored(source: Path) -> None:
    sentence = "return nullptr on failure"
    assert sentence in (source / "tools/mtmd/mtmd.h").read_text(encoding="utf-8")
    for path in (ROOT / "llama_ffi/_abi").glob("*"):
        assert path.is_dir() or sentence not in path.read_text(encoding="utf-8")
