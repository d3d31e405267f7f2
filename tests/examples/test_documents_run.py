"""The blocks of a document are one program, and it runs."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.model

ROOT = Path(__file__).resolve().parents[2]


def blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))], ids=lambda path: path.name
)
def test_every_block_is_python(path: Path) -> None:
    for block in blocks(path):
        ast.parse(block)


def test_the_session_of_the_states_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    exec(blocks(ROOT / "docs/states.md")[0], scope)
    assert (tmp_path / "x.session").stat().st_size > 1000
    assert scope["session"].closed
    scope["other"].close()


@pytest.mark.parametrize("name", ["adapters.md", "cyllama.md", "devices.md", "gguf.md", "models.md"])
def test_the_blocks_run(name: str, tmp_path: Path) -> None:
    program = "\n".join(blocks(ROOT / "docs" / name))
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and len(done.stdout.splitlines()) > 3
    assert not any(tmp_path.iterdir())
