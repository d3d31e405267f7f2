"""What the operations of a template cost, foreseen from their operands.

A step of a template is one call into Python's C, which nothing can interrupt: ``9 ** 9 ** 9``, a text times
10**12, a list of lists that has 2**100 parts when it is printed. So each is looked at before it is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from jinja2.utils import Namespace

from ..errors import ChatTemplateError
from .budget import Budget, current

MOST_NUMBER = 100_000
"""the largest number that a text method or a filter takes: a width, a count"""
_MOST_WEIGHT = 1_000_000
_MOST_BITS = 4096
_CONTAINERS = (list, tuple, dict, Namespace)


def weigh(value: Any) -> None:
    """Raise if a value is too large to be printed, compared or hashed: lists of lists grow exponentially."""
    if not isinstance(value, _CONTAINERS):
        return
    left = _MOST_WEIGHT
    stack: list[Any] = [value]
    while stack:
        each = stack.pop()
        left -= 1
        if isinstance(each, Namespace):
            each = each._Namespace__attrs  # the one name that it lets through
        if isinstance(each, str):
            left -= len(each) >> 8
        elif isinstance(each, dict):
            stack.extend(each.keys())
            stack.extend(each.values())
        elif isinstance(each, list | tuple):
            stack.extend(each)
        if left < len(stack):
            raise ChatTemplateError(f"the template builds a value of more than {_MOST_WEIGHT} parts")
    current.get().step((_MOST_WEIGHT - left) >> 5)


def number(value: Any) -> None:
    """Raise if an argument is a number that is too large for a width or a count."""
    if isinstance(value, int) and abs(value) > MOST_NUMBER:
        raise ChatTemplateError(f"the template passes {value}; numbers up to {MOST_NUMBER} are allowed there")


def binop(budget: Budget, operator: str, left: Any, right: Any) -> None:
    """Take what an operator will cost from the budget."""
    budget.step()
    if operator == "+":
        if isinstance(left, str) and isinstance(right, str):
            budget.produce(len(left) + len(right))
        elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
            budget.produce(8 * (len(left) + len(right)))
    elif operator == "*":
        for one, other in ((left, right), (right, left)):
            if isinstance(one, str | list | tuple) and isinstance(other, int):
                budget.produce((1 if isinstance(one, str) else 8) * len(one) * max(0, other))
        if _bits(left) + _bits(right) > _MOST_BITS:
            raise ChatTemplateError("the template multiplies numbers that are too large")
    elif operator == "**":
        if _bits(left) * max(1, abs(right) if isinstance(right, int) else 1) > _MOST_BITS:
            raise ChatTemplateError(f"the template computes {left!r:.20}**{right!r:.20}, which is too large")
    elif operator == "%" and isinstance(left, str):
        formatted(budget, left, right if isinstance(right, tuple) else (right,))


def formatted(budget: Budget, text: str, args: Iterable[Any]) -> None:
    """Take what ``text % args`` or ``text.format(*args)`` can become from the budget."""
    widths = [int(digits) for digits in _digits(text)]
    total = 0
    for value in args:
        number(value)
        weigh(value)
        total += len(value) if isinstance(value, str) else 32
    for width in widths:
        number(width)
    fields = text.count("%") + text.count("{")
    budget.produce(len(text) + fields * (max(widths, default=0) + total))


def _digits(text: str) -> Iterator[str]:
    run = ""
    for char in text:
        if char.isdigit() and char.isascii():
            run += char
        elif run:
            yield run[:20]
            run = ""
    if run:
        yield run[:20]


def _bits(value: Any) -> int:
    return value.bit_length() if isinstance(value, int) else 0
