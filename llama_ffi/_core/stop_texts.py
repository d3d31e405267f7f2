"""Texts that end a generation, found although they are spread over tokens."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ArgumentTypeError
from . import check


def until(text: str, stops: list[str]) -> tuple[str, str, bool]:
    """Return (what can be yielded, what must be held back, whether a stop text was found)."""
    ends = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    if ends:
        return text[: min(ends)], "", True
    longest = max(map(len, stops)) - 1
    for length in range(min(longest, len(text)), 0, -1):
        tail = text[-length:]
        if any(stop.startswith(tail) for stop in stops):
            return text[:-length], tail, False
    return text, "", False


def listed(stop: str | Sequence[str] | None) -> list[str]:
    """Return what a caller gave as ``stop`` as a list, without empty texts.

    Raises:
        ArgumentTypeError: not a text, a list of texts or None.
    """
    if stop is None:
        return []
    stops = [stop] if isinstance(stop, str) else check.listed("stop", stop, "texts")
    for each in stops:
        if not isinstance(each, str):
            raise ArgumentTypeError(f"stop must be text or a list of texts, not {type(each).__name__}")
    return [each for each in stops if each]
