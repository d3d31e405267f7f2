"""Checks of arguments that several samplers share."""

from __future__ import annotations

from typing import Any, SupportsIndex

from .._core import binding, check
from ..errors import ArgumentTypeError, InvalidArgumentError

MAX_HISTORY = 1 << 24
"""Tokens that a sampler may remember; the memory for them is taken at once."""


MAX_BIAS = 1e6
"""More than any model's logits. Where llama.cpp sorts more than 128 candidates, it puts logits from 3.4e8 on
behind all others; a temperature of 0.01 leaves this one below."""

MIN_TEMP = 1e-6
"""Leaves the logits that models compute below that too."""


def seed_of_choice(value: SupportsIndex | None) -> int:
    """Return a seed for C, for None the one that stands for a random seed."""
    return int(binding.active().lib.LLAMA_DEFAULT_SEED) if value is None else check.seed(value)


def real(name: str, value: float, low: float = -3e38, high: float = 3e38) -> float:
    """Return a number that a float of C can hold."""
    return check.real(name, value, low, high)


def temperature(value: float) -> float:
    """Return a temperature: none so small that logits divided by it can't be sorted any more."""
    number = real("t", value)
    if 0.0 < number < MIN_TEMP:
        raise InvalidArgumentError(
            f"t is {number}; it must be 0 (only the most likely token), or at least {MIN_TEMP}"
        )
    return number


def least(value: SupportsIndex) -> int:
    """Return ``min_keep``: how many candidates must be left."""
    return check.integer("min_keep", value, 0)


def vocabulary(vocab: Any) -> Any:
    """Return the model's handle of a vocabulary, which keeps it alive."""
    if not hasattr(vocab, "_ids_of_pieces"):  # importing its class would turn the layers around
        raise ArgumentTypeError(f"vocab must be a Vocab (model.vocab), not {type(vocab).__name__}")
    return vocab._handle.ptr
