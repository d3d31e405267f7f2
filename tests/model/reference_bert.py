"""BERT (Devlin et al., 2018) in numpy: every token sees every other, norms come after what they norm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.model.reference_numpy import Array, Weights, attention, gelu, layer_norm


@dataclass(frozen=True)
class Bert:
    """The sizes of the network; the defaults are those of `llama_ffi.testing`."""

    n_vocab: int
    n_layer: int = 2
    n_embd: int = 64
    n_head: int = 4
    n_head_kv: int = 2
    n_ff: int = 96
    n_ctx_train: int = 512
    epsilon: float = 1e-5


def embeddings(tokens: Sequence[int], net: Bert, weights: Weights) -> Array:
    """Return the last layer's output for every token, (token, n_embd)."""
    width = net.n_embd // net.n_head
    kv = width * net.n_head_kv

    def norm(x: Array, name: str) -> Array:
        scale, shift = (weights(f"{name}.{part}", net.n_embd) for part in ("weight", "bias"))
        return layer_norm(x, scale, shift, net.epsilon)

    x = weights("token_embd.weight", net.n_vocab, net.n_embd)[list(tokens)]
    x = x + weights("position_embd.weight", net.n_ctx_train, net.n_embd)[np.arange(len(tokens))]
    x = norm(x + weights("token_types.weight", 2, net.n_embd)[0], "token_embd_norm")
    for layer in range(net.n_layer):

        def linear(x: Array, name: str, rows: int, columns: int, layer: int = layer) -> Array:
            matrix = weights(f"blk.{layer}.{name}.weight", rows, columns)
            return x @ matrix.T + weights(f"blk.{layer}.{name}.bias", rows)

        q = linear(x, "attn_q", net.n_embd, net.n_embd).reshape(-1, net.n_head, width)
        k = linear(x, "attn_k", kv, net.n_embd).reshape(-1, net.n_head_kv, width)
        v = linear(x, "attn_v", kv, net.n_embd).reshape(-1, net.n_head_kv, width)
        mixed = linear(attention(q, k, v, causal=False), "attn_output", net.n_embd, net.n_embd)
        x = norm(x + mixed, f"blk.{layer}.attn_output_norm")
        inner = gelu(linear(x, "ffn_up", net.n_ff, net.n_embd))
        x = norm(x + linear(inner, "ffn_down", net.n_embd, net.n_ff), f"blk.{layer}.layer_output_norm")
    return x
