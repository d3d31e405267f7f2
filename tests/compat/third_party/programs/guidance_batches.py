"""guidance on its llama.cpp engine: prompts around the borders of batches, and what it computes there.

`python guidance_batches.py MODEL`. guidance's own tests of these borders are in no release; these are ours.
"""

from __future__ import annotations

import sys

import guidance
import llama_cpp
import numpy as np
from guidance import gen, select
from guidance.models._engine._interpreter import text_to_grammar

import llama_ffi as lf

path = sys.argv[1]
N_BATCH = 32
llama = llama_cpp.Llama(
    model_path=path, n_ctx=256, n_batch=N_BATCH, logits_all=True, n_threads=1, verbose=False
)
model = guidance.models.LlamaCpp(llama, echo=False)
engine = model._interpreter.engine
assert engine.model_obj.n_batch == N_BATCH

# --- a prompt of exactly so many tokens, then a constrained continuation ---
bos = engine.tokenizer.bos_token.decode("utf-8")
for length in (N_BATCH - 1, N_BATCH, N_BATCH + 1, 2 * N_BATCH - 1, 2 * N_BATCH, 2 * N_BATCH + 1):
    prompt = bos * length
    said = model + text_to_grammar(engine.tokenizer, prompt) + gen("more", max_tokens=10, regex=r"[a-z ]+")
    more = said["more"]
    assert more and set(more) <= set("abcdefghijklmnopqrstuvwxyz "), (length, more)
    print("prompt of", length, "tokens:", repr(more))

# --- the logits are those of the safe layer, whatever was cached before ---
random = np.random.default_rng(1)
with (
    lf.Model.load(path) as ours,
    ours.context(n_ctx=256, n_batch=N_BATCH, flash_attn=False, n_threads=1) as ctx,
):
    text = [int(t) for t in random.integers(5, ours.vocab.n_tokens, 2 * N_BATCH + 1)]
    for length in (1, N_BATCH - 1, N_BATCH, N_BATCH + 1, N_BATCH + 1, 5, 2 * N_BATCH + 1, 2 * N_BATCH):
        logits = engine.get_logits(text[:length])["logits"]
        ctx.memory.clear()
        for begin in range(0, length, N_BATCH):
            part = text[begin : min(length, begin + N_BATCH)]
            ctx.decode(lf.Batch.from_tokens(part, pos0=begin))
        mine = ctx.logits(-1)
        difference = float(np.abs(logits[-1] - mine).max() / np.abs(mine).max())
        assert difference < 1e-2, (length, difference)
print("logits agree")

# --- grammars: a choice, a number, a suffix; and the same again ---
for _ in range(2):
    said = model + "I say " + select(["yes", "no"], name="word") + gen("number", regex=r"[0-9]{3}")
    assert said["word"] in ("yes", "no") and len(said["number"]) == 3 and said["number"].isdigit()
first = (model + "2 + 2 = " + gen("answer", max_tokens=5, temperature=0))["answer"]
again = (model + "2 + 2 = " + gen("answer", max_tokens=5, temperature=0))["answer"]
assert first == again
warm = (model + "2 + 2 = " + gen("answer", max_tokens=5, temperature=0.9))["answer"]
print("grammars hold:", said["word"], said["number"], repr(first), repr(warm))

# --- text to tokens and back ---
for text in ("hello", "Hello, world! ", "two\nlines", "wave \N{WAVING HAND SIGN}", "日本語"):
    assert engine.tokenizer.decode(engine.tokenizer.encode(text.encode())).decode() == text
assert engine.tokenizer.encode(engine.tokenizer.eos_token) == [engine.tokenizer.eos_token_id]
print("tokens go round")
