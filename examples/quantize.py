"""Quantize a model to several types and measure what each costs in size and in quality."""

import tempfile
from pathlib import Path

import llama_ffi as lf

with lf.Model.load(lf.tiny_model_path()) as model:
    texts = ["".join(lf.generate("Once upon a time", model=model, max_tokens=120, seed=s)) for s in range(3)]
    text = "\n".join(texts)
    before = lf.perplexity(model, text, n_ctx=64)
    print(f"{'f16':8} {model.size / 2**20:5.1f} MiB  perplexity {before.value:6.2f}")

with tempfile.TemporaryDirectory() as folder:
    for kind in ("q8_0", "q5_k_m", "q4_k_m", "q2_k"):
        path = Path(folder) / f"{kind}.gguf"
        result = lf.quantize(lf.tiny_model_path(), path, kind)
        found = lf.perplexity(path, text, n_ctx=64)
        print(f"{kind:8} {result.size_after / 2**20:5.1f} MiB  perplexity {found.value:6.2f}")

    # attention's values in more bits than the rest, by a regular expression
    plan = lf.quantize(lf.tiny_model_path(), None, "q4_0", tensor_types={"attn_v": "q8_0"}, dry_run=True)
    for name in ("blk.0.attn_v.weight", "blk.0.ffn_up.weight"):
        print(f"planned: {name} {plan.tensors[name].type_before} -> {plan.tensors[name].type_after}")
