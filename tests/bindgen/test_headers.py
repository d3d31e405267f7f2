"""Tiny headers with their expected outputs, like a compiler's front-end tests.

Each `headers/NAME.h` has a `headers/NAME.expected`: the declarations for cffi, the functions as the
stub types them, what was left out and why; or the error.  After an intended change run the tests
once with `LLAMA_FFI_BLESS=1`, which writes the expected files anew, and read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bindgen.analyze import Bindings
from bindgen.config import Config, Header
from bindgen.emit.cdef import emit_cdef
from bindgen.emit.ctypes_module import ctypes_prototype
from bindgen.emit.stubs import stub_line
from bindgen.errors import BindgenError
from bindgen.pipeline import load
from bindgen.probe import check

HEADERS = Path(__file__).parent / "headers"
NAMES = sorted(path.stem for path in HEADERS.glob("*.h"))
BLESS = os.environ.get("LLAMA_FFI_BLESS", "") not in ("", "0")


def bound(name: str) -> Bindings:
    return load(HEADERS, Config((Header(f"{name}.h", "x"),), "_x"), commit="")


def output(name: str) -> str:
    """Everything that a header leads to, as text."""
    try:
        bindings = bound(name)
    except BindgenError as error:
        # What the preprocessor says is the compiler's own wording; where it says it is not.
        place, mark, _ = str(error).partition("the C preprocessor says: ")
        return f"error: {place}{mark}\n"
    functions = bindings.unit.functions
    skipped = [f"{s.location}: {s.kind} {s.name}: {s.reason}" for s in bindings.skipped]
    old = [f"{f.location}: {f.name}: {f.deprecated}" for f in functions if f.deprecated is not None]
    constants = [f"{c.name} = {c.value!r}" for c in bindings.unit.constants]
    sections = {
        "cffi": emit_cdef(bindings).splitlines(),
        "constants": constants,
        "stub": [stub_line(bindings, f) for f in functions],
        "ctypes": [ctypes_prototype(bindings, f) for f in functions],
        "deprecated": old,
        "not bound": skipped,
    }
    return "\n".join(
        line for title, lines in sections.items() if lines for line in (f"[{title}]", *lines, "")
    )


@pytest.mark.parametrize("name", NAMES)
def test_output_is_the_expected_one(name: str) -> None:
    expected = HEADERS / f"{name}.expected"
    found = output(name)
    if BLESS:
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_the_compiler_agrees(name: str) -> None:
    if name.startswith("error_"):
        with pytest.raises(BindgenError):
            bound(name)
        return
    names, differences = check(bound(name), HEADERS)
    assert differences == []
    assert names > 0


def test_every_expectation_has_its_header() -> None:
    assert sorted(path.stem for path in HEADERS.glob("*.expected")) == NAMES
    assert len(NAMES) >= 15
