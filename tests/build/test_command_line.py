"""`llama-ffi build`, as a user types it: what is built, where it goes, what is said when it can't be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from little_llama import FILES, write_tree

from vendor import tree

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LLAMA_FFI_CACHE": str(cache), **environment}
    command = [sys.executable, "-m", "llama_ffi", "build", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cache.parent)


@pytest.mark.native
def test_a_module_for_this_installation(tmp_path) -> None:
    little = write_tree(tmp_path / "little", FILES)
    # a package of the same name in the current folder is not taken for the builder
    write_tree(tmp_path, {"build_backends/__init__.py": "raise SystemExit('wrong one')\n"})
    done = run("rpc", "--source", str(little), "-D", "A=1", cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "cache" / "backends" / f"rpc-x{tree.digest(little)[:8]}"
    assert done.stdout == f"{folder}\n"
    assert json.loads((folder / "manifest.json").read_text())["backend"] == "rpc"
    assert "llama_ffi: compiling: 100 %" in done.stderr
    again = run("rpc", "--source", str(little), "-D", "A=1", "--out", "here", cache=tmp_path / "cache")
    assert (again.returncode, again.stdout) == (0, f"{tmp_path / 'here'}\n")
    assert "compiling" not in again.stderr


def test_help_names_every_back_end(tmp_path) -> None:
    done = run("--help", cache=tmp_path / "cache")
    assert done.returncode == 0
    words = " ".join(done.stdout.split())
    assert "vulkan: for GPUs of any maker, with Vulkan 1.2 drivers" in words
    assert "90a-real;120" in words
    assert "none:" not in words


def test_mistakes_are_told_without_a_traceback(tmp_path) -> None:
    cache = tmp_path / "cache"
    done = run("vulcan", cache=cache)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "llama-ffi: error: there is no back end 'vulcan' to build: use one of cpu, "
    )
    assert len(done.stderr.splitlines()) == 1
    done = run(cache=cache)
    assert done.returncode == 2
    assert done.stderr.startswith("llama-ffi build: error: the following arguments are required: BACKEND")
    done = run("sycl", cache=cache, PATH=str(tmp_path), ONEAPI_ROOT="", LLAMA_FFI_BUILD_UNCHECKED="")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not cache.exists()


@pytest.mark.native
def test_a_failing_build_shows_the_cause_and_the_log(tmp_path) -> None:
    little = write_tree(tmp_path / "little", {**FILES, "ggml/cpu.c": "int cpu(void) { return nothing; }\n"})
    done = run("rpc", "--source", str(little), cache=tmp_path / "cache")
    assert done.returncode == 1
    assert "llama-ffi: error: Compiling llama.cpp failed" in done.stderr
    assert "'nothing' undeclared" in done.stderr.replace("‘", "'").replace("’", "'")
    assert "The full log: " in done.stderr
