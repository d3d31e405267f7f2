"""The facts that a C compiler can judge, in one canonical form.

`facts` computes them from the IR for a data model; the probe prints the compiler's view in the same
form; `differences` compares two views name by name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from .analyze import Bindings
from .ir import Function, Inline, Named
from .models import DataModel
from .scope import NoLayout, Scope
from .spell import spell

Facts = dict[str, Any]


def facts(bindings: Bindings, model: DataModel) -> Facts:
    """Return sizes, offsets, field types, enum values, constants and signatures under `model`."""
    scope = Scope.of(bindings.unit, model)
    structs: Facts = {}
    for name, record in bindings.named_records():
        layout = scope.layout(record)
        structs[name] = {
            "size": layout.size,
            "align": layout.align,
            "fields": {field: [offset, size, spell(type)] for field, offset, size, type in layout.fields},
        }
    enums: Facts = {}
    for name, enum in bindings.named_enums():
        size, _ = scope.size_align(Inline(enum))
        enums[name] = {"size": size, "members": {m.name: m.value for m in enum.members}}
    constants: Facts = {c.name: c.value for c in bindings.unit.constants}
    constants.update((m.name, m.value) for m in bindings.loose_members())
    return {
        "data_model": model.name,
        "structs": structs,
        "enums": enums,
        "constants": constants,
        "functions": {f.name: signature(f) for f in bindings.unit.functions},
        "typedefs": {
            t.name: scope.size_align(t.type)[0] for t in bindings.unit.typedefs if sized(scope, t.name)
        },
    }


def sized(scope: Scope, typedef: str) -> bool:
    """Return whether a typedef names something with a size: a number, a pointer or a defined record."""
    try:
        scope.size_align(Named(typedef))
    except NoLayout:
        return False
    return True


def signature(function: Function) -> str:
    """Return the type of a function as C, without its name."""
    return spell(function.type)


def canonical(view: Facts) -> str:
    """Return the canonical JSON text: sorted keys, no spaces, ASCII, no newline at the end."""
    return json.dumps(view, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest(view: Facts) -> str:
    """Return the SHA-256 of the canonical JSON in hexadecimal."""
    return hashlib.sha256(canonical(view).encode()).hexdigest()


def differences(expected: Mapping[str, Any], actual: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield one line for each name whose facts differ between two views."""
    for key in sorted({*expected, *actual}):
        here = f"{path}{key}"
        if key not in actual:
            yield f"{here}: {expected[key]!r} expected, missing"
        elif key not in expected:
            yield f"{here}: not expected, is {actual[key]!r}"
        elif isinstance(expected[key], Mapping) and isinstance(actual[key], Mapping):
            yield from differences(expected[key], actual[key], f"{here} / ")
        elif expected[key] != actual[key]:
            yield f"{here}: {expected[key]!r} expected, is {actual[key]!r}"
