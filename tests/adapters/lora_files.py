"""LoRA files for the tests, made with numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import llama_ffi as lf

RANK, ALPHA = 4, 8.0
TARGETS = ("blk.0.attn_q.weight", "blk.1.ffn_down.weight", "blk.2.attn_output.weight", "output.weight")

Pairs = dict[str, tuple[Any, Any]]


def weights(path: Path) -> dict[str, Any]:
    """Return the tensors of a model's file as float32."""
    with lf.gguf.read(path) as file:
        return {name: np.array(tensor.dequantize()) for name, tensor in file.tensors.items()}


def pairs(path: Path, targets: tuple[str, ...] = TARGETS, seed: int = 1, strength: float = 0.1) -> Pairs:
    """Return random matrices A (rank, in) and B (out, rank) for these tensors of a model."""
    random, found, base = np.random.default_rng(seed), {}, weights(path)
    for name in targets:
        out, into = base[name].shape
        a, b = random.standard_normal((RANK, into)), random.standard_normal((out, RANK))
        found[name] = (np.float32(a * strength), np.float32(b * strength))
    return found


def metadata(**changes: Any) -> dict[str, Any]:
    """Return a LoRA's metadata; ``__`` in a name stands for a dot, None takes an entry out."""
    entries: dict[str, Any] = {
        "general.type": "adapter",
        "general.architecture": "llama",
        "adapter.type": "lora",
        "adapter.lora.alpha": lf.gguf.Typed(ALPHA, "f32"),
    }
    entries |= {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in entries.items() if value is not None}


def write(path: Path, matrices: Pairs, **changes: Any) -> Path:
    """Write a LoRA file and return its path."""
    tensors = {}
    for name, (a, b) in matrices.items():
        tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"] = a, b
    lf.gguf.write(path, metadata(**changes), tensors)
    return path


def write_model(path: Path, like: Path, tensors: dict[str, Any]) -> Path:
    """Write a model with the metadata of the file ``like`` and these tensors; return its path."""
    with lf.gguf.read(like) as file:
        entries = {key: field.typed for key, field in file.fields.items()}
    lf.gguf.write(path, entries, tensors)
    return path


def logits(ctx: lf.Context) -> Any:
    """Return the logits behind a fixed text, computed anew."""
    ctx.memory.clear()
    tokens = ctx.model.vocab.tokenize("Once upon a time there was")
    ctx.decode(lf.Batch.from_tokens(tokens))
    return ctx.logits(-1)
