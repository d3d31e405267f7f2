"""LLaMA (Touvron et al., 2023) in numpy: RMS norm, rotated heads in groups, SwiGLU; a mixture of experts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.model.reference_numpy import Array, Weights, attention, rms_norm, rotate, silu, softmax


@dataclass(frozen=True)
class Llama:
    """The sizes of the network; the defaults are those of `llama_ffi.testing`."""

    n_vocab: int
    n_layer: int = 2
    n_embd: int = 64
    n_head: int = 4
    n_head_kv: int = 2
    n_ff: int = 96
    n_expert: int = 0
    n_expert_used: int = 2
    epsilon: float = 1e-5
    base: float = 10000.0


def logits(tokens: Sequence[int], net: Llama, weights: Weights) -> Array:
    """Return the logits of every token, (token, n_vocab)."""
    width = net.n_embd // net.n_head
    kv = width * net.n_head_kv
    factors = weights("rope_freqs.weight", width // 2)
    positions = np.arange(len(tokens))
    x = weights("token_embd.weight", net.n_vocab, net.n_embd)[list(tokens)]
    for layer in range(net.n_layer):

        def linear(x: Array, name: str, rows: int, columns: int, layer: int = layer) -> Array:
            matrix = weights(f"blk.{layer}.{name}.weight", rows, columns)
            return x @ matrix.T + weights(f"blk.{layer}.{name}.bias", rows)

        h = rms_norm(x, weights(f"blk.{layer}.attn_norm.weight", net.n_embd), net.epsilon)
        q = linear(h, "attn_q", net.n_embd, net.n_embd).reshape(-1, net.n_head, width)
        k = linear(h, "attn_k", kv, net.n_embd).reshape(-1, net.n_head_kv, width)
        v = linear(h, "attn_v", kv, net.n_embd).reshape(-1, net.n_head_kv, width)
        q, k = (rotate(each, positions, net.base, factors) for each in (q, k))
        x = x + linear(attention(q, k, v, causal=True), "attn_output", net.n_embd, net.n_embd)
        h = rms_norm(x, weights(f"blk.{layer}.ffn_norm.weight", net.n_embd), net.epsilon)
        if net.n_expert:
            x = x + experts(h, layer, net, weights)
        else:
            inner = silu(linear(h, "ffn_gate", net.n_ff, net.n_embd)) * linear(
                h, "ffn_up", net.n_ff, net.n_embd
            )
            x = x + linear(inner, "ffn_down", net.n_embd, net.n_ff)
    x = rms_norm(x, weights("output_norm.weight", net.n_embd), net.epsilon)
    return x @ weights("output.weight", net.n_vocab, net.n_embd).T


def experts(h: Array, layer: int, net: Llama, weights: Weights) -> Array:
    """Return the best experts' answers, weighted by their share of the router's belief (Mixtral)."""
    name = f"blk.{layer}.ffn"
    belief = softmax(h @ weights(f"{name}_gate_inp.weight", net.n_expert, net.n_embd).T)
    gate = weights(f"{name}_gate_exps.weight", net.n_expert, net.n_ff, net.n_embd)
    up = weights(f"{name}_up_exps.weight", net.n_expert, net.n_ff, net.n_embd)
    down = weights(f"{name}_down_exps.weight", net.n_expert, net.n_embd, net.n_ff)
    result = np.zeros_like(h)
    for index, (token, believed) in enumerate(zip(h, belief, strict=True)):
        best = np.argsort(-believed)[: net.n_expert_used]
        for expert in best:
            answer = down[expert] @ (silu(gate[expert] @ token) * (up[expert] @ token))
            result[index] += believed[expert] / believed[best].sum() * answer
    return result
