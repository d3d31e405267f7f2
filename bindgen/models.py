"""How large C's own types are: the data models, and the C library types that headers use.

LP64 is Linux and macOS on 64 bits, LLP64 is 64-bit Windows.  Nothing else is bound.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataModel:
    """The sizes that differ between platforms, in bytes."""

    name: str
    long: int
    wchar_t: int
    pointer: int = 8


LP64 = DataModel("lp64", long=8, wchar_t=4)
LLP64 = DataModel("llp64", long=4, wchar_t=2)
MODELS = {model.name: model for model in (LP64, LLP64)}


@dataclass(frozen=True)
class Number:
    """An arithmetic type: kind is "int", "bool", "char" or "float"; size in bytes."""

    kind: str
    size: int
    signed: bool = True


_FIXED = {
    "bool": Number("bool", 1, False),
    "char": Number("char", 1),
    "signed char": Number("int", 1),
    "unsigned char": Number("int", 1, False),
    "short": Number("int", 2),
    "unsigned short": Number("int", 2, False),
    "int": Number("int", 4),
    "unsigned int": Number("int", 4, False),
    "long long": Number("int", 8),
    "unsigned long long": Number("int", 8, False),
    "float": Number("float", 4),
    "double": Number("float", 8),
}
_FIXED.update({f"int{bits}_t": Number("int", bits // 8) for bits in (8, 16, 32, 64)})
_FIXED.update({f"uint{bits}_t": Number("int", bits // 8, False) for bits in (8, 16, 32, 64)})
_FIXED.update({name: Number("int", 8) for name in ("ptrdiff_t", "intptr_t", "intmax_t")})
_FIXED.update({name: Number("int", 8, False) for name in ("size_t", "uintptr_t", "uintmax_t")})

# Types that exist in the C library but cannot be laid out here; only pointers to them are bound.
OPAQUE_LIBRARY_TYPES = frozenset({"FILE"})


def number(name: str, model: DataModel) -> Number | None:
    """Return the arithmetic type called `name`, or None when there is none."""
    if name == "long":
        return Number("int", model.long)
    if name == "unsigned long":
        return Number("int", model.long, False)
    if name == "wchar_t":
        return Number("int", model.wchar_t, model.wchar_t == 4)
    return _FIXED.get(name)
