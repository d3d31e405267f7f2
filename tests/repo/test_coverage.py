"""`docs/coverage.md` is what the headers, the code and the recorded runs say, and leaves no function out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bindgen.ir import Function, FunctionType, Location, Primitive
from devtools import coverage

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_is_up_to_date() -> None:
    table = coverage.render(coverage.rows())
    written = coverage.TABLE.read_text(encoding="utf-8")
    assert written == table, "run `python -m devtools coverage`"


def test_every_function_has_a_call_and_a_test_or_a_reason() -> None:
    table = coverage.rows()
    waiting = set(coverage.pending(table))
    assert [each for each in coverage.problems(table) if each.split(":")[0] not in waiting] == []


def test_the_recorded_tests_exist() -> None:
    tests = coverage.read_calls(coverage.CALLS)
    assert tests, "nothing is recorded"
    assert [test for test in tests if not coverage.exists(test)] == []


@pytest.mark.model
def test_the_recorder_writes_what_the_safe_layer_calls_and_not_what_raw_calls(tmp_path: Path) -> None:
    record = tmp_path / "calls.tsv"
    program = (
        "import llama_ffi as lf\n"
        "model = lf.Model.load(lf.tiny_model_path(), vocab_only=True)\n"
        "model.vocab.tokenize('Once'), model.vocab.tokenize('upon')\n"
        "lf.raw.lib.llama_max_parallel_sequences()\n"
    )
    environment = os.environ | {
        "LLAMA_FFI_RECORD_CALLS": str(record),
        "PYTEST_CURRENT_TEST": "tests/x.py::test_y[1-(2)] (call)",
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, cwd=tmp_path)
    called = coverage.read_calls(record)
    assert list(called) == ["tests/x.py::test_y"]
    names = called["tests/x.py::test_y"]
    assert {"llama_backend_init", "llama_model_load_from_file", "llama_tokenize"} <= names
    assert "llama_max_parallel_sequences" not in names
    assert record.read_text().count("llama_tokenize\t") == 1


def row(safe: list[str], tests: list[str], reason: str | None) -> coverage.Row:
    function = Function("llama_f", FunctionType(Primitive("void"), ()), Location("include/llama.h", 1))
    return coverage.Row(function, safe, tests, reason)


@pytest.mark.parametrize(
    ("known", "problem"),
    [
        (row([], [], None), "no safe call"),
        (row(["Model.f"], [], None), "no recorded test"),
        (row(["Model.f"], ["tests/x.py::test"], "not wanted"), "has a reason not to be"),
        (row(["Model.f"], ["tests/x.py::test"], None), None),
        (row([], [], "not wanted"), None),
    ],
)
def test_what_is_missing_is_said(known: coverage.Row, problem: str | None) -> None:
    found = known.problem
    assert found is None if problem is None else found is not None and problem in found


def test_tests_that_are_gone_or_only_pretend_are_no_evidence(tmp_path: Path) -> None:
    record = tmp_path / "calls.tsv"
    here = "tests/repo/test_coverage.py"
    record.write_text(
        f"llama_f\t{here}::test_the_table_is_up_to_date (call)\n"
        f"llama_f\t{here}::test_that_nobody_wrote (call)\n"
        "llama_f\ttests/no_such_file.py::test (call)\n"
        "llama_f\ttests/fakelib/test_exit.py::test (call)\n"
        "llama_f\t\n"
    )
    tests = coverage.tests_of(coverage.read_calls(record), ["llama_f"])
    assert tests == {"llama_f": [f"{here}::test_the_table_is_up_to_date"]}


@pytest.mark.parametrize(
    ("doc", "names"),
    [
        ("Return it. C: llama_model_size", ["llama_model_size"]),
        ("Do.\n\nC: llama_a,\n    llama_b\n\nArguments:\n  llama_d: no", ["llama_a", "llama_b"]),
        ("A vitamin, not C at all.", []),
        ("Do. C: llama_a (llama_b is\n    another one)", ["llama_a"]),
    ],
)
def test_names_behind_c(doc: str, names: list[str]) -> None:
    assert coverage.c_names(doc) == names
