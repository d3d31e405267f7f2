"""States in which a call can reach C: what a program would have done before it.

A set-up makes its own objects by calls that are written down like all others, so that they can be run again.
It says on what the call is made and some of its arguments; the others are made up as always, and a wild call
replaces any of them. Each module has the set-ups of one kind of object, and says what they are for.
"""

from __future__ import annotations

from tests.fuzz.calls.setups import batches, contexts, memory, models, samplers
from tests.fuzz.calls.setups.kit import RESULT, Missing, Ready, Setup, on

_PARTS = (contexts, batches, memory, samplers, models)

SETUPS: dict[str, Setup] = {name: setup for part in _PARTS for name, setup in part.SETUPS.items()}
"""For one call each."""

OWNERS: dict[str, Setup] = {name: setup for part in _PARTS for name, setup in part.OWNERS.items()}
"""For some calls on an object of the class that have no set-up of their own; for all that end its life."""

for _name in ("LoraAdapter", "ThreadPool", "Session", "Trainer", "Model", "Snapshot", "Upload"):
    OWNERS[_name] = on(_name)

__all__ = ["OWNERS", "RESULT", "SETUPS", "Missing", "Ready", "Setup"]
