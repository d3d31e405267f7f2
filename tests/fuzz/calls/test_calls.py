"""The call fuzzer, in small; what it knows; and the calls that killed once, again."""

from __future__ import annotations

import enum
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import llama_ffi as lf
from tests.fuzz.calls import arguments, off, setups, shares
from tests.fuzz.calls.surface import MODULES, NOT_CALLED, NOT_LOOKED_INTO, ONCE, calls
from tests.fuzz.calls.world import CALLS, RECIPES
from tests.lifetime import killers

pytestmark = [pytest.mark.model, pytest.mark.skipif(os.name == "nt", reason="limits of POSIX processes")]

KEPT = sorted((Path(__file__).parent / "regressions").glob("*.json"))


def run(module: str, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", module, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3300)
    return done.returncode, done.stdout + done.stderr


def campaign(*options: str) -> tuple[int, dict[str, Any], str]:
    status, text = run("tests.fuzz.calls", *options)
    assert text.startswith("{"), text
    return status, json.loads(text[: text.index("\n}") + 2]), text


def test_some_hundred_calls() -> None:
    status, result, text = campaign("--count", "700", "--seed", "6")
    assert status == 0, text
    assert result["calls"] >= 700 and result["deaths"] == result["hangs"] == 0, text
    assert result["of them reached C"] >= 0.4 * result["made up"], text
    assert result["calls by two threads at once"] >= 20, text
    assert len(result["ended"]) >= 10, text  # not all returned, not all refused


def test_every_call_can_succeed() -> None:
    """Made as a program makes it, each call reaches C, or returns if it says that it doesn't call C."""
    status, result, text = campaign("--each", "20", "--seed", "2")
    assert status == 0, text
    assert result["never called"] == result["without a success"] == [], text


def test_odd_values() -> None:
    """Some of what ``--odd`` does: arrays, surrogates, endless integers in each place, one at a time."""
    only = "Batch.from_tokens,Batch.set_embeddings,StateFile.save"
    status, result, text = campaign("--odd", "0.3", "--only", only)
    assert status == 0, text
    assert result["calls"] >= 200 and result["ended"]["ArgumentTypeError"] >= 50, text


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_odd_values() -> None:
    status, result, text = campaign("--odd", "--jobs", "2")
    assert status == 0, text
    assert result["calls"] >= 30_000, text


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_calls() -> None:
    status, result, text = campaign("--count", "100000", "--jobs", "2", "--seconds", "3000")
    assert status == 0, text
    assert result["calls"] >= 100_000 and result["deaths"] == result["hangs"] == 0, text
    assert result["of them under 40 %"] == {} and result["never called"] == [], text
    assert result["of them with 20 calls and more"] == result["that reach C"], text


def test_checks_that_are_off_are_found() -> None:
    """What proves that the fuzzer could find something: without these checks it does, guard or not."""
    status, text = run("tests.fuzz.calls.mutations", "--only", "tokens,layers,sequences")
    assert status == 0, text


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_check_that_is_off_is_found() -> None:
    status, text = run("tests.fuzz.calls.mutations")
    assert status == 0, text


def test_every_known_killer_has_a_switch() -> None:
    stands_before = {name for switch in off.SWITCHES.values() for name in switch.killers}
    assert stands_before == killers.KILLERS.keys() | killers.SIGNALS.keys()


def test_a_death_is_cut_down_and_kept(tmp_path: Path) -> None:
    """The whole way of a finding: a check is off, a child dies, its calls are cut down, and kill again."""
    only = ("--only", "Memory.seq_rm,Memory.seq_keep", "--without", "sequences", "--no-guard")
    status, result, text = campaign("--count", "40", "--seed", "1", *only, "--keep", str(tmp_path))
    assert status == 1 and result["deaths"] == 1, text
    (kept,) = tmp_path.iterdir()
    ((case),) = json.loads(kept.read_text())
    assert 3 <= len(case["calls"]) <= 6, case  # a context, its memory, the call
    assert run("tests.fuzz.calls", "--again", str(kept), *only[2:])[0] == 1
    assert run("tests.fuzz.calls", "--again", str(kept))[0] == 0  # with the check nothing happens


def test_what_killed_once() -> None:
    """Each file is what ``--keep`` wrote when a check was off, or not yet there."""
    assert KEPT
    for path in KEPT:
        status, text = run("tests.fuzz.calls", "--again", str(path))
        assert status == 0, f"{path.name}: {text}"


# --- what is called is all that is public ---


def test_every_public_module_is_looked_into() -> None:
    modules = {name for name in lf.__all__ if inspect.ismodule(getattr(lf, name))} | set(lf._MODULES)
    assert modules == set(MODULES) | NOT_LOOKED_INTO.keys(), "add the module to MODULES, or give a reason"


def test_every_public_class_is_known() -> None:
    """A new class gets a way to make one: RECIPES in world.py or OWNERS of a module in setups/."""
    names = calls()
    assert len(names) > 550
    owners = {call.owner for call in names.values()} - {""}
    assert owners <= RECIPES.keys() | setups.OWNERS.keys(), "add a recipe"
    for name in lf.__all__:
        value = getattr(lf, name)
        plain = not inspect.isclass(value) or issubclass(value, Exception | enum.Enum)
        assert plain or name in owners or value.__module__.startswith("llama_ffi"), name
        if inspect.isroutine(value):
            assert name in names.keys() | NOT_CALLED.keys(), name


def test_every_parameter_has_usual_values() -> None:
    """A new parameter gets what a program would give it: BY_NAME or BY_CALL in arguments.py."""
    unknown = [
        f"{name}({parameter.name})"
        for name, call in calls().items()
        for parameter in call.parameters
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and not arguments.known(name, parameter.name)
    ]
    assert unknown == [], "say in arguments.py what a program gives them"


def test_the_tables_name_what_there_is() -> None:
    names = calls()
    assert not NOT_CALLED.keys() & names.keys() and ONCE.keys() <= names.keys()
    assert setups.SETUPS.keys() <= names.keys()
    assert shares.ANSWERS_BY_ITSELF.keys() | shares.ENDS_WITH.keys() <= names.keys()
    assert all(names[name].says_c for name in shares.ANSWERS_BY_ITSELF)
    assert all(recipe in CALLS for recipes in RECIPES.values() for recipe in recipes)
    for switch in off.SWITCHES.values():
        assert set(switch.only.split(",")) <= names.keys()
