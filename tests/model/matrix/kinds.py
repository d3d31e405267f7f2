"""What the matrix's tests need to know about each kind of random model, and how its outputs are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

import llama_ffi as lf
from llama_ffi import testing

_EMBEDDERS = """
bert classifier eurobert gemma-embedding jina-bert-v2 jina-bert-v3 llama-embed modern-bert neo-bert nomic-bert
nomic-bert-moe reranker t5encoder wavtokenizer-dec
"""
EMBEDDERS = frozenset(_EMBEDDERS.split())
"""Kinds whose outputs are embeddings, not logits."""

DIFFUSION = frozenset({"dream", "llada", "llada-moe", "rnd1"})

KINDS = testing.kinds()
DECODERS = [kind for kind in KINDS if kind not in EMBEDDERS and kind not in DIFFUSION and kind != "t5"]
"""Kinds that see only what came before, and remember it."""

EXACT = 1e-7
"""The most that rounding may make of the squared error; most kinds stay below 1e-12."""

# What llama.cpp does wrong at the pinned commit. Where a test meets one of these kinds it demands the error,
# so that an entry goes when the defect does.

MIXES_SEQUENCES = {
    "plamo2": "the offset of a sequence's state is multiplied by the number of sequences",
    "wavtokenizer-dec": "its convolutions run over the batch, whatever sequence a token belongs to",
}
"""Several sequences in one batch are wrong from the first tokens on."""

LOSES_TOKEN_SHIFT = {
    "rwkv6qwen2": "of all sequences but the first a wrong token is kept for the next batch's token shift",
    "arwkv7": "the same",
}
"""Several sequences in one batch are wrong from the next batch on."""

NO_STREAMS = {
    "t5": "with n_seq_max > 1 and kv_unified=False no context can be made: the mask has another shape",
    "kimi-linear": "the same",
}
"""Several sequences take kv_unified=True."""

LEAKS_BETWEEN_STREAMS = {
    "llama-embed": "with kv_unified=False sequences are wrong beyond the length of the shortest"
}

ROUNDS_COARSELY = {"gemma3n": 1e-4}
"""Kinds that cut off small values, where rounding decides about the smallest that stay."""

Rows = NDArray[np.float32]


@contextmanager
def context(model: lf.Model, kind: str, **options: Any) -> Iterator[lf.Context]:
    """Make a context for exact comparisons: an f32 cache, one thread."""
    chosen: dict[str, Any] = {
        "n_ctx": 256,
        "n_batch": 64,
        "n_ubatch": 64,
        "n_threads": 1,
        "n_threads_batch": 1,
        "type_k": "f32",
        "type_v": "f32",
        "flash_attn": False,
    }
    if kind in EMBEDDERS:
        chosen |= {"embeddings": True, "pooling_type": "none"}
    if kind == "plm":
        chosen["n_ubatch"] = 1  # llama.cpp's graph of it stores the values of several tokens as one row
    with model.context(**(chosen | options)) as ctx:
        yield ctx


def tokens(count: int, seed: int = 0) -> list[int]:
    """Return tokens that every vocabulary has, no two equal."""
    return [int(each) for each in 5 + np.random.RandomState(seed).permutation(60)[:count]]


def run(ctx: lf.Context, kind: str, sequences: dict[int, Sequence[int]], start: int = 0) -> dict[int, Rows]:
    """Compute the outputs of all tokens of some sequences, in one batch; position ``start`` is the first."""
    batch = lf.Batch(sum(len(each) for each in sequences.values()))
    for sequence, part in sequences.items():
        for position, token in enumerate(part, start):
            batch.add(token, position, [sequence], logits=True)
    if kind == "t5":
        ctx.encode(batch)
        ctx.decode(batch)
    elif ctx.model.has_encoder:
        ctx.encode(batch)
    else:
        ctx.decode(batch)
    row = ctx.embeddings if kind in EMBEDDERS else ctx.logits
    numbers = iter(range(len(batch)))
    found = {sequence: np.stack([row(next(numbers)) for _ in part]) for sequence, part in sequences.items()}
    if kind == "chameleon":  # llama.cpp masks the tokens of pictures in the first row of a batch only
        return {sequence: rows[:, 8196:] for sequence, rows in found.items()}
    return found


def alone(model: lf.Model, kind: str, part: Sequence[int]) -> Rows:
    """Return the outputs of one sequence in a context of its own."""
    with context(model, kind) as ctx:
        return run(ctx, kind, {0: part})[0]


def nmse(found: Rows, expected: Rows) -> float:
    """Return the squared error in parts of the expected values' square; -inf must be at the same places."""
    seen = np.isfinite(expected)
    if not np.array_equal(seen, np.isfinite(found)):
        return float("inf")
    a, b = found[seen].astype(np.float64), expected[seen].astype(np.float64)
    return float(((a - b) ** 2).sum() / (b**2).sum())


def tolerance(kind: str) -> float:
    """Return the most that :func:`nmse` may be between two ways to compute the same."""
    return ROUNDS_COARSELY.get(kind, EXACT)
