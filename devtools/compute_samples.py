"""Let llama.cpp plan networks of random sizes, without allocating, and write down what it says.

One file of JSON lines per kind of `llama_ffi.testing`: the metadata, and for several contexts the bytes of
weights, memory and compute buffer. `devtools.fit_compute` looks for sums that explain the last.
"""

from __future__ import annotations

import json
import math
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_ffi as lf
from llama_ffi import testing
from llama_ffi._core import binding
from llama_ffi.errors import LlamaError
from llama_ffi.gguf import GgufContext

FILES = ("rwkv6qwen2",)
USUAL: list[dict[str, Any]] = [{"n_ctx": 512}, {"n_ctx": 2048}, {"n_ctx": 8192}]
"""Contexts of the first network, which has the sizes that `testing` gives it."""


def planned(metadata: dict[str, Any]) -> lf.Model:
    """Return a model whose weights have a place and no values: only its plans are of use."""
    active = binding.active()
    params = active.lib.llama_model_default_params()
    params.n_gpu_layers, params.use_extra_bufts = 0, False
    nothing = active.ffi.callback("llama_model_set_tensor_data_t", lambda _tensor, _data: None)
    with GgufContext(metadata) as gguf, gguf._handle as context:
        return lf.Model(active.lib.llama_model_init_from_user(context, nothing, active.ffi.NULL, params))


def from_file(kind: str, metadata: dict[str, Any]) -> lf.Model:
    """Return the same for kinds that take a file: in memory they get tensors that they must not have."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.gguf"
        testing.save_random_model(path, kind, metadata=metadata)
        return lf.Model.load(path, no_alloc=True, n_gpu_layers=0, use_extra_bufts=False)


def sample(kind: str, n_sizes: int, n_contexts: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield records of networks of one kind; the first one has the usual sizes."""
    chance = random.Random(f"{kind} {seed}")
    done = 0
    for attempt in range(3 * n_sizes):
        if done == n_sizes:
            return
        try:
            metadata = _metadata(kind, chance, usual=attempt == 0)
            model = from_file(kind, metadata) if kind in FILES else planned(metadata)
        except LlamaError:  # sizes that don't fit together
            continue
        done += 1
        runs = []
        with model:
            for context in (USUAL if attempt == 0 else []) + [_context(chance) for _ in range(n_contexts)]:
                try:
                    plan = model.measure(**context)
                except LlamaError:  # a context that this kind can't have
                    continue
                runs.append((context, plan.model, plan.context, plan.compute))
            own = {key: value for key, value in metadata.items() if not key.startswith("tokenizer.")}
            yield {"md": own, "n_vocab": model.vocab.n_tokens, "runs": runs}


def write(folder: Path, kinds: list[str], n_sizes: int, n_contexts: int, seed: int) -> None:
    """Write a file per kind into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        with open(folder / f"{kind}.jsonl", "w", encoding="utf-8") as file:
            for record in sample(kind, n_sizes, n_contexts, seed):
                file.write(json.dumps(record) + "\n")
        print(kind, flush=True)


def _metadata(kind: str, chance: random.Random, *, usual: bool) -> dict[str, Any]:
    if usual:
        return testing.random_metadata(kind)
    plain = testing.random_metadata(kind)
    arch = plain["general.architecture"]
    sizes: Any = _sizes(chance, experts=f"{arch}.expert_count" in plain, wide="rwkv" in arch)
    if kind not in FILES and chance.random() < 0.4:
        width = chance.choice([8, 16, 32, 64, 128])
        keys = ("attention.key_length", "attention.value_length", "rope.dimension_count")
        metadata = testing.random_metadata(kind, metadata={f"{arch}.{key}": width for key in keys}, **sizes)
        try:
            planned(metadata).close()
            return metadata
        except LlamaError:  # heads of other widths than the embedding's share aren't for every kind
            pass
    return testing.random_metadata(kind, **sizes)


def _sizes(chance: random.Random, *, experts: bool, wide: bool) -> dict[str, int]:
    n_head = 2 ** chance.randint(0, 3 if wide else 4)
    n_head_kv = n_head if wide else 2 ** chance.randint(0, n_head.bit_length() - 1)
    n_embd = n_head * (64 if wide else chance.choice([8, 16, 24, 32, 64, 64, 128]))
    sizes = {
        "n_embd": n_embd,
        "n_head": n_head,
        "n_head_kv": n_head_kv,
        "n_ff": _any(chance, 32, 4 * max(n_embd, 64), 8),
        "n_vocab": _any(chance, 600, 12000, 8),
        "n_swa": chance.choice([32, 64, 256]),
    }
    if experts:
        sizes.update(n_expert=chance.choice([4, 8, 16]), n_expert_used=chance.randint(1, 4))
    return sizes


def _context(chance: random.Random) -> dict[str, Any]:
    tokens, sequences = chance.choice([16, 32, 64, 128, 256, 512]), chance.choice([1, 1, 1, 1, 2, 4])
    context: dict[str, Any] = {"n_ctx": _any(chance, 256, 16384, 256), "n_seq_max": sequences}
    context.update(n_ubatch=tokens, n_batch=max(tokens, 512))
    if chance.random() < 0.3:
        context["flash_attn"] = False
    if chance.random() < 0.2:
        context["n_outputs_max"] = max(sequences, chance.choice([4, 8, 16]))
    if chance.random() < 0.2:
        context["swa_full"] = False
    if sequences > 1 and chance.random() < 0.4:
        context["kv_unified"] = True
    return context


def _any(chance: random.Random, low: int, high: int, step: int) -> int:
    """Return a multiple of ``step``, every order of size as likely as the others."""
    return max(step, int(math.exp(chance.uniform(math.log(low), math.log(high)))) // step * step)
