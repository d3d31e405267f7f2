"""`llama-ffi bind`: bindings for given headers, tried on a library, used by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.model

ROOT = Path(__file__).resolve().parents[2]
NATIVE = str(ROOT / "llama_ffi" / "_native")


@pytest.fixture(scope="session")
def source() -> Path:
    command = [sys.executable, str(ROOT / "vendor" / "fetch.py"), "--print-path"]
    return Path(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()[-1]
    )


def run(*arguments: str, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LLAMA_FFI_CACHE": str(cache), **environment}
    command = [sys.executable, "-m", "llama_ffi", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT)


def includes(root: Path) -> list[str]:
    return [f"--include={root / folder}" for folder in ("include", "ggml/include", "tools/mtmd")]


def test_bind_and_use(source: Path, tmp_path: Path) -> None:
    bound = run(
        "bind",
        *includes(source),
        "--lib",
        str(ROOT / "llama_ffi" / "_native"),
        "--name",
        "mine",
        cache=tmp_path,
    )
    assert (bound.returncode, bound.stderr) == (0, "")
    assert "bound     10" in bound.stdout
    assert "LLAMA_FFI_BINDINGS=mine" in bound.stdout
    used = run("info", cache=tmp_path, LLAMA_FFI_BINDINGS="mine")
    assert used.returncode == 0, used.stderr
    assert "0c1e57098" in used.stdout
    written = run(
        "generate", "Once upon a time", "-n", "8", "--temp", "0", cache=tmp_path, LLAMA_FFI_BINDINGS="mine"
    )
    usual = run("generate", "Once upon a time", "-n", "8", "--temp", "0", cache=tmp_path)
    assert written.stdout == usual.stdout
    assert [path.name for path in (tmp_path / "bindings").iterdir()] == ["mine"], "something was left behind"


GUARDED = """
import llama_ffi as lf
from llama_ffi._core import binding
ctx = lf.Model.load(lf.tiny_model_path()).context(n_ctx=256)
ctx.decode(lf.Batch.from_tokens([1, 2, 3]))
lib = binding.active().lib
chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
try:
    lib.llama_sampler_sample(chain, ctx.ptr, -1)
except lf.errors.NativeAbortError as error:
    print(error)
print(len(ctx.logits(-1)))
if hasattr(ctx, "memory_breakdown"):  # asks a function of the guard's own
    try:
        ctx.memory_breakdown()
    except lf.errors.UnsupportedError:
        pass
print("done")
"""


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Our libraries under upstream's names, as somebody else's build has them: no manifest, no guard."""
    from llama_ffi import library_paths

    folder = tmp_path / "foreign"
    folder.mkdir()
    for key, path in library_paths().items():
        if key != "guard":
            (folder / path.name).symlink_to(path)  # what they call each other
            (folder / f"lib{key}.so").symlink_to(path)
    return folder


def test_a_library_without_a_guard_gets_one(source: Path, foreign: Path, tmp_path: Path) -> None:
    bound = run("bind", *includes(source), "--lib", str(foreign), "--name", "mine", cache=tmp_path)
    assert (bound.returncode, bound.stderr) == (0, "")
    assert "verified  tried out" in bound.stdout
    assert "functions, by a library compiled for this one" in bound.stdout
    env = {**os.environ, "LLAMA_FFI_CACHE": str(tmp_path), "LLAMA_FFI_BINDINGS": "mine"}
    used = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, env=env, cwd=ROOT)
    assert used.returncode == 0, used.stderr
    assert used.stdout.startswith("llama_sampler_sample failed an assertion: ")
    assert int(used.stdout.splitlines()[-2]) > 1000, "the context goes on"
    assert used.stdout.splitlines()[-1] == "done"
    env["LLAMA_FFI_LIB"] = str(foreign)
    again = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, env=env, cwd=ROOT)
    assert again.stdout == used.stdout, "the same library, named otherwise"


def test_without_a_compiler_there_is_no_guard(source: Path, foreign: Path, tmp_path: Path) -> None:
    arguments = ["bind", *includes(source), "--lib", str(foreign), "--name", "mine"]
    bound = run(*arguments, cache=tmp_path, CXX="/nowhere/c++")
    assert bound.returncode == 0, bound.stderr
    assert "guarded   no: the C++ compiler /nowhere/c++ can't be run" in bound.stdout
    written = run("generate", "Once", "-n", "4", "--temp", "0", cache=tmp_path, LLAMA_FFI_BINDINGS="mine")
    assert written.returncode == 0, written.stderr
    assert written.stdout.strip()


def test_a_shifted_field_is_refused_and_nothing_is_kept(source: Path, tmp_path: Path) -> None:
    for folder in ("include", "ggml/include", "tools/mtmd"):
        (tmp_path / "fork" / folder).mkdir(parents=True)
        for header in (source / folder).glob("*.h"):
            (tmp_path / "fork" / folder / header.name).write_bytes(header.read_bytes())
    llama_h = tmp_path / "fork" / "include" / "llama.h"
    text = llama_h.read_text()
    llama_h.write_text(
        text.replace("        uint32_t n_batch; ", "        uint32_t extra;\n        uint32_t n_batch; ", 1)
    )
    bound = run("bind", *includes(tmp_path / "fork"), "--lib", NATIVE, "--name", "fork", cache=tmp_path)
    assert bound.returncode == 1
    assert bound.stderr.count("\n") == 1
    assert "n_batch" in bound.stderr
    assert not (tmp_path / "bindings" / "fork").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--include", "nowhere"], "is not a folder"),
        (["--include", "docs"], "no llama.h"),
        (["--include", "docs", "--name", "docs/not-there"], "no llama.h"),
        (["--include", "docs", "--name", "a b"], "is no name"),
        (["--include", "docs", "--lib", "nowhere.so"], "doesn't exist"),
    ],
)
def test_wrong_things(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = run("bind", *arguments, cache=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_a_folder_that_holds_something_else_is_left_alone(source: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("thesis")
    done = run("bind", *includes(source), "--name", str(precious), cache=tmp_path)
    assert done.returncode == 1
    assert "holds no bindings" in done.stderr
    assert (precious / "thesis.txt").read_text() == "thesis"


def test_binding_again_replaces(source: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert run("bind", *includes(source), "--name", "mine", cache=tmp_path).returncode == 0
    assert [path.name for path in (tmp_path / "bindings").iterdir()] == ["mine"]
