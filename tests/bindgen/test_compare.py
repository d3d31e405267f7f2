"""`bindgen diff` finds each kind of change and says whom it breaks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bindgen.__main__ import main
from bindgen.analyze import Bindings
from bindgen.compare import Change, Comparison, compare
from bindgen.config import Config, Header
from bindgen.pipeline import load

BASE = """
#include <stdint.h>
#include <stdbool.h>
#define OLD(f, hint) f __attribute__((deprecated(hint)))
#define LIMIT 4
#define GONE 1
typedef int32_t token;
typedef int32_t extra;
enum kind { KIND_A, KIND_B, KIND_C };
enum dropped { DROPPED };
struct handle;
struct params { int32_t first; float second; float third; const char * name; };
struct plain { int x; };
int keep(struct handle * h);
int lose(struct handle * h);
int change(struct handle * h, int32_t n);
int rename(struct handle * h, int32_t n);
int age(struct handle * h);
"""

# Each edit of BASE: what is replaced by what, and the changes it must be reported as.
EDITS: list[tuple[str, str, list[tuple[str, str, bool, bool]]]] = [
    ("", "", []),
    ("int keep(", "int added(int a);\nint keep(", [("function added", "added", True, True)]),
    ("int lose(struct handle * h);", "", [("function removed", "lose", False, False)]),
    (
        "change(struct handle * h, int32_t n)",
        "change(struct handle * h, int64_t n)",
        [("signature changed", "change", False, False)],
    ),
    (
        "change(struct handle * h, int32_t n)",
        "change(const struct handle * h, int n)",
        [("signature changed", "change", True, True)],
    ),
    (
        "rename(struct handle * h, int32_t n)",
        "rename(struct handle * h, int32_t count)",
        [("parameter renamed", "rename", True, True)],
    ),
    (
        "int age(struct handle * h);",
        'OLD(int age(struct handle * h), "use keep");',
        [("deprecated", "age", True, True)],
    ),
    (
        "float second;",
        "bool flag; float second;",
        [
            ("field inserted", "struct params.flag", True, False),
            ("field moved", "struct params.second", True, False),
            ("field moved", "struct params.third", True, False),
        ],
    ),  # the total size stays
    (
        "const char * name;",
        "const char * name; int last;",
        [
            ("field appended", "struct params.last", True, False),
            ("struct resized", "struct params", True, False),
        ],
    ),
    (
        "float second; float third;",
        "float third; float second;",
        [
            ("field moved", "struct params.second", True, False),
            ("field moved", "struct params.third", True, False),
        ],
    ),
    ("float second;", "int32_t second;", [("field retyped", "struct params.second", False, False)]),
    ("const char * name;", "char * name;", [("field retyped", "struct params.name", False, True)]),
    ("float second;", "float other;", [("field renamed", "struct params.second", False, True)]),
    (
        "const char * name; };",
        "};",
        [
            ("field removed", "struct params.name", False, False),
            ("struct resized", "struct params", True, False),
        ],
    ),
    ("struct plain { int x; };", "struct plain;", [("struct made opaque", "struct plain", False, False)]),
    ("struct plain { int x; };", "", [("struct removed", "struct plain", False, False)]),
    ("struct handle;", "struct handle { int a; };", [("struct defined", "struct handle", True, True)]),
    (
        "struct plain {",
        "struct fresh { int y; };\nstruct plain {",
        [("struct added", "struct fresh", True, True)],
    ),
    (
        "KIND_B,",
        "KIND_NEW, KIND_B,",
        [
            ("enum value shifted", "KIND_B", True, False),
            ("enum value shifted", "KIND_C", True, False),
            ("enum value added", "KIND_NEW", True, True),
        ],
    ),
    ("KIND_C }", "KIND_C, KIND_D }", [("enum value added", "KIND_D", True, True)]),
    (", KIND_C }", " }", [("enum value removed", "KIND_C", False, False)]),
    ("enum dropped { DROPPED };", "", [("enum removed", "dropped", False, True)]),
    ("enum dropped", "enum fresh { FRESH };\nenum dropped", [("enum added", "fresh", True, True)]),
    ("#define LIMIT 4", "#define LIMIT 5", [("constant changed", "LIMIT", True, False)]),
    ("#define GONE 1", "", [("constant removed", "GONE", False, True)]),
    ("#define GONE 1", "#define GONE 1\n#define NEW 2", [("constant added", "NEW", True, True)]),
    ("typedef int32_t extra;", "", [("typedef removed", "extra", False, True)]),
    ("typedef int32_t token;", "typedef int64_t token;", [("typedef resized", "token", True, False)]),
]


def bound(folder: Path, text: str) -> Bindings:
    folder.mkdir(exist_ok=True)
    (folder / "x.h").write_text(text, encoding="utf-8")
    return load(folder, Config((Header("x.h", "x"),), "_x"), commit="")


@pytest.mark.parametrize(("old", "new", "expected"), EDITS, ids=[f"{o[:20]} - {n[:20]}" for o, n, _ in EDITS])
def test_each_change_is_found_and_classified(
    tmp_path: Path, old: str, new: str, expected: list[tuple[str, str, bool, bool]]
) -> None:
    assert old in BASE
    edited = BASE.replace(old, new) if old else BASE
    result = compare(bound(tmp_path / "old", BASE), bound(tmp_path / "new", edited), ("old", "new"))
    found = [(c.kind, c.name, c.source_compatible, c.abi_compatible) for c in result.changes]
    assert sorted(found) == sorted(expected)
    assert result.source_compatible == all(source for _, _, source, _ in expected)
    assert result.abi_compatible == all(abi for _, _, _, abi in expected)


def test_every_kind_is_covered() -> None:
    text = Path(compare.__code__.co_filename).read_text(encoding="utf-8")
    written = set(re.findall(r'"((?:[a-z]+ )+(?:[a-z]+ed|opaque))"|Change\("(deprecated)"', text))
    kinds = {kind for _, _, expected in EDITS for kind, *_ in expected}
    assert kinds == {first or second for first, second in written}


def test_places_and_text() -> None:
    changes = (
        Change("function added", "f", "int (void)", "x.h:3", True, True),
        Change("function removed", "g", "int (void)", "x.h:1", False, False),
    )
    text = Comparison("old", "new", changes).text()
    assert text.splitlines() == [
        "old -> new: 2 changes, not source compatible, ABI breaking",
        "",
        "ABI breaking and not source compatible (1)",
        "  function removed: g — int (void)  [x.h:1]",
        "",
        "Compatible (1)",
        "  function added: f — int (void)  [x.h:3]",
    ]


def test_the_command_compares_two_source_trees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, header in (("old", "int llama_a(int x);"), ("new", "int llama_a(long x);\nint llama_b(void);")):
        (tmp_path / name / "include").mkdir(parents=True)
        (tmp_path / name / "include" / "llama.h").write_text(header, encoding="utf-8")
    assert main(["diff", "--json", str(tmp_path / "old"), str(tmp_path / "new")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["source_compatible"], result["abi_compatible"]) == (False, False)
    assert [(c["kind"], c["name"], c["where"]) for c in result["changes"]] == [
        ("function added", "llama_b", "include/llama.h:2"),
        ("signature changed", "llama_a", "include/llama.h:1"),
    ]
    assert main(["diff", str(tmp_path / "old"), str(tmp_path / "old")]) == 0
    assert capsys.readouterr().out.rstrip().endswith("no changes")


def test_a_folder_without_headers_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(tmp_path), str(tmp_path)]) == 1
    assert "has none of" in capsys.readouterr().err
