"""What the safe layer uses above the floor stands in a table: on older libraries it has its own error.

``above_floor.json`` lists what the pinned headers have and those of llama-cpp-python 0.3.16 haven't;
tests/bindgen/floor.py makes it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import llama_ffi
from llama_ffi._core import features, older

PACKAGE = Path(llama_ffi.__file__).parent
ABOVE = json.loads(Path(__file__).with_name("above_floor.json").read_text(encoding="utf-8"))
DOCUMENT = PACKAGE.parent / "docs" / "other_versions.md"
NOT_SAFE = ("_abi", "_bindgen", "_build", "_lib", "compat", "cli")
TABLES = ("features.py", "older.py", "other.py")
AT_START = frozenset({"llama_version"})
"""Asked by the start itself, which takes its absence."""


def mentioned() -> set[str]:
    """Every attribute and every string in the safe layer's sources."""
    return {word for path in sources() for word in words(path)}


def sources() -> Iterator[Path]:
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).parts
        if parts[0] not in NOT_SAFE and parts[-1] not in TABLES:
            yield path


def words(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def needed() -> set[str]:
    return {need for needs in features.FEATURES.values() for need in needs}


def test_every_function_above_the_floor_has_its_row() -> None:
    used = mentioned() & set(ABOVE["functions"])
    assert "llama_n_ctx_seq" in used
    rows = needed() | set(older.FUNCTIONS) | AT_START
    assert used <= rows, (
        f"add to FEATURES (or, if older versions have other words, to older.py): {used - rows}"
    )


def test_every_field_above_the_floor_has_its_row() -> None:
    used = set()
    for said in (set(words(path)) for path in sources()):
        for field in ABOVE["fields"]:
            struct, _, name = field.partition(".")
            if {f"struct {struct} *", name} <= said:  # where such a struct is made
                used.add(field)
    assert "llama_context_params.n_rs_seq" in used
    rows = needed() | set(older.FIELDS)
    assert used <= rows, (
        f"add to FEATURES (or, if older versions have other words, to older.py): {used - rows}"
    )


def test_rows_are_about_what_is_above_the_floor() -> None:
    above = {*ABOVE["functions"], *ABOVE["fields"], "llama_context_params.attention_type"}
    assert needed() | set(older.FUNCTIONS) | set(older.FIELDS) <= above


def test_every_row_is_used() -> None:
    said = mentioned()
    for need in needed():
        assert need.rpartition(".")[2] in said, f"{need} is in FEATURES, and nothing uses it"


def test_the_document_has_the_table() -> None:
    rows = [
        f"| `{name}` | {', '.join(f'`{need}`' for need in needs)} |"
        for name, needs in features.FEATURES.items()
    ]
    text = DOCUMENT.read_text(encoding="utf-8")
    missing = [row for row in rows if row not in text]
    assert not missing, "add to docs/other_versions.md:\n" + "\n".join(missing)
    assert text.count("\n| `") == len(rows), "a row of docs/other_versions.md is no feature any more"
