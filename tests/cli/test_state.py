"""`llama-ffi state`: what a file says, and a store looked after from a shell."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import llama_ffi as lf

pytestmark = pytest.mark.model

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("state") / "x.session"
    with lf.Model.load(lf.tiny_model_path()) as model, model.session(n_ctx=256, n_threads=1) as session:
        session.feed("Once upon a time")
        session.save(path)
    return path


def test_a_file(llama: Run, file: Path) -> None:
    done = llama("state", "show", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert "positions 0 to 3, 4 cells, 4 tokens stored" in done.stdout
    assert llama("state", "verify", str(file)).stdout == f"{file}: whole\n"


def test_a_store(llama: Run, file: Path, tmp_path: Path) -> None:
    store = ["-s", str(tmp_path / "store")]
    mine = [*store, "-o", "me"]

    def run(*arguments: str) -> str:
        done = llama("state", *arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
        return str(done.stdout)

    run("import", *mine, str(file), "a name")
    run("copy", *mine, "a name", "b", "--to-owner", "you")
    assert run("list", *mine).startswith("a name ")
    assert [line.split()[-1] for line in run("list", *store, "--all").splitlines()] == ["me", "you"]
    assert "4 tokens stored" in run("show", *mine, "a name")
    assert run("verify", *mine) == "a name: whole\n"
    run("export", *store, "-o", "you", "b", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == file.read_bytes()
    assert run("gc", *store) == "0 files removed\n"
    run("rm", *mine, "a name")
    assert run("list", *mine) == ""
    state = lf.StateStore(tmp_path / "store", owner="you").info("b")
    (tmp_path / "store" / "states" / state.file).write_bytes(b"damaged")
    done = llama("state", "verify", *store, "-o", "you")
    assert done.returncode == 1
    assert done.stdout.startswith("b: the file of state 'b' was changed")


def test_mistakes(fails: Callable[..., str], file: Path, tmp_path: Path) -> None:
    store = ["-s", str(tmp_path / "store")]
    assert "there is no store at" in fails("state", "list", *store)
    assert not (tmp_path / "store").exists(), "looking doesn't make one"
    (tmp_path / "other").mkdir()
    for action in (["list"], ["gc"], ["rm", "x"], ["verify"]):
        assert "there is no store at" in fails("state", action[0], "-s", str(tmp_path / "other"), *action[1:])
    assert not list((tmp_path / "other").iterdir()), "nor in a folder of something else"
    lf.StateStore(tmp_path / "store")
    assert "there is no state 'x'" in fails("state", "rm", *store, "x")
    assert "there is no state 'x'" in fails("state", "show", *store, "x")
    assert "not a state file" in fails("state", "show", str(lf.tiny_model_path()))
    assert "there is no state at" in fails("state", "verify", "nowhere")
    assert "not a state file" in fails("state", "import", *store, str(lf.tiny_model_path()), "x")
    assert "ACTION" in fails("state", status=2)
    assert "name a file, or a store" in fails("state", "verify")
