"""The generated modules cost next to nothing at start-up, because every program pays for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUDGET_MS = 12.0
MODULES = ("_abi._ffi", "_abi.manifest", "_abi.enums")


def test_importing_the_bindings_stays_within_the_budget(tmp_path: Path) -> None:
    # A package object without code, so that only the generated modules are measured; processor time,
    # so that a busy machine counts for nothing.
    code = (
        "import sys, time, types; package = types.ModuleType('p'); package.__path__ = ['llama_ffi']; "
        "sys.modules['p'] = package; import collections.abc; began = time.process_time(); "
        f"import {', '.join(f'p.{m}' for m in MODULES)}; print((time.process_time() - began) * 1000)"
    )
    best = min(_milliseconds(code, tmp_path) for _ in range(8))
    assert best <= BUDGET_MS, f"{best:.1f} ms"


def _milliseconds(code: str, cache: Path) -> float:
    command = [sys.executable, "-X", f"pycache_prefix={cache}", "-c", code]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)
