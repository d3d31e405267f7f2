"""Running the command line as its users do: as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
COMMAND = (sys.executable, "-m", "llama_ffi")


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without what would change the command's behaviour."""
    dropped = ("LLAMA_FFI_TRACEBACK", "PYTHONIOENCODING", "PYTHONUNBUFFERED")
    return {k: v for k, v in os.environ.items() if k not in dropped} | dict(extra or {})


@pytest.fixture
def llama() -> Run:
    """Run `llama-ffi ARGUMENTS` to its end and return the finished process, with its output as text."""

    def run(*arguments: str, env: Mapping[str, str] | None = None, **kwargs: Any) -> Any:
        kwargs.setdefault("timeout", 120)
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        if "stdout" not in kwargs:
            kwargs["stdout"] = subprocess.PIPE
        return subprocess.run(
            [*COMMAND, *arguments],
            env=clean_environment(env),
            stderr=subprocess.PIPE,
            encoding="utf-8",
            **kwargs,
        )

    return run


@pytest.fixture
def fails(llama: Run) -> Callable[..., str]:
    """Run a command that must fail: status ≠ 0, nothing on stdout, one line on stderr, which is returned."""

    def run(*arguments: str, status: int = 1, **kwargs: Any) -> str:
        done = llama(*arguments, **kwargs)
        lines = done.stderr.splitlines()
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("llama-ffi"), done.stderr
        assert "internal error" not in done.stderr
        assert not done.stdout
        return str(lines[0])

    return run
