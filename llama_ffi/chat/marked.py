"""Text that knows which part of it is the template's own.

A rendered chat is one string, in which ``<|im_end|>`` written by the template and ``<|im_end|>`` typed by a
user look the same. So the constants of a template are :class:`Own` text: a ``str`` that carries the ranges
that come from the template, through everything that templates do with text. Whatever loses the ranges on its
way is taken for content. That is the safe side: a special token of the template becomes ordinary text then,
but content never becomes a special token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, SupportsIndex

Range = tuple[int, int]

_MOST_TIMES = 1000


class Own(str):
    """Text with the ranges that are the template's own; made by :func:`own` and :func:`join`."""

    __slots__ = ("ranges",)

    ranges: tuple[Range, ...]

    def __new__(cls, text: str, ranges: tuple[Range, ...] = ()) -> Own:
        self = super().__new__(cls, text)
        self.ranges = ranges
        return self

    # jinja2 calls str() on what it puts out
    def __str__(self) -> str:
        return self

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, str) or hasattr(other, "__html__"):
            return NotImplemented  # Markup escapes what is added to it, and does it itself
        return join((self, other))

    def __radd__(self, other: Any) -> Any:
        if not isinstance(other, str) or hasattr(other, "__html__"):
            return NotImplemented
        return join((other, self))

    def __mul__(self, count: SupportsIndex) -> str:
        text = str.__mul__(self, count)
        if is_own(self):
            return own(text)
        times = max(0, count.__index__())
        return join([self] * times) if times <= _MOST_TIMES else text

    __rmul__ = __mul__

    def __mod__(self, args: Any) -> str:
        text = str.__mod__(self, args)
        values = args.values() if isinstance(args, dict) else args if isinstance(args, tuple) else (args,)
        return own(text) if is_own(self) and all(map(is_own, values)) else text

    def __getitem__(self, key: Any) -> str:
        text = str.__getitem__(self, key)
        if isinstance(key, slice):
            start, _, step = key.indices(len(self))
            return self._part(start, text) if step == 1 else text
        return self._part(range(len(self))[key], text)

    def strip(self, chars: str | None = None, /) -> str:
        left = str.lstrip(self, chars)
        return self._part(len(self) - len(left), left.rstrip(chars))

    def lstrip(self, chars: str | None = None, /) -> str:
        text = str.lstrip(self, chars)
        return self._part(len(self) - len(text), text)

    def rstrip(self, chars: str | None = None, /) -> str:
        return self._part(0, str.rstrip(self, chars))

    def removeprefix(self, prefix: str, /) -> str:
        text = str.removeprefix(self, prefix)
        return self._part(len(self) - len(text), text)

    def removesuffix(self, suffix: str, /) -> str:
        return self._part(0, str.removesuffix(self, suffix))

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._pieces(str.split(self, sep, maxsplit), sep)

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._pieces(str.rsplit(self, sep, maxsplit), sep)

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        a, b, c = self._pieces(str.partition(self, sep), "")
        return a, b, c

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        a, b, c = self._pieces(str.rpartition(self, sep), "")
        return a, b, c

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> str:
        if not old:
            return str.replace(self, old, new, count)
        return join(between(self.split(old, count), new))

    def join(self, parts: Iterable[str], /) -> str:
        return join(between(parts, self))

    def upper(self) -> str:
        return self._cased(str.upper(self))

    def lower(self) -> str:
        return self._cased(str.lower(self))

    def title(self) -> str:
        return self._cased(str.title(self))

    def capitalize(self) -> str:
        return self._cased(str.capitalize(self))

    def _cased(self, text: str) -> str:
        # one letter can become two: then nobody knows where the ranges are
        return Own(text, self.ranges) if len(text) == len(self) else text

    def _part(self, start: int, text: str) -> str:
        """Return ``text``, which stands at ``start`` of this one, with its ranges."""
        end = start + len(text)
        inside = [(max(a, start) - start, min(b, end) - start) for a, b in self.ranges]
        return Own(text, tuple((a, b) for a, b in inside if a < b))

    def _pieces(self, pieces: Iterable[str], sep: str | None) -> list[str]:
        result = []
        at = 0
        for piece in pieces:
            if sep is None:  # only white space stands between the pieces
                at = str.find(self, piece, at)
            result.append(self._part(at, piece))
            at += len(piece) + len(sep or "")
        return result


Own.__name__ = "str"  # it stands in the messages of Python's errors about a template


def own(text: str) -> Own:
    """Return ``text`` as the template's own, from end to end."""
    return Own(text, ((0, len(text)),) if text else ())


def is_own(value: object) -> bool:
    """Return whether a value adds nothing but the template's own text: all of it, or a number."""
    if isinstance(value, str):
        return not value or (isinstance(value, Own) and value.ranges == ((0, len(value)),))
    return value is None or isinstance(value, int | float)


def join(parts: Iterable[str]) -> str:
    """Return the parts as one text that keeps their ranges."""
    texts = list(parts)
    ranges: list[Range] = []
    at = 0
    for text in texts:
        if isinstance(text, Own):
            for a, b in text.ranges:
                if ranges and ranges[-1][1] == at + a:
                    ranges[-1] = (ranges[-1][0], at + b)
                else:
                    ranges.append((at + a, at + b))
        at += len(text)
    # str.join calls __str__ on nothing, and copies plain text whatever its class is
    return Own("".join(texts), tuple(ranges)) if ranges else "".join(texts)


def between(parts: Iterable[str], sep: str) -> Iterator[str]:
    """Yield the parts with ``sep`` between them."""
    first = True
    for part in parts:
        if not first:
            yield sep
        first = False
        yield part
