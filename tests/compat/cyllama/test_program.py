"""The program of cyllama's README, and its high level."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import llama_ffi as lf
import llama_ffi.compat.cyllama as cy

pytestmark = pytest.mark.model

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = Path(__file__).with_name("program.py")


def run(prompt: str, n_predict: int, n_ctx: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            str(PROGRAM),
            str(lf.tiny_model_path()),
            prompt,
            str(n_predict),
            str(n_ctx),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


def greedy(prompt: str, count: int) -> str:
    return "".join(lf.generate(prompt, max_tokens=count, temp=0.0))


def test_the_program_runs_and_says_what_the_safe_layer_says() -> None:
    done = run("Once upon a time", 32, 2048)
    assert (done.returncode, done.stderr) == (0, "")
    with lf.Model.load(lf.tiny_model_path(), vocab_only=True) as model:
        prompt = len(model.vocab.tokenize("Once upon a time"))
    first, echo, speed, text = done.stdout.splitlines()
    assert first == "n_predict = 32, n_ctx = 2048, n_kv_req = 32"
    assert echo.endswith("Once upon a time")
    assert speed.startswith(f"decoded {32 - prompt} tokens in ")  # the prompt counts
    assert text == greedy("Once upon a time", 32 - prompt)


def test_it_stops_early_if_the_context_is_too_small() -> None:
    done = run("Once upon a time", 5000, 2048)
    assert done.returncode == 1
    assert done.stderr == "n_kv_req > n_ctx\n"
    assert done.stdout == "n_predict = 5000, n_ctx = 2048, n_kv_req = 5000\n"


def test_ask() -> None:
    path = lf.tiny_model_path()
    with lf.Model.load(path, vocab_only=True) as model:
        prompt = len(model.vocab.tokenize("Once upon a time"))
    answer = cy.ask("Once upon a time", path, n_predict=24, n_ctx=256, n_threads=1)
    assert answer == greedy("Once upon a time", 24 - prompt).strip() != ""
    with cy.Llama(path, n_predict=24, n_ctx=256, n_threads=1) as llama:
        assert llama.ask("Once upon a time") == answer
        assert llama.ask("Once upon a time") == answer
        longer = llama.ask("Once upon a time", n_predict=40)
        assert longer.startswith(answer) and len(longer) > len(answer)
    with pytest.raises(lf.errors.ClosedError):
        llama.ask("Once")


def test_ask_refuses_what_cannot_be() -> None:
    path = lf.tiny_model_path()
    with pytest.raises(FileNotFoundError):
        cy.ask("Once", "/nowhere/model.gguf")
    with pytest.raises(ValueError, match="n_predict counts both"):
        cy.ask("Once upon a time", path, n_predict=3)
    with pytest.raises(ValueError, match="the context has 256 tokens"):
        cy.ask("Once upon a time", path, n_predict=1000, n_ctx=256)


def test_importing_opens_no_library() -> None:
    code = (
        "import sys, llama_ffi.compat.cyllama as cy; cy.CommonParams(); cy.LlamaModelParams()\n"
        "from llama_ffi._core import binding\n"
        "print(binding._active, 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.stdout.split() == ["None", "False"], done.stderr
