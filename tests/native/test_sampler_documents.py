"""docs/samplers.md: its programs run, and its table names every sampler."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import llama_ffi as lf
from tests.native.samplers import NAMES

pytestmark = [pytest.mark.native, pytest.mark.model]

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "samplers.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_runs(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout) > 10


def test_the_table_is_complete_and_true() -> None:
    rows = re.findall(r"^\| (`\w+\(.*?)\|.*\| ?(yes|) ?\|$", TEXT, re.MULTILINE)
    named = {name: there == "yes" for cell, there in rows for name in re.findall(r"`(\w+)\(", cell)}
    assert set(named) == {*NAMES, "json_schema", "regex", "lark", "custom"}
    from llama_ffi.sampler.offload import _ON_BACKENDS

    assert {name.replace("_", "-") for name, there in named.items() if there} == set(_ON_BACKENDS)
    assert all(hasattr(lf.SamplerChain, f"add_{name}") for name in named)
