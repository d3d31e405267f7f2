"""The compiled fake library, and processes that live on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakelib import build
from tests.fakelib.fake import model_file

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def fake_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the fake library, compiled for this test session."""
    return build.build(tmp_path_factory.mktemp("fake"))


@pytest.fixture(scope="session")
def fake_model(fake_library: Path) -> Path:
    """A file that the fake library takes for a model."""
    return model_file(fake_library)


def environment(library: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process that uses the fake library."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"LLAMA_FFI_LIB": str(library), "PYTHONPATH": path} | more


@pytest.fixture
def live(fake_library: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run random lives in a child process; a crash of it fails the test with the steps that led there."""

    def run(*arguments: str, timeout: float = 500) -> dict[str, Any]:
        trace = tmp_path / "trace"
        command = [sys.executable, "-m", "tests.fakelib.run", "--library", str(fake_library)]
        command += ["--trace", str(trace), *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=environment(fake_library), capture_output=True, text=True, timeout=timeout
        )
        steps = trace.read_text(encoding="utf-8") if trace.exists() else ""
        assert done.returncode in (0, 1), (
            f"the process ended with {done.returncode}\n{done.stderr}\nin this life:\n{steps}"
        )
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        result["life"], result["stderr"] = steps, done.stderr
        return result

    return run
