"""What the headers declare, as frozen dataclasses.

Nothing here knows pycparser or any output format: `parse` builds these, the emitters read them.
Every declaration carries the place it came from, so that any later complaint can name it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Location:
    """A place in a header: path relative to the source root, and line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


# --- types ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Primitive:
    """An arithmetic type or `void`, under its canonical C spelling (`unsigned int`, `bool`)."""

    name: str


@dataclass(frozen=True)
class Named:
    """A use of a typedef, ours or one of the C library's (`int32_t`, `FILE`)."""

    name: str


@dataclass(frozen=True)
class Tagged:
    """A use of `struct tag`, `union tag` or `enum tag`."""

    kind: str
    tag: str


@dataclass(frozen=True)
class Qualified:
    """A type with `const` or `volatile` on it."""

    base: Type
    quals: tuple[str, ...]


@dataclass(frozen=True)
class Pointer:
    """A pointer to `target`."""

    target: Type


@dataclass(frozen=True)
class Array:
    """`length` items, or an unknown number when `length` is None."""

    item: Type
    length: int | None


@dataclass(frozen=True)
class FunctionType:
    """A function's result and parameters; arrays among the latter have already decayed."""

    result: Type
    params: tuple[Param, ...]
    variadic: bool = False


@dataclass(frozen=True)
class Inline:
    """A struct, union or enum without a tag, defined where it is used."""

    definition: Record | Enum


Type = Primitive | Named | Tagged | Qualified | Pointer | Array | FunctionType | Inline


@dataclass(frozen=True)
class Param:
    """One parameter; the name is what the header says, or None."""

    name: str | None
    type: Type


# --- declarations --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """A member of a record; an anonymous struct or union member has no name."""

    name: str | None
    type: Type
    location: Location
    bits: int | None = None
    deprecated: str | None = None


@dataclass(frozen=True)
class Record:
    """A struct or union; `fields` is None when it is only declared, never defined."""

    kind: str
    tag: str | None
    fields: tuple[Field, ...] | None
    location: Location
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Enumerator:
    """A named value of an enum; `text` is the initialiser as written, if there is one."""

    name: str
    value: int
    text: str | None
    location: Location


@dataclass(frozen=True)
class Enum:
    """An enum with every value evaluated."""

    tag: str | None
    members: tuple[Enumerator, ...]
    location: Location


@dataclass(frozen=True)
class Typedef:
    """A name for a type."""

    name: str
    type: Type
    location: Location


@dataclass(frozen=True)
class Function:
    """A function declaration, or a definition in the header (`inline` then)."""

    name: str
    type: FunctionType
    location: Location
    deprecated: str | None = None
    inline: bool = False
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variable:
    """A variable that a library exports."""

    name: str
    type: Type
    location: Location


@dataclass(frozen=True)
class Constant:
    """A macro or `static const` with a value; `text` is its definition as written."""

    name: str
    value: int | float | str
    text: str
    location: Location


@dataclass(frozen=True)
class Skipped:
    """Something declared that has no binding, and why."""

    kind: str
    name: str
    reason: str
    location: Location


Declaration = Record | Enum | Typedef | Function | Variable | Constant


@dataclass(frozen=True)
class Unit:
    """All headers together, in the order of declaration."""

    declarations: tuple[Declaration, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def functions(self) -> tuple[Function, ...]:
        """Return the functions in the order of declaration."""
        return tuple(d for d in self.declarations if isinstance(d, Function))

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the structs and unions with a tag in the order of declaration."""
        return tuple(d for d in self.declarations if isinstance(d, Record))

    @property
    def enums(self) -> tuple[Enum, ...]:
        """Return the enums in the order of declaration."""
        return tuple(d for d in self.declarations if isinstance(d, Enum))

    @property
    def typedefs(self) -> tuple[Typedef, ...]:
        """Return the typedefs in the order of declaration."""
        return tuple(d for d in self.declarations if isinstance(d, Typedef))

    @property
    def constants(self) -> tuple[Constant, ...]:
        """Return the macros and `static const` values in the order of declaration."""
        return tuple(d for d in self.declarations if isinstance(d, Constant))

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Return the exported variables in the order of declaration."""
        return tuple(d for d in self.declarations if isinstance(d, Variable))
