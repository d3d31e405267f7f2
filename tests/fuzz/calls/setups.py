"""States in which a call can reach C: what a program would have done before it.

A set-up makes its own objects by calls that are written down like all others, so that they can be run again.
It says on what the call is made and some of its arguments; the others are made up as always, and a wild call
replaces any of them.
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


# --- contexts ---


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


def encode(world: World, rnd: random.Random) -> Ready:
    ctx = context(world, rnd, encoder(world, rnd), n_batch=rnd.choice((16, 32)))
    return Ready(ctx, {"batch": batch(world, rnd, most=16 if rnd.random() < 0.7 else 24)})


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
    return Ready(ctx, {"seq_id": rnd.choice((0, 1)), "chain": made})


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


# --- batches of C's kind ---


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


# --- memory ---


def memory(**args: Callable[[random.Random], Any]) -> Setup:
    def setup(world: World, rnd: random.Random) -> Ready:
        found = need(world.do("Context.memory", sequences(world, rnd)))
        return Ready(found, {name: make(rnd) for name, make in args.items()})

    return setup


def shift(world: World, rnd: random.Random) -> Ready:
    """Make a context whose positions are shifted when it decodes next."""
    kind, params = rnd.choice(("llama", "llama", "random", "deepseek4")), {}
    if kind == "deepseek4":  # its memory can't shift
        model = need(world.do("testing.random_model", None, kind=kind, seed=1))
    else:
        model, params = {"slot": kind}, {"type_k": rnd.choice(("f16", "f32"))}
    ctx = decoded(world, rnd, model, **params)
    found = need(world.do("Context.memory", ctx))
    step = need(world.do("Batch.from_tokens", None, tokens=[7], pos0=rnd.choice((20, 12))))
    args = {
        "seq_id": 0,
        "p0": rnd.choice((-1, 0, 1)),
        "p1": rnd.choice((-1, -1, 3)),
        "delta": rnd.randint(-3, 9),
    }
    return Ready(found, args | {"d": rnd.randint(1, 3)}, [("Context.decode", ctx, {"batch": step})])


def a_range(rnd: random.Random) -> Any:
    return rnd.choice((-1, 0, 1, 3))


# --- samplers ---


def chain(world: World, rnd: random.Random, seed: int | None = None) -> Described:
    """Make a chain that selects; with ``seed`` always the same."""
    made = need(world.do("SamplerChain", None))
    world.do("SamplerChain.add_top_k", made, k=5 if seed else rnd.choice((1, 5, 40)))
    world.do("SamplerChain.add_temp", made, t=0.8)
    world.do("SamplerChain.add_dist", made, seed=seed or rnd.randint(0, 9))
    return made


def a_chain(world: World, rnd: random.Random) -> Ready:
    return Ready(chain(world, rnd))


def empty_chain(world: World, rnd: random.Random) -> Ready:
    made = need(world.do("SamplerChain", None))
    if rnd.random() < 0.4:
        world.do("SamplerChain.add_temp", made, t=0.5)
    return Ready(made)


def addition(world: World, rnd: random.Random) -> Ready:
    made = empty_chain(world, rnd)
    name = rnd.choice(("top_k", "dist", "greedy", "temp", "min_p", "xtc", "grammar", "adaptive_p"))
    return Ready(made.on, {"sampler": need(world.call(f"Sampler.{name}", rnd))})


def own_sampler(world: World, rnd: random.Random) -> Ready:
    name = rnd.choice(("top_k", "dist", "greedy", "penalties", "grammar", "custom", "mirostat"))
    return Ready(need(world.call(f"Sampler.{name}", rnd)))


def same_chains(world: World, rnd: random.Random) -> Ready:
    other = chain(world, rnd, seed=3)
    if rnd.random() < 0.25:
        other = need(world.do("SamplerChain", None))
        for name in ("grammar", "mirostat", "penalties"):
            sampler = world.call(f"Sampler.{name}", rnd)
            if sampler is not None:
                world.do("SamplerChain.add", other, sampler=sampler)
    return Ready(chain(world, rnd, seed=3), {"source": other})


def sample(world: World, rnd: random.Random) -> Ready:
    made = need(world.do("SamplerChain", None))
    ctx = decoded(world, rnd) if rnd.random() < 0.85 else context(world, rnd)
    grammar = rnd.random()
    if 0.1 < grammar < 0.3:
        vocab = need(world.do("Model.vocab", LLAMA))
        world.do("SamplerChain.add_grammar", made, vocab=vocab, grammar='root ::= "a" root | "b"')
    for name, args in (("top_k", {"k": 9}), ("temp", {"t": 0.7}), ("top_p", {"p": 0.9, "min_keep": 1})):
        if rnd.random() < 0.5:
            world.do(f"SamplerChain.add_{name}", made, **args)
    if rnd.random() < 0.9:
        world.do("SamplerChain.add_dist", made, seed=1)
    if grammar < 0.1:  # in the wrong place
        vocab = need(world.do("Model.vocab", LLAMA))
        world.do("SamplerChain.add_grammar", made, vocab=vocab, grammar='root ::= "yes"')
    return Ready(made, {"ctx": ctx, "i": -1})


def accept(world: World, rnd: random.Random) -> Ready:
    made, text = need(world.do("SamplerChain", None)), rnd.random() < 0.4
    if text:
        vocab = need(world.do("Model.vocab", LLAMA))
        world.do("SamplerChain.add_grammar", made, vocab=vocab, grammar="root ::= [a-z ]+")
    world.do("SamplerChain.add_penalties", made, n_vocab=289, penalty_last_n=8)
    # "a" to "z" have the ids 260 to 285
    return Ready(made, {"token": rnd.randint(260, 285) if rnd.random() < 0.7 else rnd.randint(0, 288)})


def apply(world: World, rnd: random.Random) -> Ready:
    values = need(world.do("Candidates", None, logits={"normal": [1, 289]}))
    return Ready(chain(world, rnd), {"candidates": values})


# --- states ---


def session(world: World, rnd: random.Random) -> Described:
    made = need(world.do("Model.session", LLAMA, n_ctx=64, n_batch=16, n_threads=1, n_forks=1))
    world.do("Session.feed", made, text="a b")
    return made


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


# --- the rest ---


def fresh_model(world: World, rnd: random.Random) -> Ready:
    kind = rnd.choice(("llama", "gpt2", "moe"))
    return Ready(need(world.do("Model.load", None, path={"path": f"{kind}.gguf"})))


def conversation(world: World, rnd: random.Random) -> Ready:
    made = world.do("ChatSession", None, model={"slot": "tiny"}, n_ctx=256, n_batch=64, n_threads=1)
    return Ready(need(made), {"text": rnd.choice(("hello", "a b c")), "max_tokens": 2})


def stream(world: World, rnd: random.Random) -> Ready:
    on = need(world.do("ChatSession", None, model={"slot": "tiny"}, n_ctx=256, n_batch=64, n_threads=1))
    return Ready(need(world.do("ChatSession.say", on, text="hello", max_tokens=3, stream=True)))


def generation(world: World, rnd: random.Random) -> Ready:
    made = world.do("generate", None, prompt="Once", model=LLAMA, max_tokens=3, n_ctx=64, n_threads=1)
    return Ready(need(made))


def vocabulary_only(world: World, rnd: random.Random) -> Ready:
    whole = rnd.random() < 0.5
    return Ready(need(world.do("Model.load", None, path={"path": "llama.gguf"}, vocab_only=not whole)))


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


def raw_sampler(world: World, rnd: random.Random) -> Ready:
    made = {"raw": rnd.choice(("greedy", "without clone", "NULL"))}
    return Ready(None, {"pointer": made}, [("Sampler.name", RESULT, {}), ("Sampler.clone", RESULT, {})])


def embedding_batch(world: World, rnd: random.Random) -> Ready:
    made = need(world.do("Batch", None, capacity=8, n_embd=WIDTH))
    return Ready(made, {"embedding": {"normal": [1, WIDTH]}, "embeddings": {"normal": [1, 3, WIDTH]}})


def roomy_batch(world: World, rnd: random.Random) -> Ready:
    return Ready(need(world.do("Batch", None, capacity=16)))


def a_field(world: World, rnd: random.Random) -> Ready:
    first = need(world.do("gguf.read", None, path={"path": "llama.gguf"}))["slot"].rsplit(".", 1)[0]
    found = [name for name in world.classes["gguf.Field"] if name.startswith(f"{first}.")]
    return Ready({"slot": found[-1]})


def chat_model(world: World, rnd: random.Random) -> Ready:
    return Ready(None, {"model": {"slot": "tiny"}})


def trainer(world: World, rnd: random.Random) -> Ready:
    model = need(world.do("testing.random_model", None, kind="llama", seed=rnd.randint(0, 2)))
    made = need(world.do("Trainer", None, model=model, n_ctx=256, n_threads=1))
    rows = [[rnd.randint(3, 140) for _ in range(257)]]
    if rnd.random() < 0.1:
        rows[0][rnd.randint(0, 256)] = rnd.choice((-1, 10**6))
    return Ready(made, {"dataset": need(world.do("Dataset", None, rows=rows)), "learning_rate": 1e-4})


def trainable(world: World, rnd: random.Random) -> Ready:
    return Ready(None, {"model": need(world.do("testing.random_model", None, kind="llama", seed=1))})


def ranked(world: World, rnd: random.Random) -> Ready:
    model = need(world.do("testing.random_model", None, kind=rnd.choice(("reranker", "classifier")), seed=1))
    return Ready(None, {"model": model, "documents": ["a b", "c"], "query": "a"})


def on(cls: str) -> Setup:
    """Make an object of the class just for this call."""

    def setup(world: World, rnd: random.Random) -> Ready:
        return Ready(need(world.fresh(cls, rnd)))

    return setup


def tensors(world: World, rnd: random.Random) -> Ready:
    made = gguf(world, rnd)
    made.args = {
        "name": rnd.choice(("output.weight", "blk.0.attn_q.weight")),
        "type": rnd.choice(("f16", "f32")),
    }
    return made


def merged(world: World, rnd: random.Random) -> Ready:
    made = gguf(world, rnd)
    other: Described = {"dict": [["a.b", 3]]}
    if rnd.random() < 0.5:
        other = need(world.do("gguf.GgufContext", None, metadata=other))
    return Ready(made.on, {"other": other})


def new_tensor(world: World, rnd: random.Random) -> Ready:
    return Ready(gguf(world, rnd).on, {"name": rnd.choice(("new.weight", "new.bias", "output.weight"))})


def gguf(world: World, rnd: random.Random) -> Ready:
    kind = rnd.choice(("llama", "quantized", "lora"))
    made = need(world.do("gguf.GgufContext.load", None, path={"path": f"{kind}.gguf"}))
    return Ready(made, {"name": "output.weight", "key": "general.architecture"})


def quantized(world: World, rnd: random.Random) -> Ready:
    made = need(world.do("gguf.read", None, path={"path": "quantized.gguf"}))["slot"]
    first = made.rsplit(".", 1)[0]
    found = [name for name in world.classes.get("gguf.GgufTensor", []) if name.startswith(f"{first}.")]
    return Ready({"slot": found[0]} if found else need(None))


def watched(world: World, rnd: random.Random) -> Ready:
    """Return a context that shows what it computes; the call is made inside."""
    return Ready(context(world, rnd, on_tensor={"function": "look"}, n_batch=8))


SETUPS: dict[str, Setup] = {
    "Context.encode": encode,
    "Batch.add_embedding": embedding_batch,
    "Batch.set_embeddings": embedding_batch,
    "Batch.set": roomy_batch,
    "gguf.Field.to_numpy": a_field,
    "Context.decode": decode,
    "Context.close": ending,
    "Context": a_context,
    "Model.context": a_context,
    "Model.n_head": vocabulary_only,
    "Model.n_head_kv": vocabulary_only,
    "Sampler": raw_sampler,
    "Context.process": process,
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
    "Memory.seq_cp": memory(
        seq_id_src=lambda rnd: 0,
        seq_id_dst=lambda rnd: 1,
        p0=lambda rnd: rnd.choice((-1, 0, 0, 1)),
        p1=lambda rnd: rnd.choice((-1, -1, 9, 2)),
    ),
    "Memory.seq_add": shift,
    "Memory.seq_div": shift,
    "Memory.seq_rm": memory(seq_id=lambda rnd: rnd.choice((0, 1, -1)), p0=a_range, p1=a_range),
    "Memory.seq_keep": memory(seq_id=lambda rnd: rnd.choice((0, 1))),
    "BatchExt.add_seq": entry,
    "BatchExt.set_pos": entry,
    "BatchExt.set_output_embd": entry,
    "BatchExt.set_output_logits": entry,
    "BatchExt.add_embd": empty_entry,
    "BatchExt.set_embd_token": empty_entry,
    "BatchExt.set_embd_state": empty_entry,
    "SamplerChain.add": addition,
    "SamplerChain.copy_state": same_chains,
    "SamplerChain.remove": a_chain,
    "SamplerChain.sample": sample,
    "SamplerChain.accept": accept,
    "SamplerChain.apply": apply,
    "SamplerChain.clone": a_chain,
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
    "Model.close": fresh_model,
    "Model.__exit__": fresh_model,
    "Model.fingerprint": fresh_model,
    "Model.arch": fresh_model,
    "ChatSession.say": conversation,
    "chat.apply_template": chat_model,
    "chat.tokenize": chat_model,
    "Trainer": trainable,
    "Trainer.train": trainer,
    "Trainer.fit": trainer,
    "Trainer.measure": trainer,
    "rerank": ranked,
    "Model.load_lora": lambda world, rnd: Ready(LLAMA),
    "gguf.GgufContext.set_tensor_type": tensors,
    "gguf.GgufContext.add_tensor": new_tensor,
    "gguf.GgufContext.update": merged,
    "gguf.GgufTensor.dequantize": quantized,
}
"""For one call each."""

OWNERS: dict[str, Setup] = {
    "BatchExt": entry,
    "Memory": memory(),
    "Sampler": own_sampler,
    "SamplerChain": empty_chain,
    "ComputedTensor": watched,
    "gguf.GgufContext": gguf,
    "Vocab": lambda world, rnd: Ready(need(world.do("Model.vocab", LLAMA))),
    "ChatSession": conversation,
    "ChatStream": stream,
    "Generation": generation,
    "Context": on_context(),
    **{
        name: on(name)
        for name in ("LoraAdapter", "ThreadPool", "Session", "Trainer", "Model", "Snapshot", "Upload")
    },
}
"""For some calls on an object of the class that have no set-up of their own; for all that end its life."""
