"""`llama-ffi build`, as a user types it: what is built, where it goes, what is said when it can't be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from little_llama import FILES, write_tree

from build_backends import publish
from build_backends.errors import BuildError
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


def test_nothing_of_the_users_is_replaced(tmp_path) -> None:
    letters = write_tree(tmp_path / "home", {"letter.txt": "mine", ".profile": "mine"})
    web = write_tree(tmp_path / "web", {"manifest.json": "{}", "index.html": "mine"})
    libraries = write_tree(tmp_path / "lib", {"libmine.so": "mine"})  # no manifest: whose they are is unknown
    (tmp_path / "link").symlink_to(letters / "letter.txt")
    (tmp_path / "dangling").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    for out, words in (
        (letters / "letter.txt", "is no folder"),
        (letters, "holds something else than a build (.profile, letter.txt)"),
        (tmp_path, "holds something else than a build (dangling, home, lib, …)"),
        (web, "(index.html)"),
        (libraries, "(libmine.so)"),
        (tmp_path / "link", "is no folder"),
        (tmp_path / "dangling", "is no folder"),
    ):
        done = run("rpc", "--out", str(out), cache=tmp_path / "cache")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"llama-ffi: error: {out} ")
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1
        with pytest.raises(BuildError):
            publish.publish(web, out)
    assert sorted(tmp_path.rglob("*")) == before  # not even a cache
    assert (letters / "letter.txt").read_text() == "mine"


@pytest.mark.native
def test_an_empty_folder_and_an_earlier_build_are_taken(tmp_path) -> None:
    little = write_tree(tmp_path / "little", FILES)
    (tmp_path / "here").mkdir()
    for count in ("1", "2"):
        done = run(
            "rpc", "--source", str(little), "-D", f"COUNT={count}", "--out", "here", cache=tmp_path / "cache"
        )
        assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'here'}\n"), done.stderr
        flags = json.loads((tmp_path / "here" / "manifest.json").read_text())["flags"]
        assert f"-DCOUNT={count}" in flags


@pytest.mark.native
def test_other_kinds_of_build_and_a_misspelled_definition(tmp_path) -> None:
    little = write_tree(tmp_path / "little", FILES)
    arguments = ["rpc", "--source", str(little), "--out", "here", "-D", "CMAKE_BUILD_TYPE=Debug"]
    done = run(*arguments, "-D", "GGML_PRC=ON", "-D", "GGML_RPC=ON", cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    flags = json.loads((tmp_path / "here" / "manifest.json").read_text())["flags"]
    assert "-DCMAKE_BUILD_TYPE=Debug" in flags
    # the little tree reads neither
    assert "nothing reads the definition of GGML_PRC, GGML_RPC: is it misspelled?" in done.stderr
    assert "LLAMA_OPENSSL" not in done.stderr  # ours


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
