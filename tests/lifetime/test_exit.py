"""The interpreter ends in every state with the right status and nothing on stderr.

Twenty times each, about three minutes:  pytest tests/lifetime/test_exit.py -m slow
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lifetime.conftest import Child
from tests.lifetime.states import STATES, STATUS

pytestmark = pytest.mark.model


def end(child: Child, state: str, model: Path) -> None:
    done = child("tests.lifetime.states", state, model)
    assert (done.returncode, done.stderr, done.stdout) == (STATUS.get(state, 0), "", "")


@pytest.mark.parametrize("state", STATES)
def test_the_end(child: Child, state: str, tiny_model: Path) -> None:
    for _ in range(3):
        end(child, state, tiny_model)


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
def test_the_end_twenty_times(child: Child, state: str, tiny_model: Path) -> None:
    for _ in range(20):
        end(child, state, tiny_model)
