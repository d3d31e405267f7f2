"""Set-ups for models as a whole, conversations and training with them, and their files."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.fuzz.calls.setups.kit import LLAMA, Described, Ready, Setup, need

if TYPE_CHECKING:
    from tests.fuzz.calls.world import World


def fresh_model(world: World, rnd: random.Random) -> Ready:
    kind = rnd.choice(("llama", "gpt2", "moe"))
    return Ready(need(world.do("Model.load", None, path={"path": f"{kind}.gguf"})))


def vocabulary_only(world: World, rnd: random.Random) -> Ready:
    whole = rnd.random() < 0.5
    return Ready(need(world.do("Model.load", None, path={"path": "llama.gguf"}, vocab_only=not whole)))


def conversation(world: World, rnd: random.Random) -> Ready:
    made = world.do("ChatSession", None, model={"slot": "tiny"}, n_ctx=256, n_batch=64, n_threads=1)
    return Ready(need(made), {"text": rnd.choice(("hello", "a b c")), "max_tokens": 2})


def stream(world: World, rnd: random.Random) -> Ready:
    on = need(world.do("ChatSession", None, model={"slot": "tiny"}, n_ctx=256, n_batch=64, n_threads=1))
    return Ready(need(world.do("ChatSession.say", on, text="hello", max_tokens=3, stream=True)))


def generation(world: World, rnd: random.Random) -> Ready:
    made = world.do("generate", None, prompt="Once", model=LLAMA, max_tokens=3, n_ctx=64, n_threads=1)
    return Ready(need(made))


def chat_model(world: World, rnd: random.Random) -> Ready:
    return Ready(None, {"model": {"slot": "tiny"}})


def trainer(world: World, rnd: random.Random) -> Ready:
    model = need(world.do("testing.random_model", None, kind="llama", seed=rnd.randint(0, 2)))
    made = need(world.do("Trainer", None, model=model, n_ctx=256, n_threads=1))
    rows = [[rnd.randint(3, 140) for _ in range(257)]]
    if rnd.random() < 0.05:
        rows[0][rnd.randint(0, 256)] = rnd.choice((-1, 10**6))
    return Ready(made, {"dataset": need(world.do("Dataset", None, rows=rows)), "learning_rate": 1e-4})


def trainable(world: World, rnd: random.Random) -> Ready:
    return Ready(None, {"model": need(world.do("testing.random_model", None, kind="llama", seed=1))})


def vectors(world: World, rnd: random.Random) -> Ready:
    model = {"slot": rnd.choice(("llama", "tiny", "random"))}
    if rnd.random() < 0.1:  # its embeddings can't be read
        model = need(world.do("testing.random_model", None, kind="deepseek4", seed=1))
    return Ready(None, {"model": model})


def ranked(world: World, rnd: random.Random) -> Ready:
    model = need(world.do("testing.random_model", None, kind=rnd.choice(("reranker", "classifier")), seed=1))
    return Ready(None, {"model": model, "documents": ["a b", "c"], "query": "a"})


def a_field(world: World, rnd: random.Random) -> Ready:
    first = need(world.do("gguf.read", None, path={"path": "llama.gguf"}))["slot"].rsplit(".", 1)[0]
    found = [name for name in world.classes["gguf.Field"] if name.startswith(f"{first}.")]
    return Ready({"slot": found[-1]})


def merged(world: World, rnd: random.Random) -> Ready:
    made = gguf(world, rnd)
    other: Described = {"dict": [["a.b", 3]]}
    if rnd.random() < 0.5:
        other = need(world.do("gguf.GgufContext", None, metadata=other))
    return Ready(made.on, {"other": other})


def new_tensor(world: World, rnd: random.Random) -> Ready:
    return Ready(gguf(world, rnd).on, {"name": rnd.choice(("new.weight", "new.bias", "output.weight"))})


def tensors(world: World, rnd: random.Random) -> Ready:
    made = gguf(world, rnd)
    made.args = {
        "name": rnd.choice(("output.weight", "blk.0.attn_q.weight")),
        "type": rnd.choice(("f16", "f32")),
    }
    return made


def gguf(world: World, rnd: random.Random) -> Ready:
    kind = rnd.choice(("llama", "quantized", "lora"))
    made = need(world.do("gguf.GgufContext.load", None, path={"path": f"{kind}.gguf"}))
    return Ready(made, {"name": "output.weight", "key": "general.architecture"})


def quantized(world: World, rnd: random.Random) -> Ready:
    made = need(world.do("gguf.read", None, path={"path": "quantized.gguf"}))["slot"]
    first = made.rsplit(".", 1)[0]
    found = [name for name in world.classes.get("gguf.GgufTensor", []) if name.startswith(f"{first}.")]
    return Ready({"slot": found[0]} if found else need(None))


SETUPS: dict[str, Setup] = {
    "Model.n_head": vocabulary_only,
    "Model.n_head_kv": vocabulary_only,
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
    "embed": vectors,
    "rerank": ranked,
    "Model.load_lora": lambda world, rnd: Ready(LLAMA),
    "gguf.Field.to_numpy": a_field,
    "gguf.GgufContext.set_tensor_type": tensors,
    "gguf.GgufContext.add_tensor": new_tensor,
    "gguf.GgufContext.update": merged,
    "gguf.GgufTensor.dequantize": quantized,
}

OWNERS: dict[str, Setup] = {
    "Vocab": lambda world, rnd: Ready(need(world.do("Model.vocab", LLAMA))),
    "ChatSession": conversation,
    "ChatStream": stream,
    "Generation": generation,
    "gguf.GgufContext": gguf,
}
