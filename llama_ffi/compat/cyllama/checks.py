"""Arguments that the shells look at themselves; all others the safe layer checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from ...errors import ArgumentTypeError

T = TypeVar("T")


def instance(name: str, value: Any, cls: type[T]) -> T:
    """Return ``value``, or raise that it is no ``cls``."""
    if not isinstance(value, cls):
        raise ArgumentTypeError(f"{name} must be a {cls.__name__}, not {type(value).__name__}")
    return value


def tokens(name: str, value: Any) -> Sequence[int]:
    """Return a sequence of tokens, or raise that ``value`` is none."""
    if isinstance(value, str | bytes) or not hasattr(value, "__len__") or not hasattr(value, "__getitem__"):
        raise ArgumentTypeError(f"{name} must be a list of tokens, not {type(value).__name__}")
    found: Sequence[int] = value
    return found


def listed(name: str, value: Any, what: str) -> list[Any]:
    """Return what can be iterated over as a list, or raise that ``value`` can't."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ArgumentTypeError(f"{name} must be a list of {what}, not {type(value).__name__}")
    return list(value)
