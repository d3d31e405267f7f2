"""Enums by name: what a user may write for a C enum's value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .binding import Binding


def members(active: Binding, c_enum: str, **extra: int) -> dict[str, Any]:
    """Return the values of a C enum by their names in lower case."""
    named = {member.name.lower(): member for member in active.enum(c_enum)}
    named.update(extra)
    return named


def named_of(named: dict[str, Any], value: int) -> str:
    """Return the name of an enum's value."""
    return next(name for name, each in named.items() if each == value)
