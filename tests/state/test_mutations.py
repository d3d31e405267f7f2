"""A few hundred changed state files; ten thousand are one command (see :mod:`tests.state.mutations`)."""

from __future__ import annotations

import pytest

from . import mutations

pytestmark = pytest.mark.model


@pytest.mark.parametrize("seed", [1, 2])
def test_changed_files_are_refused_or_as_good(seed: int) -> None:
    outcomes = mutations.run(300, seed)
    assert sum(outcomes.values()) == 300
    assert not mutations.bad(outcomes)
    reasons = {outcome for (change, outcome) in outcomes if change.startswith("sealed")}
    assert {"refused: StateDamagedError", "refused: StateMismatchError"} <= reasons
