"""Models of five kinds, made of metadata and random numbers: no file, no download, 20 milliseconds each."""

import llama_ffi as lf
from llama_ffi import testing

for kind in ("llama", "llama-moe", "gemma3", "mamba", "rwkv7"):
    with testing.random_model(kind, seed=1) as model, model.context(n_ctx=128, n_threads=1) as ctx:
        tokens = model.vocab.tokenize("once upon a time")
        ctx.decode(lf.Batch.from_tokens(tokens))
        best = int(ctx.logits().argmax())
        memory = "a state" if model.is_recurrent else "keys and values"
        print(f"{kind}: {model.n_layer} layers, {memory}; after {len(tokens)} tokens it says {best}")

# the same by hand: metadata of one's own, and a function that gives each tensor its values
metadata = testing.random_metadata("qwen3", n_layer=1, n_embd=32, n_head=2)
with lf.Model.from_metadata(metadata, lambda name, shape, type: 1.0 if "norm" in name else 0.01) as model:
    print(f"{model.desc}: {model.n_embd} wide, {model.vocab.n_tokens} tokens")

unmade = [f"{name} ({reason})" for name, reason in testing.architectures() if reason]
print(f"{len(testing.kinds())} kinds can be made; can't: {'; '.join(unmade)}")
