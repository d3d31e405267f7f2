"""Checks of arguments before they reach C.

Each returns the value as C wants it, or raises a typed error that names the argument, the value and
the range. cffi would refuse some of them too, with messages that name neither.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any, SupportsFloat, SupportsIndex

from ..errors import ArgumentTypeError, InvalidArgumentError, SequenceRangeError, TokenRangeError

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
UINT32_MAX = 2**32 - 1

MOST_SECONDS = 1e6
"""Eleven days: ``poll`` takes milliseconds in an int."""
_SHOWN = 200
"""Characters of a value in a message."""


def integer(
    name: str, value: SupportsIndex, low: int = INT32_MIN, high: int = INT32_MAX, why: str = ""
) -> int:
    """Return ``value`` as an int in [low, high]; bool counts as a mistake, numpy integers are fine."""
    if isinstance(value, bool):
        raise ArgumentTypeError(f"{name} must be an integer, not {value}")
    try:
        number = operator.index(value)
    except TypeError:
        raise ArgumentTypeError(f"{name} must be an integer, not {type(value).__name__}") from None
    if not low <= number <= high:
        raise InvalidArgumentError(
            f"{name} is {shown(number)}; it must lie in [{low}, {high}]{_because(why)}"
        )
    return number


def real(
    name: str,
    value: SupportsFloat,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    finite: bool = True,
    why: str = "",
) -> float:
    """Return ``value`` as a float in [low, high]; NaN never passes, infinity only with ``finite=False``."""
    if isinstance(value, str | bytes):
        raise ArgumentTypeError(f"{name} must be a number, not {type(value).__name__}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"{name} must be a number, not {type(value).__name__}") from None
    except OverflowError:
        raise InvalidArgumentError(f"{name} is too large for a float") from None
    if math.isnan(number) or (finite and math.isinf(number)):
        raise InvalidArgumentError(f"{name} is {number}; it must be a finite number{_because(why)}")
    if not low <= number <= high:
        raise InvalidArgumentError(f"{name} is {number}; it must lie in [{low}, {high}]{_because(why)}")
    return number


def seed(value: SupportsIndex) -> int:
    """Return a seed as C takes it: 32 bits, unsigned."""
    return integer("seed", value, 0, UINT32_MAX)


def token(value: SupportsIndex, n_vocab: int, name: str = "token") -> int:
    """Return a token id in [0, n_vocab)."""
    if isinstance(value, bool):
        raise ArgumentTypeError(f"{name} must be a token id, not {value}")
    try:
        number = operator.index(value)
    except TypeError:
        raise ArgumentTypeError(
            f"{name} must be a token id (an integer), not {type(value).__name__}"
        ) from None
    if not 0 <= number < n_vocab:
        raise TokenRangeError(f"{name} is {shown(number)}; the vocabulary has the ids 0 to {n_vocab - 1}")
    return number


def sequence(
    value: SupportsIndex, n_seq_max: int, name: str = "seq_id", *, any_below_zero: bool = False
) -> int:
    """Return a sequence id in [0, n_seq_max); with ``any_below_zero`` -1 stands for every sequence."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ArgumentTypeError(f"{name} must be an integer, not {type(value).__name__}") from None
    if any_below_zero and number == -1:
        return -1
    if not 0 <= number < n_seq_max:
        every = ", or -1 for all" if any_below_zero else ""
        given = shown(number)
        raise SequenceRangeError(
            f"{name} is {given}; the sequences are 0 to {n_seq_max - 1}{every} (n_seq_max={n_seq_max})"
        )
    return number


def position(name: str, value: SupportsIndex | None) -> int:
    """Return a position for a memory range: -1 (or None) stands for an open end."""
    return -1 if value is None else integer(name, value, -1, INT32_MAX, "-1 leaves that end open")


def choice(name: str, value: Any, allowed: dict[str, Any]) -> Any:
    """Return what ``value`` names in ``allowed`` (in any case), or ``value`` if it is one of its values."""
    if isinstance(value, str):
        wanted = value.lower()
        if wanted in allowed:
            return allowed[wanted]
    elif isinstance(value, int) and not isinstance(value, bool) and value in allowed.values():
        return value
    raise InvalidArgumentError(f"{name} is {shown(value)}; choose one of: {', '.join(sorted(allowed))}")


def instance(name: str, value: object, cls: type) -> None:
    """Raise unless ``value`` is a ``cls``."""
    if not isinstance(value, cls):
        raise ArgumentTypeError(f"{name} must be a {cls.__name__}, not {type(value).__name__}")


def mapping(name: str, value: Mapping[Any, Any]) -> int:
    """Return how many entries a mapping has; raise if it is none."""
    if not isinstance(value, Mapping):
        raise ArgumentTypeError(f"{name} must be a dict, not {type(value).__name__}")
    return len(value)


def function(name: str, value: object) -> None:
    """Raise unless ``value`` can be called, or is None."""
    if value is not None and not callable(value):
        raise ArgumentTypeError(f"{name} must be a function, not {type(value).__name__}")


def listed(name: str, value: Iterable[Any], of: str) -> list[Any]:
    """Return what ``value`` holds as a list; text counts as a mistake for a list of one."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ArgumentTypeError(f"{name} must be a list of {of}, not {type(value).__name__}")
    try:
        return list(value)
    except TypeError as error:  # an array without dimensions says that it is iterable
        raise ArgumentTypeError(f"{name} must be a list of {of}: {error}") from error


def names(name: str, value: Iterable[str]) -> list[str]:
    """Return what ``value`` holds as a list; all of it must be text."""
    found = listed(name, value, "names")
    for each in found:
        if not isinstance(each, str):
            raise ArgumentTypeError(f"{name} must be a list of names, but holds a {type(each).__name__}")
    return found


def truth(name: str, value: Any) -> bool:
    """Return whether ``value`` is true, as Python sees it; an array has no answer."""
    try:
        return bool(value)
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"{name} must be True or False, not {type(value).__name__}") from None


def seconds(name: str, value: SupportsFloat) -> float:
    """Return a time in seconds that the system can wait for."""
    return real(name, value, 0.0, MOST_SECONDS)


def shown(value: Any) -> str:
    """Return how a message shows ``value``: some have no text, or a very long one."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; lists in lists in lists
        return f"an object of type {type(value).__name__} too large to be shown"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _because(why: str) -> str:
    return f" ({why})" if why else ""
