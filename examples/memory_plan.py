"""How much memory will a model need? Found out without loading it.

python memory_plan.py [MODEL.gguf]
"""

from __future__ import annotations

import sys

import llama_ffi as lf

path = sys.argv[1] if len(sys.argv) > 1 else lf.tiny_model_path()
with lf.Model.load(path, no_alloc=True) as plan:
    print(f"{plan.desc}, trained with {plan.n_ctx_train} tokens of context")
    print(f"{'context':>8} {'cache':>6} {'weights':>12} {'remembered':>12} {'computing':>12} {'in all':>12}")
    for type_k in ("f16", "q8_0"):
        for n_ctx in (512, 2048, 8192):
            need = plan.measure(n_ctx=n_ctx, type_k=type_k, type_v=type_k, flash_attn=True)
            sizes = (need.model, need.context, need.compute, need.total)
            print(f"{n_ctx:>8} {type_k:>6}", *(f"{size / 2**20:8,.1f} MiB" for size in sizes))
free = sum(device.memory_free for device in lf.devices())
print(f"free on all devices: {free / 2**20:,.0f} MiB")
