"""A C compiler is the judge: 0 differences, and every kind of difference is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bindgen.analyze import Bindings
from bindgen.ir import Declaration, Enum, Function, Param, Primitive, Record, Unit
from bindgen.layout import Facts, canonical, differences, digest, facts
from bindgen.models import LLP64, LP64
from bindgen.probe import cffi_view, compiler_view, count_names, plain_facts
from bindgen.scope import Scope

HEADER = """
#include <stdint.h>
enum kind { KIND_A = 1, KIND_B };
struct point { int32_t x; float y; const char * label; };
struct line { struct point from; struct point to; enum kind kind; };
int32_t measure(const struct line * line, enum kind kind);
#define LIMIT (1 << 3)
#define NAME "a \\"quoted\\" name"
#define RATIO 0.1
"""


@pytest.fixture(scope="module")
def compiled(bindings: Bindings, source: Path) -> Facts:
    return compiler_view(bindings, source)


def test_compiler_and_bindings_agree_on_every_name(bindings: Bindings, compiled: Facts) -> None:
    assert list(differences(facts(bindings, LP64), compiled)) == []
    assert count_names(compiled) > 1900
    assert digest(compiled) == digest(facts(bindings, LP64))


def test_the_compiler_judged_every_type(compiled: Facts) -> None:
    assert None not in compiled["functions"].values()
    assert all(f[2] is not None for s in compiled["structs"].values() for f in s["fields"].values())


def test_cffi_agrees_on_every_name(bindings: Bindings) -> None:
    view = cffi_view(bindings)
    assert list(differences(plain_facts(bindings, view), view)) == []
    assert len(view["functions"]) == 1012


def test_the_module_in_the_repository_agrees_with_the_compiler(compiled: Facts) -> None:
    """The same comparison without the generator: the committed file against what gcc says."""
    from llama_ffi._abi._ffi import ffi

    seen = 0
    for name, struct in compiled["structs"].items():
        assert (ffi.sizeof(name), ffi.alignof(name)) == (struct["size"], struct["align"]), name
        for field, (offset, size, _) in struct["fields"].items():
            path = field.split(".")
            assert ffi.offsetof(name, *path) == offset, (name, field)
            ctype = ffi.typeof(name)
            for part in path:
                ctype = _member(ctype, part)
            assert ffi.sizeof(ctype) == size, (name, field)
            seen += 1
    for name, enum in compiled["enums"].items():
        assert dict(ffi.typeof(f"enum {name}").relements) == enum["members"], name
    assert seen > 300


def _member(ctype: Any, name: str) -> Any:
    """Return the type of a field, looking into anonymous members as C does."""
    for field, about in ctype.fields:
        if field == name:
            return about.type
        if not field:
            found = _member(about.type, name)
            if found is not None:
                return found
    return None


def test_the_manifest_gives_the_probes_form_back(compiled: Facts) -> None:
    from llama_ffi._abi import manifest

    assert canonical(manifest.probe("lp64")) == canonical(compiled)
    assert digest(manifest.probe("llp64")) == manifest.LAYOUT_SHA256["llp64"]


def swap_fields(item: Declaration) -> Declaration:
    if isinstance(item, Record) and item.tag == "point":
        x, y, label = item.fields or ()
        return replace(item, fields=(y, x, label))
    return item


def retype_field(item: Declaration) -> Declaration:
    if isinstance(item, Record) and item.tag == "point":
        x, y, label = item.fields or ()
        return replace(item, fields=(replace(x, type=Primitive("float")), y, label))
    return item


def shift_enum(item: Declaration) -> Declaration:
    if isinstance(item, Enum):
        return replace(item, members=tuple(replace(m, value=m.value + 1) for m in item.members))
    return item


def change_parameter(item: Declaration) -> Declaration:
    if isinstance(item, Function):
        line, _ = item.type.params
        return replace(item, type=replace(item.type, params=(line, Param("kind", Primitive("double")))))
    return item


def drop_const(item: Declaration) -> Declaration:
    if isinstance(item, Function):
        line, kind = item.type.params
        target = line.type.target.base  # type: ignore[union-attr]
        plain = replace(line, type=replace(line.type, target=target))
        return replace(item, type=replace(item.type, params=(plain, kind)))
    return item


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (swap_fields, "structs / struct point / fields / x"),
        (retype_field, "structs / struct point / fields / x"),
        (shift_enum, "enums / kind / members / KIND_A"),
        (change_parameter, "functions / measure"),
        (drop_const, "functions / measure"),
    ],
)
def test_the_compiler_sees(
    bind: Callable[[str], Bindings],
    tmp_path: Path,
    change: Callable[[Declaration], Declaration],
    expected: str,
) -> None:
    honest = bind(HEADER)
    assert list(differences(facts(honest, LP64), compiler_view(honest, tmp_path))) == []
    unit = Unit(tuple(change(d) for d in honest.unit.declarations))
    wrong = replace(honest, unit=unit, scope=Scope.of(unit))
    found = list(differences(facts(wrong, LP64), compiler_view(wrong, tmp_path)))
    assert any(line.startswith(expected) for line in found), found


def test_text_and_floats_survive_the_probe(bind: Callable[[str], Bindings], tmp_path: Path) -> None:
    constants = compiler_view(bind(HEADER), tmp_path)["constants"]
    assert constants == {"LIMIT": 8, "NAME": 'a "quoted" name', "RATIO": 0.1}


def test_the_other_data_model_has_its_own_digest(bind: Callable[[str], Bindings]) -> None:
    bindings = bind("struct s { char c; long value; };")
    assert facts(bindings, LP64)["structs"]["struct s"]["size"] == 16
    assert facts(bindings, LLP64)["structs"]["struct s"]["size"] == 8


def test_differences_name_missing_and_unexpected() -> None:
    old = {"structs": {"a": {"size": 4}}, "enums": {}}
    new = {"structs": {}, "enums": {"e": 1}}
    assert list(differences(old, new)) == [
        "enums / e: not expected, is 1",
        "structs / a: {'size': 4} expected, missing",
    ]
