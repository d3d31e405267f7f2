"""Set-ups for batches: of embeddings, and of C's own kind."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from tests.fuzz.calls.setups.kit import WIDTH, Described, Ready, Setup, context, encoder, need

if TYPE_CHECKING:
    from tests.fuzz.calls.world import World


def extended(world: World, rnd: random.Random, count: int | None = None, **params: Any) -> Described:
    """Fill a batch of C's own kind with some tokens."""
    made = need(world.do("BatchExt", None, context=context(world, rnd, **params)))
    for pos in range(rnd.randint(1, 4) if count is None else count):
        token = rnd.randint(5, 28)
        world.do("BatchExt.add_token", made, token=token, seq_id=0, pos=pos, output=rnd.random() < 0.5)
    return made


def entry(world: World, rnd: random.Random) -> Ready:
    params = {"n_seq_max": 2, "kv_unified": rnd.random() < 0.5}
    return Ready(extended(world, rnd, **params), {"index": 0, "seq_id": rnd.choice((0, 1))})


def empty_entry(world: World, rnd: random.Random) -> Ready:
    made = extended(world, rnd, 0)
    world.do("BatchExt.add", made, seq_id=0, pos=0)
    row = {"normal": [1, WIDTH]}
    return Ready(made, {"index": 0, "embedding": row, "state": {"normal": [1, 1, WIDTH]}}, once=True)


def process(world: World, rnd: random.Random) -> Ready:
    if rnd.random() < 0.3:
        ctx = context(world, rnd, encoder(world, rnd))
        encodes = rnd.random() < 0.8
    else:
        ctx, encodes = context(world, rnd, n_seq_max=rnd.choice((1, 2))), False
    made = need(world.do("BatchExt", None, context=ctx))
    for pos in range(rnd.randint(1, 16)):
        token = rnd.randint(5, 28)
        world.do("BatchExt.add_token", made, token=token, seq_id=0, pos=pos, output=True)
    return Ready(ctx, {"batch": made, "encode": encodes})


def embedding_batch(world: World, rnd: random.Random) -> Ready:
    made = need(world.do("Batch", None, capacity=8, n_embd=WIDTH))
    return Ready(made, {"embedding": {"normal": [1, WIDTH]}, "embeddings": {"normal": [1, 3, WIDTH]}})


def roomy_batch(world: World, rnd: random.Random) -> Ready:
    return Ready(need(world.do("Batch", None, capacity=16)))


SETUPS: dict[str, Setup] = {
    "Batch.add_embedding": embedding_batch,
    "Batch.set_embeddings": embedding_batch,
    "Batch.set": roomy_batch,
    "Context.process": process,
    "BatchExt.add_seq": entry,
    "BatchExt.set_pos": entry,
    "BatchExt.set_output_embd": entry,
    "BatchExt.set_output_logits": entry,
    "BatchExt.add_embd": empty_entry,
    "BatchExt.set_embd_token": empty_entry,
    "BatchExt.set_embd_state": empty_entry,
}

OWNERS: dict[str, Setup] = {
    "BatchExt": entry,
}
