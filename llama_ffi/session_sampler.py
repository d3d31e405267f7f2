"""How a sampler gets its state back: what it had chosen is chosen again.

A sampler's state can't be read from C. But those that remember tokens remember what they have accepted, and
``dist`` draws exactly one number for each choice, whatever it chooses from. So a chain that was made the same
way, asked for each of the old tokens with that one as the only candidate, ends in the same state. What draws
or adapts by the probabilities it sees can't be restored like that, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import StateDamagedError, StateMismatchError, UnsupportedError
from .sampler import SamplerChain
from .sampler.candidates import Candidates
from .statefile import StateFile

RESTORABLE = frozenset(
    {
        "greedy",
        "dist",
        "top-k",
        "top-p",
        "min-p",
        "typical",
        "temp",
        "temp-ext",
        "top-n-sigma",
        "logit-bias",
        "penalties",
        "dry",
        "grammar",
        "json-schema",
        "regex",
        "lark",
    }
)
"""samplers whose state is what they have accepted and how often they were asked"""


@dataclass(frozen=True)
class SamplerState:
    """What a file says about the sampler."""

    names: tuple[str, ...]
    seed: int | None
    choices: tuple[int, ...]
    """the tokens that it has chosen since it was made or reset"""


def describe(chain: SamplerChain, choices: Sequence[int]) -> dict[str, Any]:
    """Return what a file needs to say about a chain."""
    return {"names": chain.names, "seed": chain.seed, "choices": list(choices)}


def read(file: StateFile, n_vocab: int) -> tuple[list[int], SamplerState]:
    """Return (the tokens that weren't in memory, the sampler's state) that a session has put into a file.

    Raises:
        StateMismatchError: it isn't a session's.
        StateDamagedError: what it says can't be.
    """
    extra = file.header.extra
    if extra.get("session") != 1 or file.header.kind != "sequence":
        raise StateMismatchError("session: the file is a state, but not one that a session has saved")
    try:
        rest, sampler = extra["rest"], extra["sampler"]
        state = SamplerState(tuple(sampler["names"]), sampler["seed"], tuple(sampler["choices"]))
        for token in (*rest, *state.choices):
            if type(token) is not int or not 0 <= token < n_vocab:
                raise ValueError(f"token {token!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise StateDamagedError(f"what the session has written can't be: {error!r}") from None
    return list(rest), state


def check(chain: SamplerChain, state: SamplerState) -> None:
    """Raise unless ``chain`` can get this state.

    Raises:
        StateMismatchError: it is made of other samplers, or with another seed.
        UnsupportedError: one of them can't be restored, and had chosen tokens.
    """
    names = tuple(chain.names)
    if names != state.names:
        raise StateMismatchError(
            f"sampler: the session was saved with {', '.join(state.names)}, this one has {', '.join(names)}"
        )
    if state.seed != chain.seed:
        raise StateMismatchError(f"seed: the session was saved with {state.seed}, this one has {chain.seed}")
    lost = sorted(set(names) - RESTORABLE)
    if lost and state.choices:
        raise UnsupportedError(
            f"the state of {', '.join(lost)} can't be restored; StateFile.load takes the file and leaves the "
            f"sampler as it is"
        )


def restore(chain: SamplerChain, state: SamplerState) -> None:
    """Bring a chain to ``state``."""
    chain.reset()
    for token in state.choices:
        chain.apply(Candidates([0.0], [token]))
        chain.accept(token)
