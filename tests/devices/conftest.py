"""Other devices than this process's CPU: RPC workers as processes of their own, and what the CPU answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import llama_ffi as lf

PROMPT = "Once upon a time"
TOKENS = 48


class RpcWorker:
    """`llama-ffi rpc-worker` on a free port of the loopback."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.log = log
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "llama_ffi", "rpc-worker", "--port", "0", "-t", "1", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                # a test run in the background ignores Ctrl-C, and so would its children
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline()
        self.endpoint = self.ready.split()[-1] if self.ready else ""

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[..., RpcWorker]]:
    """Start a worker; it ends with the test."""
    started: list[RpcWorker] = []

    def start(*arguments: str) -> RpcWorker:
        one = RpcWorker(tmp_path / f"worker-{len(started)}.log", *arguments)
        started.append(one)
        assert one.endpoint, one.log.read_text()
        return one

    yield start
    for one in started:
        one.close()


@pytest.fixture(scope="session")
def greedy() -> Callable[..., str]:
    """Return the greedy continuation of the prompt by a model, or by the CPU."""

    def run(model: Any = None, **options: Any) -> str:
        if isinstance(model, lf.IsolatedModel):
            return "".join(model.generate(PROMPT, max_tokens=TOKENS, temp=0, n_threads=1, **options))
        pieces = lf.generate(PROMPT, model=model, max_tokens=TOKENS, temp=0, n_threads=1, **options)
        return "".join(pieces)

    return run


@pytest.fixture(scope="session")
def by_cpu(greedy: Callable[..., str]) -> str:
    with lf.Model.load(lf.tiny_model_path(), devices=[]) as model:
        text = greedy(model)
    assert len(text) > 50
    return text


def run_python(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1", **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment, **options
    )
