"""Which safe call uses which C function, and which test runs it: `docs/coverage.md`.

Three sources. The headers, read by bindgen, say which functions there are. The package's syntax trees say
where each is named: in the `C:` line of a public docstring, or in the body of a definition. And a record of
test runs says where each was *called*: ``LLAMA_FFI_RECORD_CALLS=FILE`` makes the safe layer write it, and
`calls.tsv` beside this file keeps of it what the table shows. Calls through `llama_ffi.raw` don't count.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bindgen.config import LLAMA_CPP
from bindgen.ir import Function
from bindgen.pipeline import find_source, load

from . import names
from .names import ROOT, Public
from .reasons import PENDING, REASONS

HEADERS = ("include/llama.h", "ggml/include/gguf.h")
TABLE = ROOT / "docs" / "coverage.md"
CALLS = Path(__file__).with_name("calls.tsv")
KEPT = 2
"""Tests per function in the table: those whose names are most like its own, then those that call least."""

_NOT_EVIDENCE = ("tests/fakelib/",)
"""Tests on a library that only pretends."""


@dataclass
class Row:
    """What is known about one C function."""

    function: Function
    safe: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)
    reason: str | None = None

    @property
    def problem(self) -> str | None:
        """Return what is missing or contradicts, or None."""
        name = self.function.name
        if self.reason is not None:
            return f"{name} is used by {self.safe[0]} and has a reason not to be" if self.safe else None
        if not self.safe:
            return f"{name}: no safe call uses it, and devtools/reasons.py says nothing"
        return None if self.tests else f"{name}: used by {self.safe[0]}, run by no recorded test"


@functools.cache
def functions() -> tuple[Function, ...]:
    """Return the non-deprecated functions of llama.h and gguf.h, in the order of declaration."""
    unit = load(find_source(None), LLAMA_CPP).unit
    return tuple(f for f in unit.functions if f.location.file in HEADERS and f.deprecated is None)


# --- where they are named --------------------------------------------------------------------------


def uses(wanted: Collection[str]) -> dict[str, list[str]]:
    """Return the safe calls that use each of the C functions `wanted`, public ones first.

    A private definition stands for a function only where no public docstring or body names it.
    """
    public, private = defaultdict(list), defaultdict(list)
    home: dict[tuple[str, str], str] = {}
    for each in names.public_names():
        home.setdefault((each.module, each.qualname), each.name)
        for name in _in_docstring(each, wanted):
            public[name].append(each.name)
    for module in names.modules():
        if module.split(".")[1:2] in (["cli"], ["server"]) or module == "llama_ffi._core.older":
            continue  # no part of the safe layer, or stand-ins for what other versions lack
        for name, qualname in _in_code(names.tree(module), wanted):
            caller = home.get((module, qualname))
            if caller is not None:
                public[name].append(caller)
            else:
                private[name].append(f"{module.removeprefix('llama_ffi.')}.{qualname}".rstrip("."))
    return {name: list(dict.fromkeys(public[name] or private[name])) for name in wanted}


def _in_docstring(public: Public, wanted: Collection[str]) -> list[str]:
    return [name for name in c_names(public.doc or "") if name in wanted]


def c_names(doc: str) -> list[str]:
    """Return the names in the `C:` lines of a docstring; those in parentheses are only mentioned."""
    lines = re.findall(r"(?:^|\s)C: (.+?)(?:\n\s*\n|\Z)", doc, re.DOTALL)
    return [n for line in lines for n in re.findall(r"[a-z_][a-z0-9_]*", re.sub(r"\([^()]*\)", "", line))]


def _in_code(tree: ast.Module, wanted: Collection[str]) -> Iterable[tuple[str, str]]:
    """Yield (C function, qualified name of the outermost function or of the class around it)."""

    def walk(node: ast.AST, qualname: str, inside: bool) -> Iterable[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Attribute) and child.attr in wanted:
                yield child.attr, qualname
            elif isinstance(child, ast.Constant) and isinstance(child.value, str) and child.value in wanted:
                yield child.value, qualname
            if inside or not isinstance(child, names.Node):
                yield from walk(child, qualname, inside)
            elif isinstance(child, ast.ClassDef):
                yield from walk(child, f"{qualname}.{child.name}".lstrip("."), False)
            else:
                # what __init__ calls, its class calls
                name = qualname if child.name == "__init__" else f"{qualname}.{child.name}".lstrip(".")
                yield from walk(child, name, True)

    return walk(tree, "", False)


# --- where they are called -------------------------------------------------------------------------


def read_calls(file: Path) -> dict[str, set[str]]:
    """Read a record: test → the C functions that it called. Set-ups count where no test itself calls."""
    called: dict[str, set[str]] = defaultdict(set)
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        name, _, test = line.partition("\t")
        identity = re.sub(r"\[.*", "", re.sub(r" \(\w+\)$", "", test))
        if identity and not identity.startswith(_NOT_EVIDENCE):
            called[identity].add(name)
    return called


def exists(test: str) -> bool:
    """Return whether the test `path::name` or `path::Class::name` is there."""
    path, *parts = test.split("::")
    return all(part in _test_names(ROOT / path) for part in parts) and bool(parts)


@functools.cache
def _test_names(file: Path) -> frozenset[str]:
    if not file.is_file():
        return frozenset()
    found = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return frozenset(node.name for node in found if isinstance(node, names.Node))


def update_calls(records: Iterable[Path], wanted: Collection[str]) -> None:
    """Take new records into `calls.tsv`; tests that are gone fall out, of the others the best stay."""
    called = read_calls(CALLS)
    for record in records:
        for test, found in read_calls(record).items():
            called[test] |= found
    sizes = {test: len(found) for test, found in called.items()}
    tests = tests_of(called, wanted)
    lines = [
        f"{name}\t{test}\n"
        for name in sorted(wanted)
        for test in sorted(tests[name], key=lambda each: (-_likeness(name, each), sizes[each], each))[:KEPT]
    ]
    CALLS.write_text("".join(lines), encoding="utf-8")


def _likeness(function: str, test: str) -> int:
    words = {word for word in function.split("_") if word not in ("llama", "gguf", "get", "init", "test")}
    return len(words & set(test.rpartition("::")[2].split("_")))


def tests_of(called: Mapping[str, set[str]], wanted: Collection[str]) -> dict[str, list[str]]:
    """Turn a record around: C function → the tests of it that still exist."""
    found: dict[str, list[str]] = {name: [] for name in wanted}
    for test in sorted(called):
        if exists(test):
            for name in called[test] & found.keys():
                found[name].append(test)
    return found


# --- the table -------------------------------------------------------------------------------------


def rows() -> list[Row]:
    """Return what is known about every function."""
    wanted = [f.name for f in functions()]
    used, tests = uses(wanted), tests_of(read_calls(CALLS), wanted)
    return [Row(f, used[f.name], tests[f.name][:KEPT], REASONS.get(f.name)) for f in functions()]


def problems(table: list[Row]) -> list[str]:
    """Return every function that has neither use and test nor a reason, and reasons for nothing."""
    known = {row.function.name for row in table}
    unknown = [
        f"{name}: in devtools/reasons.py, but no such function is in the headers"
        for name in sorted({*REASONS, *PENDING} - known)
    ]
    return [problem for row in table if (problem := row.problem)] + unknown


def pending(table: list[Row]) -> list[str]:
    """Return what is known to be missing: the functions with a problem that `PENDING` lists."""
    return [row.function.name for row in table if row.problem and row.function.name in PENDING]


_HEAD = """# C function → safe call → test

Every function of {headers} that is not deprecated: the safe calls that use it, and tests in which the
safe layer called it, recorded while they ran; or why there is none. A safe call is written as it stands
behind `llama_ffi.`; one in *italics* is internal, below the public ones. At most {kept} tests and {calls}
calls are shown.

Generated by `python -m devtools coverage`; a test compares. {summary}
"""
_CALLS = 3


def render(table: list[Row]) -> str:
    """Return the text of the table."""
    used = sum(bool(row.safe and row.tests) for row in table)
    reasons = sum(row.reason is not None for row in table)
    summary = f"{len(table)} functions: {used} used and tested, {reasons} left out for a reason."
    headers = " and ".join(f"`{Path(path).name}`" for path in HEADERS)
    parts = [_HEAD.format(headers=headers, kept=KEPT, calls=_CALLS, summary=summary)]
    public = {each.name for each in names.public_names()}
    for header in HEADERS:
        parts.append(f"\n## {Path(header).name}\n\n| C function | safe call | test |\n|---|---|---|\n")
        parts += [_line(row, public) for row in table if row.function.location.file == header]
    return "".join(parts)


def _line(row: Row, public: Collection[str]) -> str:
    if row.reason is not None:
        return f"| `{row.function.name}` | none: {row.reason} | |\n"
    safe = ", ".join(f"`{each}`" if each in public else f"*{each}*" for each in row.safe[:_CALLS])
    tests = ", ".join(f"[{test.split('::')[-1]}](../{test.split('::')[0]})" for test in row.tests)
    return f"| `{row.function.name}` | {safe or 'not yet'} | {tests or 'not yet'} |\n"
