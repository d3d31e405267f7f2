"""The names known so far, and how large their types are.

The parser fills a `Scope` as it goes, because C lets an enum value or an array length depend on
anything declared above it; the emitters ask it afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import BindgenError
from .ir import (
    Array,
    Enum,
    FunctionType,
    Inline,
    Named,
    Pointer,
    Primitive,
    Qualified,
    Record,
    Tagged,
    Type,
    Unit,
)
from .models import LP64, DataModel, Number, number
from .spell import spell


class NoLayout(BindgenError):
    """A type whose size cannot be known: incomplete, a function, or not understood."""


@dataclass(frozen=True)
class RecordLayout:
    """Size and alignment in bytes, and (dotted name, offset, size, type) of every member.

    Members of a nested record follow the record itself; those of an anonymous one stand alone,
    without a prefix, as C names them.
    """

    size: int
    align: int
    fields: tuple[tuple[str, int, int, Type], ...]


@dataclass
class Scope:
    """Typedefs, records, enums and constants by name, under one data model."""

    model: DataModel = LP64
    typedefs: dict[str, Type] = field(default_factory=dict)
    records: dict[tuple[str, str], Record] = field(default_factory=dict)
    enums: dict[str, Enum] = field(default_factory=dict)
    constants: dict[str, int | float | str] = field(default_factory=dict)

    @classmethod
    def of(cls, unit: Unit, model: DataModel = LP64) -> Scope:
        """Return the scope at the end of `unit`, under another data model perhaps."""
        scope = cls(model)
        for typedef in unit.typedefs:
            scope.typedefs[typedef.name] = typedef.type
        for record in unit.records:
            scope.records[record.kind, record.tag or ""] = record
        for enum in unit.enums:
            scope.enums[enum.tag or ""] = enum
        return scope

    def resolve(self, type: Type) -> Type:
        """Follow typedefs and qualifiers to the type itself."""
        while True:
            if isinstance(type, Qualified):
                type = type.base
            elif isinstance(type, Named) and type.name in self.typedefs:
                type = self.typedefs[type.name]
            else:
                return type

    def record(self, type: Type) -> Record | None:
        """Return the struct or union that `type` is, defined or not; None for anything else."""
        type = self.resolve(type)
        if isinstance(type, Tagged) and type.kind != "enum":
            return self.records.get((type.kind, type.tag))
        if isinstance(type, Inline) and isinstance(type.definition, Record):
            return type.definition
        return None

    def enum(self, type: Type) -> Enum | None:
        """Return the enum that `type` is; None for anything else."""
        type = self.resolve(type)
        if isinstance(type, Tagged) and type.kind == "enum":
            return self.enums.get(type.tag)
        if isinstance(type, Inline) and isinstance(type.definition, Enum):
            return type.definition
        return None

    def number(self, type: Type) -> Number | None:
        """Return the arithmetic type that `type` is, enums included; None for anything else."""
        type = self.resolve(type)
        if isinstance(type, (Primitive, Named)):
            return number(type.name, self.model)
        enum = self.enum(type)
        if enum is None:
            return None
        # gcc and clang choose unsigned when nothing is negative, and 8 bytes when 4 are too few;
        # Microsoft's compiler always int.
        if self.model.name == "llp64":
            return Number("int", 4)
        lowest, highest = (f(m.value for m in enum.members) for f in (min, max))
        signed = lowest < 0
        fits = lowest >= -(1 << 31) and highest < (1 << 31 if signed else 1 << 32)
        return Number("int", 4 if fits else 8, signed)

    def size_align(self, type: Type) -> tuple[int, int]:
        """Return sizeof and alignof.

        Raises NoLayout for an incomplete type.
        """
        type = self.resolve(type)
        if isinstance(type, Pointer):
            return self.model.pointer, self.model.pointer
        if isinstance(type, Array):
            if type.length is None:
                raise NoLayout("array of unknown length")
            size, align = self.size_align(type.item)
            return size * type.length, align
        if isinstance(type, FunctionType):
            raise NoLayout("a function has no size")
        if arithmetic := self.number(type):
            return arithmetic.size, arithmetic.size
        record = self.record(type)
        if record is None or record.fields is None:
            raise NoLayout(f"incomplete type {spell(type)}")
        layout = self.layout(record)
        return layout.size, layout.align

    def layout(self, record: Record) -> RecordLayout:
        """Lay a defined record out.

        Raises NoLayout for bit-fields, packing attributes and incomplete members.
        """
        if record.fields is None:
            raise NoLayout(f"{record.kind} {record.tag} is never defined", record.location)
        if record.attributes:
            raise NoLayout(f"attribute {record.attributes[0]} changes the layout", record.location)
        end, align = 0, 1
        members: list[tuple[str, int, int, Type]] = []
        for member in record.fields:
            if member.bits is not None:
                raise NoLayout(f"bit-field {member.name or '(unnamed)'}", member.location)
            try:
                size, alignment = self.size_align(member.type)
            except NoLayout as error:
                raise NoLayout(str(error), error.location or member.location) from None
            offset = 0 if record.kind == "union" else -(-end // alignment) * alignment
            end, align = max(end, offset + size), max(align, alignment)
            if member.name is not None:
                members.append((member.name, offset, size, member.type))
            here = member.type.base if isinstance(member.type, Qualified) else member.type
            nested = self.record(here) if isinstance(here, Inline) else None
            if nested is not None:
                prefix = "" if member.name is None else f"{member.name}."
                members += [(prefix + n, offset + o, s, t) for n, o, s, t in self.layout(nested).fields]
        return RecordLayout(-(-end // align) * align, align, tuple(members))
