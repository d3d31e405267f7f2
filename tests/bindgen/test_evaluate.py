"""Constant expressions come out as a C compiler computes them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bindgen.analyze import Bindings
from bindgen.errors import BindgenError
from bindgen.preprocess import find_compiler

EXPRESSIONS = {
    "1 << 3": 8,
    "1 << 3 | 1 << 0": 9,
    "(1 << 2) | (1 << 4)": 20,
    "-1": -1,
    "~0": -1,
    "~0u": 0xFFFFFFFF,
    "0xFFFFFFFF": 0xFFFFFFFF,
    "(int32_t) 0xFFFFFFFF": -1,
    "(uint8_t) 300": 44,
    "(uint32_t) -1": 0xFFFFFFFF,
    "(bool) 7": 1,
    "-7 / 2": -3,
    "-7 % 3": -1,
    "-1 < 0u": 0,
    "1 ? 2 : 3": 2,
    "0 && 1 / 0": 0,
    "1 || 1 / 0": 1,
    "!5": 0,
    "010": 8,
    "'a'": 97,
    r"'\n'": 10,
    r"'\x41'": 65,
    "sizeof(int32_t[5]) / 4": 5,
    "sizeof(struct box) / sizeof(float)": 4,
    "_Alignof(struct box)": 8,
    "OTHER + 1": 42,
    "RENAMED": 41,
    "0x7fffffff + 0": 0x7FFFFFFF,
    "0xFFFFFFFFu + 1": 0,
    "1ull << 40": 1 << 40,
    "100 - 3 * 4 ^ 5": 93,
    "5 > 3 == 1": 1,
    "(char) 200": -56,
    'sizeof("abc")': 4,
    "sizeof(long)": 8,
}
PRELUDE = """
#include <stdint.h>
#include <stdbool.h>
enum other { OTHER = 41, RENAMED = OTHER };
struct box { void * p; float f; };
"""


def test_expressions_equal_what_the_table_says(bind: Callable[[str], Bindings]) -> None:
    text = PRELUDE + "".join(f"#define M{i} ({e})\n" for i, e in enumerate(EXPRESSIONS))
    values = {c.name: c.value for c in bind(text).unit.constants}
    assert [values[f"M{i}"] for i in range(len(EXPRESSIONS))] == list(EXPRESSIONS.values())


def test_the_table_equals_what_the_compiler_says(tmp_path: Path) -> None:
    checks = "".join(
        f'_Static_assert(({e}) == ({v}), "{i}");\n' for i, (e, v) in enumerate(EXPRESSIONS.items())
    )
    program = tmp_path / "check.c"
    program.write_text(PRELUDE + checks, encoding="utf-8")
    done = subprocess.run(
        [*find_compiler(), "-std=c11", "-w", "-fsyntax-only", str(program)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_enum_initialisers_are_evaluated(bind: Callable[[str], Bindings]) -> None:
    enums = bind(
        """
        #define BASE 3
        enum attr { ATTR_UNDEFINED = 0, ATTR_UNKNOWN = 1 << 0, ATTR_CONTROL = 1 << BASE,
                    ATTR_BOTH = ATTR_UNKNOWN | ATTR_CONTROL };
        enum next { NEXT_A = -2, NEXT_B, NEXT_C = ATTR_BOTH, NEXT_D, NEXT_SAME = NEXT_A };
        """
    ).unit.enums
    assert [m.value for m in enums[0].members] == [0, 1, 8, 9]
    assert [m.value for m in enums[1].members] == [-2, -1, 9, 10, -2]
    assert enums[0].members[3].location.line == 4


def test_floats_and_strings(bind: Callable[[str], Bindings]) -> None:
    text = """
        #define A 1.5
        #define B "a" "b"
        #define C (A * 2)
        #define D 0.1f
        #define E "\\t\\101"
        #define F (float) 3
        """
    values = {c.name: c.value for c in bind(text).unit.constants}
    assert values == {"A": 1.5, "B": "ab", "C": 3.0, "D": 0.10000000149011612, "E": "\tA", "F": 3.0}


def test_the_last_definition_of_a_macro_counts(bind: Callable[[str], Bindings]) -> None:
    bindings = bind("#define A B\n#define B 1\n#undef B\n#define B 2\n#define GONE 1\n#undef GONE\n")
    assert {c.name: c.value for c in bindings.unit.constants} == {"A": 2, "B": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("enum e { A = 1 / 0 };", "x.h:1: value of A: division by zero"),
        ("enum e { A = 1,\n B = UNKNOWN };", "x.h:2: value of B: 'UNKNOWN' has no value here"),
        ("enum e { A = 1 << 99 };", "x.h:1: value of A: shift by 99"),
        ("enum e { A = 1.5 };", "x.h:1: value of A: an integer constant is needed here"),
        ("\nstruct s { int a[sizeof(struct t)]; };", "x.h:2: array length: incomplete type struct t"),
    ],
)
def test_what_has_no_value_is_an_error_with_its_place(
    bind: Callable[[str], Bindings], text: str, message: str
) -> None:
    with pytest.raises(BindgenError) as caught:
        bind(text)
    assert str(caught.value) == message
