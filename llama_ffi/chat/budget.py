"""What a template may spend: steps, text and time.

A template comes with a model, from a stranger. Without limits ``{% for %}`` inside of ``{% for %}`` runs for
ever, and ``x ~ x`` in a loop fills the memory. Every loop iteration, call, filter and operator takes a step
here, which also looks at the clock; what a single step can cost is bounded by looking at its operands first.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ..errors import ChatTemplateError


@dataclass(frozen=True)
class Limits:
    """What rendering one chat may cost."""

    seconds: float = 10.0
    """wall-clock time"""
    steps: int = 2_000_000
    """loop iterations, calls, filters and operators"""
    text: int = 64 * 2**20
    """characters that may be produced, intermediate texts included; 32 times the input is added"""
    template: int = 128 * 1024
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
