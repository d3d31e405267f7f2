"""The call fuzzer, in small; and the calls that killed once, again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.calls.surface import NOT_CALLED, calls
from tests.fuzz.calls.world import CALLS, RECIPES

pytestmark = [pytest.mark.model, pytest.mark.skipif(os.name == "nt", reason="limits of POSIX processes")]

KEPT = sorted((Path(__file__).parent / "regressions").glob("*.json"))


def campaign(*options: str) -> tuple[int, dict[str, Any], str]:
    command = [sys.executable, "-m", "tests.fuzz.calls", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3300)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout[: done.stdout.index("\n}") + 2]), done.stdout


def test_some_hundred_calls() -> None:
    status, result, text = campaign("--count", "700", "--seed", "6")
    assert status == 0, text
    assert result["calls"] >= 700 and result["deaths"] == result["hangs"] == 0, text
    assert result["reached C"] >= 0.4 * result["calls"], text
    assert len(result["ended"]) >= 10, text  # not all returned, not all refused


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_calls() -> None:
    status, result, text = campaign("--count", "100000", "--jobs", "2", "--seconds", "3000")
    assert status == 0, text
    assert result["calls"] >= 100_000 and result["deaths"] == result["hangs"] == 0, text


def test_a_check_that_is_off_is_found() -> None:
    """What proves that the fuzzer could find something: without this check it does."""
    status, result, text = campaign(
        "--count", "400", "--seed", "6", "--only", "Context,Batch", "--without", "batches"
    )
    assert status == 1 and (result["deaths"] or result["caught by the guard"]), text


def test_what_killed_once() -> None:
    """Each file is what ``--keep`` wrote when a check was off, or not yet there."""
    assert KEPT
    for path in KEPT:
        command = [sys.executable, "-m", "tests.fuzz.calls", "--again", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, f"{path.name}: {done.stdout}{done.stderr}"


def test_the_public_interface_is_what_is_called() -> None:
    names = calls()
    for name in (
        "Model.load",
        "Context.decode",
        "Memory.seq_rm",
        "SamplerChain.sample",
        "gguf.read",
        "generate",
    ):
        assert name in names
    assert len(names) > 450
    assert not set(NOT_CALLED) & set(names)
    assert all(recipe in CALLS for recipes in RECIPES.values() for recipe in recipes)
