"""`bindgen diff OLD NEW`: what changed between two header sets, and whom it breaks.

Two questions per change.  *Source compatible*: does code written against the old headers still
compile?  *ABI compatible*: do bindings made from the old headers still work with a library of the
new ones?  An inserted field answers yes and no, a removed function no and no.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .analyze import Bindings
from .ir import (
    Array,
    Constant,
    Function,
    FunctionType,
    Named,
    Param,
    Pointer,
    Qualified,
    Type,
    Typedef,
)
from .layout import facts
from .models import LP64
from .scope import Scope
from .spell import spell


@dataclass(frozen=True)
class Change:
    """One difference; `where` is a place in the new headers, or in the old ones for what is gone."""

    kind: str
    name: str
    detail: str
    where: str
    source_compatible: bool
    abi_compatible: bool


@dataclass(frozen=True)
class Comparison:
    """All differences between two header sets."""

    old: str
    new: str
    changes: tuple[Change, ...]

    @property
    def source_compatible(self) -> bool:
        """Return whether every change is source compatible."""
        return all(change.source_compatible for change in self.changes)

    @property
    def abi_compatible(self) -> bool:
        """Return whether no change breaks the ABI."""
        return all(change.abi_compatible for change in self.changes)

    def json(self) -> str:
        """Return the comparison as JSON."""
        whole = {
            "old": self.old,
            "new": self.new,
            "source_compatible": self.source_compatible,
            "abi_compatible": self.abi_compatible,
            "changes": [asdict(change) for change in self.changes],
        }
        return json.dumps(whole, indent=2)

    def text(self) -> str:
        """Return the comparison for people, the worst first."""
        out = [f"{self.old} -> {self.new}: {self._verdict()}"]
        for title, abi, source in _GROUPS:
            group = [c for c in self.changes if (c.abi_compatible, c.source_compatible) == (abi, source)]
            if group:
                out += ["", f"{title} ({len(group)})"]
                out += [
                    f"  {c.kind}: {c.name}{f' — {c.detail}' if c.detail else ''}  [{c.where}]" for c in group
                ]
        return "\n".join(out)

    def _verdict(self) -> str:
        if not self.changes:
            return "no changes"
        source = "source compatible" if self.source_compatible else "not source compatible"
        abi = "ABI compatible" if self.abi_compatible else "ABI breaking"
        return f"{len(self.changes)} changes, {source}, {abi}"


_GROUPS = (
    ("ABI breaking and not source compatible", False, False),
    ("ABI breaking, source compatible", False, True),
    ("Not source compatible", True, False),
    ("Compatible", True, True),
)


def compare(old: Bindings, new: Bindings, names: tuple[str, str]) -> Comparison:
    """Return what changed from `old` to `new`."""
    before, after = _View(old), _View(new)
    changes = [
        *_functions(before, after),
        *_structs(before, after),
        *_enums(before, after),
        *_constants(before, after),
        *_typedefs(before, after),
    ]
    return Comparison(*names, tuple(changes))


class _View:
    """One header set's facts, with the place of every name."""

    def __init__(self, bindings: Bindings) -> None:
        self.facts = facts(bindings, LP64)
        unit = bindings.unit
        self.deprecated = {f.name: f.deprecated for f in unit.functions if f.deprecated is not None}
        self.types = {f.name: _unnamed(f.type) for f in unit.functions}
        self._essence = _Essence(bindings.scope)
        self.essences = {f.name: self._essence.of(f.type) for f in unit.functions}
        for name, record in bindings.named_records():
            for field, _, _, type in bindings.scope.layout(record).fields:
                self.essences[f"{name}.{field}"] = self._essence.of(type)
        self.opaque = {f"{r.kind} {r.tag}" for r in unit.records if r.fields is None}
        named: list[Function | Constant | Typedef] = [*unit.functions, *unit.constants, *unit.typedefs]
        self._places = {item.name: str(item.location) for item in named}
        self._places.update((name, str(r.location)) for name, r in bindings.named_records())
        self._places.update((f"{r.kind} {r.tag}", str(r.location)) for r in unit.records)
        for name, enum in bindings.named_enums():
            self._places[name] = str(enum.location)
            self._places.update((m.name, str(m.location)) for m in enum.members)

    def place(self, name: str) -> str:
        """Return file:line of a declaration."""
        return self._places.get(name, "?")


def _unnamed(type: FunctionType) -> str:
    """Return a signature without parameter names: renaming one changes no type."""
    params = tuple(Param(None, param.type) for param in type.params)
    return spell(FunctionType(type.result, params, type.variadic))


class _Essence:
    """Writes a type without what no compiler cares about: typedefs, and spellings of one integer."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def of(self, type: Type) -> str:
        """Return the essence of a type; `const` stays, as a word of its own."""
        if isinstance(type, Qualified):
            return f"const {self.of(type.base)}" if "const" in type.quals else self.of(type.base)
        if isinstance(type, Named) and type.name in self.scope.typedefs:
            return self.of(self.scope.typedefs[type.name])
        if not self.scope.enum(type) and (number := self.scope.number(type)):
            return f"{number.kind}{number.size}{'' if number.signed else 'u'}"
        if isinstance(type, Pointer):
            return f"pointer to {self.of(type.target)}"
        if isinstance(type, Array):
            return f"{type.length} of {self.of(type.item)}"
        if isinstance(type, FunctionType):
            params = ", ".join(self.of(param.type) for param in type.params)
            return f"{self.of(type.result)} from ({params}{', ...' if type.variadic else ''})"
        return spell(type)


def _same_types(old: str, new: str) -> tuple[bool, bool]:
    """Return whether a change of type is source compatible, and ABI compatible.

    A `const` more takes what was passed before; one less does not.  Neither changes what is passed.
    """
    same = old.replace("const ", "") == new.replace("const ", "")
    return same and new.count("const ") >= old.count("const "), same


def _functions(old: _View, new: _View) -> Iterator[Change]:
    before, after = old.facts["functions"], new.facts["functions"]
    for name in sorted(before.keys() - after.keys()):
        yield Change("function removed", name, before[name], old.place(name), False, False)
    for name in sorted(after.keys() - before.keys()):
        yield Change("function added", name, after[name], new.place(name), True, True)
    for name in sorted(before.keys() & after.keys()):
        if old.types[name] != new.types[name]:
            detail = f"{before[name]} -> {after[name]}"
            source, abi = _same_types(old.essences[name], new.essences[name])
            yield Change("signature changed", name, detail, new.place(name), source, abi)
        elif before[name] != after[name]:
            detail = f"{before[name]} -> {after[name]}"
            yield Change("parameter renamed", name, detail, new.place(name), True, True)
        if name in new.deprecated and name not in old.deprecated:
            yield Change("deprecated", name, new.deprecated[name], new.place(name), True, True)


def _structs(old: _View, new: _View) -> Iterator[Change]:
    before, after = old.facts["structs"], new.facts["structs"]
    for name in sorted(before.keys() - after.keys()):
        kind = "struct made opaque" if name in new.opaque else "struct removed"
        yield Change(kind, name, "", old.place(name), False, False)
    for name in sorted(after.keys() - before.keys()):
        yield Change(
            "struct defined" if name in old.opaque else "struct added", name, "", new.place(name), True, True
        )
    for name in sorted(before.keys() & after.keys()):
        yield from _fields(name, before[name], after[name], old, new)
    for name in sorted(old.opaque - new.opaque - after.keys()):
        yield Change("struct removed", name, "opaque", old.place(name), False, True)
    for name in sorted(new.opaque - old.opaque - before.keys()):
        yield Change("struct added", name, "opaque", new.place(name), True, True)


def _fields(
    struct: str, old: Mapping[str, Any], new: Mapping[str, Any], old_view: _View, new_view: _View
) -> Iterator[Change]:
    before, after, where = old["fields"], new["fields"], new_view.place(struct)
    gone = {f: before[f] for f in before if f not in after}
    came = {f: after[f] for f in after if f not in before}
    for field, facts_of in list(gone.items()):
        twin = next((f for f, other in came.items() if other == facts_of), None)
        if twin is not None:
            del gone[field], came[twin]
            yield Change("field renamed", f"{struct}.{field}", f"now {twin}", where, False, True)
    for field, (offset, _, type) in gone.items():
        yield Change("field removed", f"{struct}.{field}", f"{type} at {offset}", where, False, False)
    for field, (offset, _, type) in came.items():
        last = offset >= old["size"]
        kind = "field appended" if last else "field inserted"
        yield Change(kind, f"{struct}.{field}", f"{type} at {offset}", where, True, False)
    for field in before:
        if field in after and before[field] != after[field]:
            (offset, _, type), (new_offset, _, new_type) = before[field], after[field]
            if type != new_type:
                key = f"{struct}.{field}"
                source, abi = _same_types(old_view.essences[key], new_view.essences[key])
                yield Change("field retyped", key, f"{type} -> {new_type}", where, source, abi)
            if offset != new_offset:
                yield Change(
                    "field moved", f"{struct}.{field}", f"offset {offset} -> {new_offset}", where, True, False
                )
    if old["size"] != new["size"] or old["align"] != new["align"]:
        detail = f"size {old['size']} -> {new['size']}, align {old['align']} -> {new['align']}"
        yield Change("struct resized", struct, detail, where, True, False)


def _enums(old: _View, new: _View) -> Iterator[Change]:
    before, after = old.facts["enums"], new.facts["enums"]
    for name in sorted(before.keys() - after.keys()):
        yield Change("enum removed", name, "", old.place(name), False, True)
    for name in sorted(after.keys() - before.keys()):
        yield Change("enum added", name, "", new.place(name), True, True)
    for name in sorted(before.keys() & after.keys()):
        ours, theirs = before[name]["members"], after[name]["members"]
        for member in ours:
            if member not in theirs:
                detail = f"{name}, was {ours[member]}"
                yield Change("enum value removed", member, detail, old.place(member), False, False)
            elif ours[member] != theirs[member]:
                detail = f"{name}, {ours[member]} -> {theirs[member]}"
                yield Change("enum value shifted", member, detail, new.place(member), True, False)
        for member in theirs:
            if member not in ours:
                yield Change(
                    "enum value added", member, f"{name}, {theirs[member]}", new.place(member), True, True
                )


def _constants(old: _View, new: _View) -> Iterator[Change]:
    before, after = old.facts["constants"], new.facts["constants"]
    for name in sorted(before.keys() - after.keys()):
        yield Change("constant removed", name, f"was {before[name]!r}", old.place(name), False, True)
    for name in sorted(after.keys() - before.keys()):
        yield Change("constant added", name, repr(after[name]), new.place(name), True, True)
    for name in sorted(before.keys() & after.keys()):
        if before[name] != after[name]:
            detail = f"{before[name]!r} -> {after[name]!r}"
            yield Change("constant changed", name, detail, new.place(name), True, False)


def _typedefs(old: _View, new: _View) -> Iterator[Change]:
    before, after = old.facts["typedefs"], new.facts["typedefs"]
    for name in sorted(before.keys() - after.keys()):
        yield Change("typedef removed", name, "", old.place(name), False, True)
    for name in sorted(before.keys() & after.keys()):
        if before[name] != after[name] and name not in new.facts["structs"]:
            detail = f"{before[name]} -> {after[name]} bytes"
            yield Change("typedef resized", name, detail, new.place(name), True, False)
