"""Random headers, compiled and probed: the bindings equal the compiler, whatever C throws at them.

Hypothesis writes headers with structs, nested and anonymous records, unions, enums with expressions,
function pointers, arrays whose length is a macro, and functions over all of these.  A C compiler, cffi
and ctypes then judge every size, offset, value and signature.  A few run every time; the full number,
`LLAMA_FFI_RANDOM_HEADERS` (500 by default), is the slow test.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bindgen.config import Config, Header
from bindgen.pipeline import load
from bindgen.probe import check

FULL = int(os.environ.get("LLAMA_FFI_RANDOM_HEADERS", "500"))
QUICK = 12
NUMBERS = (
    "bool", "char", "signed char", "unsigned char", "short", "unsigned short", "int", "unsigned", "long",
    "unsigned long", "long long", "unsigned long long", "float", "double", "int8_t", "uint8_t", "int16_t",
    "uint16_t", "int32_t", "uint32_t", "int64_t", "uint64_t", "size_t", "intptr_t", "long int unsigned",
)  # fmt: skip
CASTS = ("(int8_t) ", "(uint8_t) ", "(int16_t) ", "(uint16_t) ", "(uint32_t) ", "(int) ", "(char) ", "")
Draw = Any


class Writer:
    """Writes one header; everything it declares may be used further down."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.lines: list[str] = ["#include <stddef.h>", "#include <stdint.h>", "#include <stdbool.h>"]
        self.values: list[str] = []  # enumerators and macros that fit an int
        self.lengths: list[str] = []  # macros that can be array lengths
        self.records: list[str] = []  # complete types that may be passed by value
        self.unions: list[str] = []  # complete types that may not
        self.pointees: list[str] = ["void", "char"]
        self.numbers: list[str] = list(NUMBERS)
        self.count = 0

    def name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def pick(self, choices: list[str] | tuple[str, ...]) -> str:
        picked: str = self.draw(st.sampled_from(choices))
        return picked

    def chance(self, percent: int) -> bool:
        return bool(self.draw(st.integers(0, 99)) < percent)

    # --- expressions ---------------------------------------------------------------------------------

    def expression(self, depth: int = 3) -> str:
        """An integer expression without undefined behaviour: small operands, small shifts."""
        if depth == 0 or self.chance(30):
            literal = self.draw(st.sampled_from(["0x1f", "017", "'a'", "1u", "3", "100", "0", "7l", "255"]))
            return self.pick(self.values) if self.values and self.chance(40) else str(literal)
        form = self.draw(st.integers(0, 7))
        left, right = self.expression(depth - 1), self.expression(depth - 1)
        if form == 0:
            return f"(1 << {self.draw(st.integers(0, 12))})"
        if form == 1:
            return f"({self.pick(CASTS)}({left}))"
        if form == 2:
            condition = f"({left}) {self.pick(('<', '>=', '==', '!=', '&&', '||'))} ({right})"
            return f"({condition} ? ({left}) : ({right}))"
        if form == 3:
            return f"({self.pick(('-', '~', '!', '+'))}({left}))"
        if form == 4:
            return (
                f"(int) (sizeof({self.pick(self.numbers)}) {self.pick('+*')} {self.draw(st.integers(1, 4))})"
            )
        if form == 5:
            return f"((({left}) & 0xff) {self.pick(('/', '%'))} {self.draw(st.integers(1, 9))})"
        return f"((({left}) & 0x3ff) {self.pick('|&^+-*')} (({right}) & 0x3ff))"

    def small(self) -> str:
        """An expression whose value surely fits an int."""
        return f"((int) (({self.expression()}) & 0xffff) - {self.draw(st.integers(0, 300))})"

    # --- types ---------------------------------------------------------------------------------------

    def declarator(self, name: str, depth: int, unions: bool) -> str:
        """A declaration of `name` with a complete type."""
        form = self.draw(st.integers(0, 9))
        if form <= 3 or depth == 0:
            return f"{self.pick(self.numbers)} {name}"
        if form == 4:
            return f"const {self.pick(self.pointees)} * {self.pick(('', 'const ', '* '))}{name}"
        if form == 5:
            return f"{self.pick(self.numbers)} (*{name})({self.parameters()})"
        if form == 6:
            return self.declarator(f"{name}[{self.length()}]", depth - 1, unions)
        if form == 7 and unions and self.unions:
            return f"{self.pick(self.unions)} {name}"
        if self.records:
            return f"{self.pick(self.records)} {name}"
        return f"{self.pick(self.pointees)} * {name}"

    def length(self) -> str:
        if self.lengths and self.chance(50):
            return self.pick(self.lengths)
        return str(self.draw(st.integers(1, 5)))

    def parameters(self) -> str:
        many = self.draw(st.integers(0, 3))
        return ", ".join(self.declarator(self.name("p"), 2, unions=False) for _ in range(many)) or "void"

    def members(self, depth: int, unions: bool) -> str:
        out = []
        for _ in range(self.draw(st.integers(1, 4))):
            if depth and self.chance(25):
                kind = "union" if unions and self.chance(50) else "struct"
                name = "" if self.chance(50) else self.name("m") + self.pick(("", "[2]"))
                out.append(f"{kind} {{ {self.members(depth - 1, unions)} }} {name};")
            else:
                out.append(f"{self.declarator(self.name('f'), 2, unions)};")
        return " ".join(out)

    # --- declarations --------------------------------------------------------------------------------

    def record(self) -> None:
        tag = self.name("record")
        unions = self.chance(40)
        kind = "union" if unions and self.chance(40) else "struct"
        body = f"{kind} {{ {self.members(2, unions)} }}"
        if self.chance(40):
            spelling = tag
            self.lines.append(f"typedef {body} {tag};")
        else:
            spelling = f"{kind} {tag}"
            self.lines.append(f"{body.replace(kind, spelling, 1)};")
        (self.unions if unions else self.records).append(spelling)
        self.pointees.append(spelling)

    def enum(self) -> None:
        tag = self.name("kind")
        members = []
        for _ in range(self.draw(st.integers(1, 5))):
            member = self.name("VALUE")
            members.append(f"{member} = {self.small()}" if self.chance(60) else member)
            self.values.append(member)
        form = self.draw(st.integers(0, 2))
        body = f"{{ {', '.join(members)}{self.pick(('', ','))} }}"
        self.lines.append((f"enum {tag} {body};", f"typedef enum {body} {tag};", f"enum {body};")[form])
        if form < 2:
            self.numbers.append(f"enum {tag}" if form == 0 else tag)

    def macro(self) -> None:
        name = self.name("MACRO")
        if self.chance(40):
            self.lines.append(f"#define {name} {self.draw(st.integers(1, 6))}")
            self.lengths.append(name)
        elif self.chance(20):
            self.lines.append(f'#define {name} "text" "{self.draw(st.text("abc xyz%", max_size=5))}"')
        elif self.chance(20):
            self.lines.append(f"#define {name} {self.draw(st.integers(-99, 99))}.25")
        else:
            self.lines.append(f"#define {name} {self.small()}")
            self.values.append(name)

    def typedef(self) -> None:
        name = self.name("alias")
        if self.chance(30):
            self.lines.append(f"typedef {self.pick(self.numbers)} (*{name})({self.parameters()});")
        elif self.chance(30):
            self.lines.append(f"struct {name}_opaque; typedef struct {name}_opaque * {name};")
            self.pointees.append(f"struct {name}_opaque")
        else:
            self.lines.append(f"typedef {self.pick(self.numbers)} {name};")
            self.numbers.append(name)

    def function(self) -> None:
        name = self.name("function")
        result = self.pick([*self.numbers, *self.records, "void", *(f"const {p} *" for p in self.pointees)])
        self.lines.append(f"{result} {name}({self.parameters()});")


@st.composite
def headers(draw: Draw) -> str:
    """The text of a header with five to fourteen declarations."""
    writer = Writer(draw)
    kinds = (writer.record, writer.record, writer.enum, writer.macro, writer.typedef, writer.function)
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=5, max_size=14)):
        kind()
    return "\n".join(writer.lines) + "\n"


def judged(text: str) -> None:
    """Generate from the header and let compiler, cffi and ctypes judge."""
    with tempfile.TemporaryDirectory(prefix="bindgen-") as folder:
        source = Path(folder)
        (source / "x.h").write_text(text, encoding="utf-8")
        bindings = load(source, Config((Header("x.h", "x"),), "_x"), commit="")
        assert [s for s in bindings.skipped if "function-like" not in s.reason] == []
        _, differences = check(bindings, source)
        assert differences == []


COMMON: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "database": None,
}


@settings(max_examples=QUICK, derandomize=True, phases=(Phase.generate,), **COMMON)
@given(headers())
def test_a_few_random_headers(text: str) -> None:
    judged(text)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=FULL, print_blob=True, **COMMON)
@given(headers())
def test_many_random_headers(text: str) -> None:
    judged(text)
