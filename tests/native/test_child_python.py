"""A second Python that we start runs nothing from the current folder, and says only what it may."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import llama_ffi as lf
from llama_ffi import diagnosis
from llama_ffi._core import child_python, model_process
from llama_ffi.errors import LlamaError, UnsupportedError

pytestmark = pytest.mark.native

ROOT = Path(__file__).resolve().parents[2]
STARTS = {
    "IsolatedModel": "lf.IsolatedModel.load(lf.tiny_model_path()).close()",
    "isolate=True": "lf.Model.load(lf.tiny_model_path(), isolate=True).close()",
    "diagnose": "assert not [each for each in lf.diagnose() if each.status == 'bad']",
}


@pytest.mark.parametrize("how", STARTS)
def test_nothing_in_the_current_folder_is_run(how: str, tmp_path: Path) -> None:
    hostile, script = tmp_path / "downloads", tmp_path / "script.py"
    hostile.mkdir()
    for name in ("json", "signal", "llama_ffi"):
        (hostile / f"{name}.py").write_text("open('HOSTILE', 'w').close()\nraise SystemExit(3)\n")
    script.write_text(f"import llama_ffi as lf\n{STARTS[how]}\n")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=hostile,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not (hostile / "HOSTILE").exists()
    assert done.returncode == 0, done.stderr


def test_the_child_finds_what_its_parent_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same package from the same place, though another may be installed; modules of added folders."""
    (tmp_path / "only_here.py").write_text("value = 'found'\n")
    monkeypatch.setattr(sys, "path", ["", *sys.path, str(tmp_path), Path("no text")])
    code = (
        "import json, only_here, llama_ffi as lf; print(json.dumps([only_here.value, lf.__file__, sys.path]))"
    )
    done = subprocess.run(child_python.command(code, "this"), capture_output=True, text=True, check=True)
    value, file, path = json.loads(done.stdout)
    assert (value, file) == ("found", lf.__file__)
    assert "" not in path and str(tmp_path) in path


def test_the_package_is_found_where_only_the_current_folder_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", *(place for place in sys.path if place not in ("", str(ROOT)))])
    code = "import llama_ffi; print(llama_ffi.__file__)"
    done = subprocess.run(child_python.command(code, "this"), capture_output=True, text=True, cwd="/")
    assert done.stdout.strip() == lf.__file__, done.stderr


def test_where_no_second_python_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(UnsupportedError, match="frozen program"):
        lf.Model.load(lf.tiny_model_path(), isolate=True)
    with pytest.raises(UnsupportedError, match="frozen program"):
        lf.IsolatedModel.load(lf.tiny_model_path())
    assert [each for each in lf.diagnose() if each.topic == "loading" and "frozen" in each.text]
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(UnsupportedError, match="empty"):
        lf.IsolatedModel.load(lf.tiny_model_path())


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os._exit(0)", "ends the process (status 0)"),
        ("import os; os.abort()", "SIGABRT"),
        ("import time; time.sleep(60)", "wasn't done after 0.5 seconds"),
    ],
)
def test_doctor_where_loading_never_comes_back(code: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = child_python.command
    monkeypatch.setattr(diagnosis, "_SECONDS", 0.5 if "sleep" in code else 60.0)
    monkeypatch.setattr(child_python, "command", lambda _code, purpose: real(code, purpose))
    last = lf.diagnose()[-1]
    assert (last.topic, last.status) == ("loading", "bad")
    assert said in last.text and last.cure


@pytest.mark.parametrize(
    "answer",
    [
        {"$": "tiny_model_path", "v": {}},
        {"$": "quantize", "v": {"source": "a", "target": "b"}},
        {"$": "Score", "v": {"x": 1}},
        {"$": "Score"},
        {"$": "bytes", "v": 3},
        {"$": "bytes", "v": "é"},
        {"$": "array", "type": "O", "shape": [1], "v": "AAAAAAAAAAA="},
        {"$": "array", "type": "f4", "shape": [2, 2], "v": "AAAA"},
        {"$": "tuple", "v": 1},
    ],
    ids=str,
)
def test_nonsense_from_a_child_is_an_error(answer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    with lf.IsolatedModel.load(lf.tiny_model_path()) as model:
        monkeypatch.setattr(model_process.ModelProcess, "_wait", lambda *_args: {"id": 1, "ok": answer})
        with pytest.raises(LlamaError, match=r"nonsense|which is no result"):
            model.score("Once upon a time")


def test_what_an_isolated_chat_takes() -> None:
    said = [{"role": "user", "content": "Hi"}]
    with lf.IsolatedModel.load(lf.tiny_model_path()) as model:
        reply = model.chat(said, max_tokens=4, temp=0, limits=lf.chat.Limits(seconds=60))
        assert reply.content == model.chat(said, max_tokens=4, temp=0).content
