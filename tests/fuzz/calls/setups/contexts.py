"""Set-ups for contexts: what has been decoded, encoded, pooled, sampled; parameters; ends."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from tests.fuzz.calls.setups.kit import (
    LLAMA,
    RESULT,
    Described,
    Ready,
    Setup,
    batch,
    chain,
    context,
    decoded,
    encoder,
    need,
    sequences,
)

if TYPE_CHECKING:
    from tests.fuzz.calls.world import World


def decode(world: World, rnd: random.Random) -> Ready:
    special = rnd.random()
    if special < 0.1:
        return coupled(world, rnd)
    if special < 0.2:
        return far(world, rnd)
    params = rnd.choice((
        {},
        {"n_seq_max": 2},
        {"embeddings": True},
        {"embeddings": True, "pooling_type": "mean", "n_ubatch": 8},
        {"n_ubatch": 8},
        {"n_outputs_max": 4},
    ))  # fmt: skip
    model = rnd.choice((LLAMA, LLAMA, {"slot": "tiny"}, {"slot": "random"}))
    if special > 0.9:
        model = need(world.do("testing.random_model", None, kind="t5", seed=1))
    ctx = context(world, rnd, model, **params)
    if rnd.random() < 0.2:
        world.do("Context.set_causal_attn", ctx, causal=False)
    return Ready(ctx, {"batch": batch(world, rnd, most=rnd.choice((8, 16, 20)))})


def encode(world: World, rnd: random.Random) -> Ready:
    ctx = context(world, rnd, encoder(world, rnd), n_batch=rnd.choice((16, 32)))
    return Ready(ctx, {"batch": batch(world, rnd, most=16 if rnd.random() < 0.7 else 24)})


def embeddings(world: World, rnd: random.Random) -> Ready:
    ctx = decoded(world, rnd, embeddings=True, pooling_type="none")
    return Ready(ctx, {"i": rnd.choice((-1, 0))})


def pooled(world: World, rnd: random.Random) -> Ready:
    ctx = decoded(world, rnd, embeddings=True, pooling_type=rnd.choice(("mean", "last", "cls")))
    return Ready(ctx, {"seq_id": 0})


def scores(world: World, rnd: random.Random) -> Ready:
    kind = rnd.choice(("reranker", "classifier"))
    model = need(world.do("testing.random_model", None, kind=kind, seed=1))
    ctx = context(world, rnd, model, embeddings=True, pooling_type="rank")
    world.do("Context.encode", ctx, batch=batch(world, rnd))
    return Ready(ctx, {"seq_id": 0})


def logits(world: World, rnd: random.Random) -> Ready:
    return Ready(decoded(world, rnd, n_outputs_max=rnd.choice((0, 8))), {"i": rnd.choice((-1, 0))})


def on_context(**params: Any) -> Setup:
    return lambda world, rnd: Ready(decoded(world, rnd, **params))


def loras(world: World, rnd: random.Random) -> Ready:
    lora = need(world.do("Model.load_lora", LLAMA, path={"path": "lora.gguf"}))
    model = LLAMA if rnd.random() < 0.8 else {"slot": "tiny"}
    ctx = context(world, rnd, model)
    again = ("Context.decode", ctx, {"batch": batch(world, rnd)})
    return Ready(ctx, {"loras": [{"tuple": [lora, rnd.choice((1.0, 0.5, 0.0))]}]}, [again])


def sampler_for(world: World, rnd: random.Random) -> Ready:
    ctx = sequences(world, rnd)
    made = chain(world, rnd, seed=3)
    if rnd.random() < 0.2:
        made = need(world.do("SamplerChain", None))
        for _ in range(rnd.randint(1, 3)):
            world.do("SamplerChain.add_top_k", made, k=rnd.randint(2, 30))
            world.do("SamplerChain.add_top_p", made, p=0.9, min_keep=1)
        world.do("SamplerChain.add_dist", made, seed=1)
    return Ready(ctx, {"seq_id": rnd.choice((0, 1)), "chain": made}, once=True)  # a chain is put on once


def sampled(world: World, rnd: random.Random) -> Ready:
    """Sample on the back end."""
    ctx = context(world, rnd, n_outputs_max_per_seq=rnd.choice((1, 2)))
    world.do("Context.set_sampler", ctx, seq_id=0, chain=chain(world, rnd, seed=3))
    world.do("Context.decode", ctx, batch=batch(world, rnd, "last"))
    return Ready(ctx, {"i": -1})


def pool(world: World, rnd: random.Random) -> Ready:
    return Ready(context(world, rnd), {"pool": need(world.do("ThreadPool", None, n_threads=1))})


def restore(world: World, rnd: random.Random) -> Ready:
    ctx = decoded(world, rnd, n_seq_max=rnd.choice((1, 2)))
    snapshot = need(world.do("Context.snapshot", ctx, seq_id=0, partial=rnd.random() < 0.2))
    return Ready(ctx, {"snapshot": snapshot})


def a_context(world: World, rnd: random.Random) -> Ready:
    """Choose parameters that don't always go together."""
    args: dict[str, Described] = {
        "n_ctx": rnd.choice((16, 64)),
        "n_batch": rnd.choice((8, 16)),
        "n_threads": 1,
        "n_seq_max": rnd.choice((1, 1, 2, 8, 64)),
        "n_outputs_max": rnd.choice((0, 0, 0, 4)),
    }
    if rnd.random() < 0.5:
        pooling = rnd.choice(("mean", "mean", "last"))
        args |= {"embeddings": True, "pooling_type": pooling, "n_ubatch": rnd.choice((5, 8))}
    if rnd.random() < 0.4:
        args |= {"type_k": rnd.choice(("q8_0", "q4_0", "f32")), "flash_attn": rnd.choice((None, False))}
    tokens = need(world.do("Batch.from_tokens", None, tokens=[5, 6, 7]))
    return Ready(LLAMA, {"model": LLAMA} | args, [("Context.decode", RESULT, {"batch": tokens})])


def ending(world: World, rnd: random.Random) -> Ready:
    """Go on with a context that was closed."""
    ctx = decoded(world, rnd)
    more = batch(world, rnd)
    return Ready(ctx, {}, [("Context.decode", ctx, {"batch": more}), ("Context.logits", ctx, {"i": -1})])


def watched(world: World, rnd: random.Random) -> Ready:
    """Return a context that shows what it computes; the call is made inside."""
    return Ready(context(world, rnd, on_tensor={"function": "look"}, n_batch=8))


def coupled(world: World, rnd: random.Random) -> Ready:
    """Let tokens belong to two sequences."""
    ctx = context(world, rnd, n_seq_max=2, kv_unified=rnd.random() < 0.6)
    made = need(world.do("Batch", None, capacity=8, n_seq_max=2))
    for pos in range(rnd.randint(1, 4)):
        world.do("Batch.add", made, token=rnd.randint(5, 28), pos=pos, seq_ids=[0, 1], logits=True)
    return Ready(ctx, {"batch": made})


def far(world: World, rnd: random.Random) -> Ready:
    """Begin at a position near the end of what the model has learned."""
    kind = rnd.choice(("gpt2", "bert", "llama"))
    model = need(world.do("Model.load", None, path={"path": f"{kind}.gguf"}))
    ctx, tokens = (
        context(world, rnd, model, n_ctx=128),
        [rnd.randint(5, 28) for _ in range(rnd.randint(1, 8))],
    )
    made = world.do("Batch.from_tokens", None, tokens=tokens, pos0=rnd.choice((0, 40, 60)), logits="all")
    return Ready(ctx, {"batch": need(made)})


SETUPS: dict[str, Setup] = {
    "Context.encode": encode,
    "Context.decode": decode,
    "Context.close": ending,
    "Context": a_context,
    "Model.context": a_context,
    "Context.embeddings": embeddings,
    "Context.borrow_embeddings": embeddings,
    "Context.embeddings_seq": pooled,
    "Context.class_scores": scores,
    "Context.logits": logits,
    "Context.borrow_logits": logits,
    "Context.sampled_token": sampled,
    "Context.sampled_candidates": sampled,
    "Context.sampled_logits": sampled,
    "Context.sampled_probs": sampled,
    "Context.set_sampler": sampler_for,
    "Context.set_loras": loras,
    "Context.attach_threadpool": pool,
    "Context.restore": restore,
    "Context.perf": on_context(no_perf=False),
}

OWNERS: dict[str, Setup] = {
    "ComputedTensor": watched,
    "Context": on_context(),
}
