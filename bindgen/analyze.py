"""Decide what can be bound, and give a reason for everything that cannot.

A struct is bound by value when its definition is visible and every member can be laid out; otherwise
it stays opaque and only pointers to it exist.  A function is bound when every type in its signature
can be passed.  What falls out becomes a `Skipped`; nothing disappears.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .config import Config
from .ir import (
    Array,
    Constant,
    Declaration,
    Enum,
    Enumerator,
    Field,
    Function,
    FunctionType,
    Inline,
    Location,
    Named,
    Pointer,
    Primitive,
    Qualified,
    Record,
    Skipped,
    Tagged,
    Type,
    Typedef,
    Unit,
    Variable,
)
from .models import LP64, OPAQUE_LIBRARY_TYPES, number
from .scope import NoLayout, Scope


@dataclass(frozen=True)
class Bindings:
    """What the emitters work on: bindable declarations only, and all that was left out."""

    unit: Unit
    scope: Scope
    config: Config
    commit: str
    headers_sha256: str

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Return what has no binding, in the order of the headers."""
        return self.unit.skipped

    def library_of(self, function: Function) -> str:
        """Return the key of the library that exports `function`."""
        return self.config.library_of(function.name, function.location.file)

    @property
    def unavailable(self) -> Mapping[str, str]:
        """Return the functions that are declared but exported by no library, with the reason."""
        declared = {f.name for f in self.unit.functions}
        return {name: why for name, why in sorted(self.config.undefined.items()) if name in declared}

    def named_records(self) -> list[tuple[str, Record]]:
        """Return every defined struct and union under its C spelling, in the order of declaration."""
        found = []
        for item in self.unit.declarations:
            record = _definition(item)
            if isinstance(record, Record) and record.fields is not None:
                found.append(
                    (item.name if isinstance(item, Typedef) else f"{record.kind} {record.tag}", record)
                )
        return found

    def named_enums(self) -> list[tuple[str, Enum]]:
        """Return every enum that has a name, by tag or typedef, under that bare name."""
        found = []
        for item in self.unit.declarations:
            enum = _definition(item)
            name = item.name if isinstance(item, Typedef) else enum.tag if enum else None
            if isinstance(enum, Enum) and name is not None:
                found.append((name, enum))
        return found

    def spell_enum(self, name: str) -> str:
        """Return the C spelling of an enum known by its bare name."""
        return f"enum {name}" if name in self.scope.enums else name

    def loose_members(self) -> list[Enumerator]:
        """Return the members of enums without a name."""
        return [m for e in self.unit.enums if e.tag is None for m in e.members]


def _definition(item: Declaration) -> Record | Enum | None:
    """Return the struct, union or enum that a declaration defines, under a tag or a typedef."""
    if isinstance(item, Typedef):
        return item.type.definition if isinstance(item.type, Inline) else None
    return item if isinstance(item, (Record, Enum)) else None


def analyze(unit: Unit, config: Config, commit: str, headers_sha256: str) -> Bindings:
    """Sort the declarations of `unit` into bound and skipped."""
    analysis = _Analysis(Scope.of(unit, LP64))
    bound = [kept for d in unit.declarations if (kept := analysis.keep(d)) is not None]
    skipped = sorted(
        [*unit.skipped, *analysis.skipped], key=lambda s: (s.location.file, s.location.line, s.name)
    )
    result = Unit(tuple(bound), tuple(skipped))
    return Bindings(result, Scope.of(result, LP64), config, commit, headers_sha256)


class _Analysis:
    """Walks the declarations in order; later ones see what happened to earlier ones."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.skipped: list[Skipped] = []
        self._dropped: dict[str, str] = {}  # typedef name -> why it has no binding

    def keep(self, declaration: Declaration) -> Declaration | None:
        """Return the declaration as it will be bound, or None after noting why not."""
        if isinstance(declaration, (Constant, Enum)):
            return declaration
        if isinstance(declaration, Record):
            return self._record(declaration)
        if isinstance(declaration, Typedef):
            return self._typedef(declaration)
        if isinstance(declaration, Variable):
            kind, problem = "variable", self._problem(declaration.type)
        else:
            kind, problem = "function", self._function_problem(declaration)
        if problem is None:
            return declaration
        self._skip(kind, declaration.name, problem, declaration.location)
        return None

    def _skip(self, kind: str, name: str, reason: str, location: Location) -> None:
        self.skipped.append(Skipped(kind, name, reason, location))

    def _record(self, record: Record) -> Record:
        if record.fields is None:
            return record
        problem = self._record_problem(record)
        if problem is None:
            return record
        reason, location = problem
        self._skip(record.kind, record.tag or "", f"{reason}: only pointers to it are bound", location)
        opaque = replace(record, fields=None, attributes=())
        self.scope.records[record.kind, record.tag or ""] = opaque
        return opaque

    def _record_problem(self, record: Record) -> tuple[str, Location] | None:
        for member in record.fields or ():
            if reason := self._problem(member.type):
                return f"member {member.name}: {reason}", member.location
        try:
            self.scope.layout(record)
        except NoLayout as error:
            text = str(error).partition(": ")[2] if error.location else str(error)
            return text, error.location or record.location
        return None

    def _typedef(self, typedef: Typedef) -> Typedef | None:
        if isinstance(typedef.type, Inline) and isinstance(typedef.type.definition, Record):
            problem = self._record_problem(typedef.type.definition)
            if problem is None:
                return typedef
            reason, location = problem
            self._skip("typedef", typedef.name, f"{reason}: only pointers to it are bound", location)
            opaque: Type = Tagged(typedef.type.definition.kind, typedef.name)
            self.scope.typedefs[typedef.name] = opaque
            return replace(typedef, type=opaque)
        reason_here = self._problem(typedef.type, by_value=False)
        if reason_here:
            self._dropped[typedef.name] = reason_here
            self._skip("typedef", typedef.name, reason_here, typedef.location)
            return None
        return typedef

    def _function_problem(self, function: Function) -> str | None:
        if function.inline:
            return "defined in the header (static or inline): no library exports it"
        if function.attributes:
            return f"attribute {function.attributes[0]} is not understood"
        return self._signature_problem(function.type)

    def _signature_problem(self, type: FunctionType) -> str | None:
        for what, part in (
            ("result", type.result),
            *((f"parameter {p.name or '?'}", p.type) for p in type.params),
        ):
            if part == Primitive("void"):
                continue
            reason = self._problem(part) or self._passing_problem(part)
            if reason:
                return f"{what}: {reason}"
        return None

    def _passing_problem(self, type: Type) -> str | None:
        """Say why a type that can be laid out cannot be passed by value."""
        record = self.scope.record(type)
        if record is None:
            return None
        if record.kind == "union":
            return "a union by value"
        for member in record.fields or ():
            item = self.scope.resolve(member.type)
            while isinstance(item, Array):
                item = self.scope.resolve(item.item)
            if reason := self._passing_problem(item):
                return f"a struct by value that holds {reason.removesuffix(' by value')}"
        return None

    def _problem(self, type: Type, by_value: bool = True) -> str | None:
        """Say why values of `type` cannot be bound; with `by_value` False it may be incomplete."""
        if isinstance(type, Qualified):
            return self._problem(type.base, by_value)
        if isinstance(type, Primitive):
            known = type.name == "void" or number(type.name, LP64) is not None
            return (
                None
                if known and not (by_value and type.name == "void")
                else f"type {type.name!r} is not supported"
            )
        if isinstance(type, Named):
            return self._named_problem(type.name, by_value)
        if isinstance(type, Pointer):
            return self._problem(type.target, by_value=False)
        if isinstance(type, Array):
            return self._problem(type.item, by_value)
        if isinstance(type, FunctionType):
            return self._signature_problem(type)
        if isinstance(type, Inline):
            fields: tuple[Field, ...] = getattr(type.definition, "fields", None) or ()
            return next((r for f in fields if (r := self._problem(f.type))), None)
        return self._tag_problem(type, by_value)

    def _named_problem(self, name: str, by_value: bool) -> str | None:
        if name in self._dropped:
            return f"{name}: {self._dropped[name]}"
        if name in self.scope.typedefs:
            return self._problem(self.scope.typedefs[name], by_value)
        if number(name, LP64) or (name in OPAQUE_LIBRARY_TYPES and not by_value):
            return None
        return f"type {name!r} is not supported"

    def _tag_problem(self, type: Tagged, by_value: bool) -> str | None:
        if not by_value or type.kind == "enum":
            return None
        record = self.scope.records.get((type.kind, type.tag))
        if record is None or record.fields is None:
            return f"{type.kind} {type.tag} is incomplete or opaque and used by value"
        return None
