"""What a template may spend: steps, text and time.

A template comes with a model, from a stranger. Without limits ``{% for %}`` inside of ``{% for %}`` runs for
ever, and ``x ~ x`` in a loop fills the memory. Every loop iteration, call, filter and operator takes a step
here, which also looks at the clock; what a single step can cost is bounded by looking at its operands first.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ..errors import ChatTemplateError

MOST_NUMBER = 100_000
"""the largest number that a text method or a filter takes: a width, a count"""
_MOST_WEIGHT = 1_000_000
_MOST_BITS = 4096


@dataclass(frozen=True)
class Limits:
    """What rendering one chat may cost."""

    seconds: float = 10.0
    """wall-clock time"""
    steps: int = 5_000_000
    """loop iterations, calls, filters and operators"""
    text: int = 64 * 2**20
    """characters that may be produced, intermediate texts included; 32 times the input is added"""
    template: int = 256 * 1024
    """characters of the template itself"""


class Budget:
    """What is left while one chat is rendered; :data:`current` holds it."""

    __slots__ = ("deadline", "limits", "steps", "text")

    def __init__(self, limits: Limits, n_input: int) -> None:
        self.limits = limits
        self.steps = limits.steps
        self.text = limits.text + 32 * n_input
        self.deadline = time.monotonic() + limits.seconds

    def step(self, count: int = 1) -> None:
        self.steps -= count
        if self.steps < 0:
            raise ChatTemplateError(f"the template takes more than {self.limits.steps} steps")
        if time.monotonic() > self.deadline:
            raise ChatTemplateError(f"the template runs for more than {self.limits.seconds} seconds")

    def produce(self, n_chars: int) -> None:
        """Take ``n_chars`` of text from the budget, before it is made where that can be foreseen."""
        self.text -= n_chars
        if self.text < 0:
            raise ChatTemplateError(f"the template makes more than {self.limits.text} characters of text")

    def count(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the items, each of which is a step."""
        for item in items:
            self.step()
            yield item


current: ContextVar[Budget] = ContextVar("llama_ffi_chat_budget")


def weigh(value: Any) -> None:
    """Raise if a value is too large to be printed, compared or hashed: lists of lists grow exponentially."""
    if isinstance(value, list | tuple | dict | Mapping):
        left = _MOST_WEIGHT
        stack: list[Any] = [value]
        while stack:
            each = stack.pop()
            left -= 1
            if isinstance(each, str):
                left -= len(each) >> 8
            elif isinstance(each, dict | Mapping):
                stack.extend(each.keys())
                stack.extend(each.values())
            elif isinstance(each, list | tuple):
                stack.extend(each)
            if left < len(stack):
                raise ChatTemplateError(f"the template builds a value of more than {_MOST_WEIGHT} parts")


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
