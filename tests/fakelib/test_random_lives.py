"""No leak, no double free, no wrong order, no use after free: whatever is done to the objects, in any order.

The full count, about five minutes:  python -m tests.fakelib.run --steps 20000
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fakelib.mutations import MUTATIONS

Live = Callable[..., dict[str, Any]]


def check(result: dict[str, Any]) -> None:
    assert result["failure"] == "", (
        f"{result['failure']}\n{result['stderr']}\nin this life:\n{result['life']}"
    )
    assert result["mistakes"] == []
    assert result["live"] == 0
    assert result["made"] > result["steps"] / 4, "nearly nothing was made"
    assert result["forks"] > 0 and result["overlaps"] > 0


def test_random_lives(live: Live) -> None:
    check(live("--steps", "1500", "--seed", "1"))


@pytest.mark.slow
def test_twenty_thousand_steps(live: Live) -> None:
    result = live("--steps", "20000", "--seed", "1000", timeout=1800)
    assert result["steps"] >= 20_000
    check(result)


@pytest.mark.parametrize("mechanism", MUTATIONS)
def test_without_the_mechanism_it_goes_wrong(live: Live, mechanism: str) -> None:
    """The proof that the lives above look: take a mechanism out, and they fail."""
    result = live("--without", mechanism, "--steps", "4000", "--seed", "1")
    assert result["failure"], f"{mechanism}: unnoticed in {result['steps']} steps"
