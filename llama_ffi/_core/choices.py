"""Enums by name: what a user may write for a C enum's value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .binding import Binding


class Members(dict[str, Any]):
    """The values of a C enum by their names in lower case.

    A member that only the pinned llama.cpp has equals nothing on an older one, so that asking whether a value
    is that member needs no further question.
    """

    def __init__(self, active: Binding, c_enum: str) -> None:
        super().__init__((member.name.lower(), member) for member in active.enum(c_enum))
        self._pinned = None if active.other is None else active.pinned_enum(c_enum)

    def __missing__(self, name: str) -> object:
        if self._pinned is not None and name.upper() in self._pinned.__members__:
            return object()
        raise KeyError(name)


def members(active: Binding, c_enum: str, **extra: int) -> dict[str, Any]:
    """Return the values of a C enum by their names in lower case."""
    named = Members(active, c_enum)
    named.update(extra)
    return named


def named_of(named: dict[str, Any], value: int) -> str:
    """Return the name of an enum's value."""
    return next(name for name, each in named.items() if each == value)
