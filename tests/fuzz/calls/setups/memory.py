"""Set-ups for what a context remembers: the memory's sequences, and states in files and stores."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.fuzz.calls.setups.kit import (
    LLAMA,
    Described,
    Ready,
    Setup,
    context,
    need,
    sequences,
    session,
)

if TYPE_CHECKING:
    from tests.fuzz.calls.world import World


def memory(**args: Callable[[random.Random], Any]) -> Setup:
    def setup(world: World, rnd: random.Random) -> Ready:
        found = need(world.do("Context.memory", sequences(world, rnd)))
        return Ready(found, {name: make(rnd) for name, make in args.items()})

    return setup


def shift(*, divides: bool) -> Setup:
    """Make a context whose positions are shifted when it decodes next, right behind the shifted ones."""

    def setup(world: World, rnd: random.Random) -> Ready:
        kind, params = rnd.choice(("llama", "llama", "random", "deepseek4")), {}
        if kind == "deepseek4":  # its memory can't shift
            model = need(world.do("testing.random_model", None, kind=kind, seed=1))
        else:
            model, params = {"slot": kind}, {"type_k": rnd.choice(("f16", "f32"))}
        ctx, last = context(world, rnd, model, **params), rnd.randint(0, 7)
        tokens = [rnd.randint(5, 28) for _ in range(last + 1)]
        made = need(world.do("Batch.from_tokens", None, tokens=tokens))
        world.do("Context.decode", ctx, batch=made)
        p0, p1 = rnd.choice((-1, 0, 1)), rnd.choice((-1, -1, 3))
        delta, d = rnd.randint(-3, 9), rnd.randint(1, 3)
        if p0 <= last and (p1 < 0 or last < p1):
            last = last // d if divides else last + delta
        step = need(world.do("Batch.from_tokens", None, tokens=[7], pos0=max(last + 1, 0)))
        args = {"seq_id": 0, "p0": p0, "p1": p1, "delta": delta, "d": d}
        found = need(world.do("Context.memory", ctx))
        return Ready(found, args, [("Context.decode", ctx, {"batch": step})])

    return setup


def a_range(rnd: random.Random) -> Any:
    return rnd.choice((-1, 0, 1, 3))


def a_session(**args: Any) -> Setup:
    return lambda world, rnd: Ready(session(world, rnd), dict(args))


def store(world: World, rnd: random.Random) -> Described:
    return need(world.do("StateStore", None, folder={"path": "store"}))


def put(world: World, rnd: random.Random) -> Ready:
    made = store(world, rnd)
    return Ready(made, {"source": session(world, rnd), "name": "first"}, without=("tokens", "seq_id"))


def stored(world: World, rnd: random.Random) -> Ready:
    made, source = store(world, rnd), session(world, rnd)
    world.do("StateStore.put", made, name="first", source=source)
    more = {"name": "first", "target": source, "tokens": [1, 260, 262], "model": LLAMA}
    return Ready(made, more, without=("seq_id",))


def saved(kind: str) -> Setup:
    def setup(world: World, rnd: random.Random) -> Ready:
        ctx, tokens = context(world, rnd, n_seq_max=rnd.choice((1, 2))), [5, 6, 7]
        made = need(world.do("Batch.from_tokens", None, tokens=tokens))
        world.do("Context.decode", ctx, batch=made)
        path, more = {"path": f"saved.{kind}"}, {} if rnd.random() < 0.5 else {"seq_id": 0}
        if kind == "PromptCache":
            world.do("PromptCache.save", None, ctx=ctx, path=path, tokens=tokens, **more)
        else:
            world.do("StateFile.save", None, ctx=ctx, target=path, tokens=tokens, **more)
        return Ready(None, {"ctx": ctx, "path": path, "source": path, "tokens": tokens})

    return setup


def saved_session(world: World, rnd: random.Random) -> Ready:
    made = session(world, rnd)
    world.do("Session.save", made, path={"path": "saved.session"})
    return Ready(made, {"source": {"path": "saved.session"}})


SETUPS: dict[str, Setup] = {
    "Memory.seq_cp": memory(
        seq_id_src=lambda rnd: 0,
        seq_id_dst=lambda rnd: 1,
        p0=lambda rnd: rnd.choice((-1, 0, 0, 1)),
        p1=lambda rnd: rnd.choice((-1, -1, 9, 2)),
    ),
    "Memory.seq_add": shift(divides=False),
    "Memory.seq_div": shift(divides=True),
    "Memory.seq_rm": memory(seq_id=lambda rnd: rnd.choice((0, 1, -1)), p0=a_range, p1=a_range),
    "Memory.seq_keep": memory(seq_id=lambda rnd: rnd.choice((0, 1))),
    "StateStore.put": put,
    "StateStore.get": stored,
    "StateStore.find": stored,
    "StateStore.verify": stored,
    "StateStore.copy": stored,
    "StateStore.export": stored,
    "StateStore.info": stored,
    "StateFile.load": saved("StateFile"),
    "StateFile.verify": saved("StateFile"),
    "StateFile.inspect": saved("StateFile"),
    "StateFile.save": saved("StateFile"),
    "PromptCache.load": saved("PromptCache"),
    "PromptCache.save": saved("PromptCache"),
    "PromptCache.inspect": saved("PromptCache"),
    "Session.load": saved_session,
    "Session.feed": a_session(text="a b"),
    "Session.rewind": a_session(n=1),
}

OWNERS: dict[str, Setup] = {
    "Memory": memory(),
}
