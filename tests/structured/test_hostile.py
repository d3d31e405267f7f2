"""Whatever a schema, an expression or a grammar wants: it is used, or refused with an error of ours."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.structured.hostile import CASES

pytestmark = pytest.mark.native

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 500
"""Seconds for all of them; they take ten or so."""

USED = {
    "endless",
    "itself or nothing",
    "1000 references",
    "25000 references",
    "30 times twice",
    "70000 values",
    "one long value",
    "a billion items",
    "100000 words",
    "60000 rules",
    "left recursion",
}
"""What large or strange things work."""


def test_each_is_used_or_refused() -> None:
    command = [sys.executable, "-m", "tests.structured.hostile"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    lines = done.stdout.splitlines()
    outcomes = dict(line.split("\t", 1) for line in lines)
    last = lines[-1] if lines else "nothing"
    assert done.returncode == 0, f"ended by {done.returncode} in {last}\n{done.stderr[-3000:]}"
    assert set(outcomes) == set(CASES)
    refusals = {"GrammarError", "ArgumentTypeError", "InvalidArgumentError"}
    for name, outcome in outcomes.items():
        _, _, said = outcome.partition("\t")
        refused = re.match(r"refused (\w+): ", said)
        assert said == "fine" or (refused and refused[1] in refusals), (name, said)
    assert {name for name in USED if not outcomes[name].endswith("fine")} == set()
    assert done.stderr == ""
