"""What all set-ups are made of: contexts, batches, chains and sessions as a program would make them.

Each is made by calls that are written down like all others, so that they can be run again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fuzz.calls.world import World

Described = Any


@dataclass
class Ready:
    """On what a call is made, and with what."""

    on: Described = None
    args: dict[str, Described] = field(default_factory=dict)
    then: list[tuple[str, Described, dict[str, Described]]] = field(default_factory=list)
    """calls to be made after it, on what it has left"""
    without: tuple[str, ...] = ()
    """arguments that don't go with these"""
    once: bool = False
    """the call uses the state up: the same call once more is another case"""


Setup = Callable[["World", random.Random], Ready]

LLAMA = {"slot": "llama"}
RESULT = {"slot": "result"}
"""What the call itself has returned, for the calls after it."""
WIDTH = 32
"""n_embd of the model "llama" """


class Missing(Exception):
    """A call that the set-up needs has failed."""


def need(made: Described) -> Described:
    if made is None:
        raise Missing
    return made


def context(world: World, rnd: random.Random, model: Described = LLAMA, **params: Any) -> Described:
    given = {"n_ctx": 64, "n_batch": 16, "n_ubatch": 16, "n_threads": 1} | params
    return need(world.do("Model.context", model, **given))


def batch(world: World, rnd: random.Random, logits: Any = "all", most: int = 8) -> Described:
    tokens = [rnd.randint(5, 28) for _ in range(rnd.randint(1, most))]  # all vocabularies have these
    return need(world.do("Batch.from_tokens", None, tokens=tokens, logits=logits))


def decoded(world: World, rnd: random.Random, model: Described = LLAMA, **params: Any) -> Described:
    ctx = context(world, rnd, model, **params)
    world.do("Context.decode", ctx, batch=batch(world, rnd))
    return ctx


def sequences(world: World, rnd: random.Random) -> Described:
    """Make a context of several sequences, some of which hold something."""
    ctx = context(world, rnd, n_seq_max=rnd.choice((2, 4)), kv_unified=rnd.random() < 0.5)
    for seq in (0, 1)[: rnd.randint(1, 2)]:
        tokens = [rnd.randint(5, 28) for _ in range(rnd.randint(1, 6))]
        made = need(world.do("Batch.from_tokens", None, tokens=tokens, seq_id=seq))
        world.do("Context.decode", ctx, batch=made)
    return ctx


def encoder(world: World, rnd: random.Random) -> Described:
    kind = rnd.choice(("bert", "t5", "random"))
    if kind == "random":
        return need(world.do("testing.random_model", None, kind="t5", seed=1))
    return need(world.do("Model.load", None, path={"path": f"{kind}.gguf"}))


def chain(world: World, rnd: random.Random, seed: int | None = None) -> Described:
    """Make a chain that selects; with ``seed`` always the same."""
    made = need(world.do("SamplerChain", None))
    world.do("SamplerChain.add_top_k", made, k=5 if seed else rnd.choice((1, 5, 40)))
    world.do("SamplerChain.add_temp", made, t=0.8)
    world.do("SamplerChain.add_dist", made, seed=seed or rnd.randint(0, 9))
    return made


def session(world: World, rnd: random.Random) -> Described:
    made = need(world.do("Model.session", LLAMA, n_ctx=64, n_batch=16, n_threads=1, n_forks=1))
    world.do("Session.feed", made, text="a b")
    return made


def on(cls: str) -> Setup:
    """Make an object of the class just for this call."""

    def setup(world: World, rnd: random.Random) -> Ready:
        return Ready(need(world.fresh(cls, rnd)))

    return setup
