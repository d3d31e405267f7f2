"""The trained model and contexts of it, for tests that sample on the back end."""

from __future__ import annotations

import llama_ffi as lf

N = 2157
"""Size of its vocabulary."""

Chain = lf.SamplerChain


def context(model: lf.Model, n_seq_max: int = 1) -> lf.Context:
    """Return a small context of one thread."""
    return model.context(n_ctx=256, n_batch=64, n_threads=1, n_seq_max=n_seq_max)


def prompt(model: lf.Model) -> lf.Batch:
    """Return a batch of a few words with one output."""
    assert model.vocab.n_tokens == N
    return lf.Batch.from_tokens(model.vocab.tokenize("Once upon a time"))
