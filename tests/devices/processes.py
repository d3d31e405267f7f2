"""Other processes that the tests of devices start: RPC workers, and programs of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
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


Start = Callable[..., RpcWorker]
"""What the fixture `worker` gives: it starts one."""


def run(
    code: str, environment: Mapping[str, str] | None = None, seconds: float = 500
) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "GGML_NO_BACKTRACE": "1", **(environment or {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
