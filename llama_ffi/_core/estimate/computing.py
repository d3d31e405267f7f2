"""The buffer that computing needs, estimated from a network's sizes.

It is as large as the most that is alive at any moment of llama.cpp's graph. That graph is code; no metadata
describes it. But at each moment what is alive is a sum of tensors, whose sizes are products of the network's,
so the peak is the largest of a few sums. Which sums those are was found by measuring: for each architecture
llama.cpp planned hundreds of networks of random sizes without allocating (``devtools/fit_compute.py``), and
``compute.json`` has the sums that explain what it said. Here they are only evaluated.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from .network import NO_MEMORY, Network
from .remembered import Cells, padded, window_cells

Features = dict[str, int]
Sum = dict[str, float]

_TABLE = Path(__file__).with_name("compute.json")
_CHUNK = 64
"""Tokens of which delta attention makes one step."""


def features(net: Network, cells: Cells, n_vocab: int) -> Features:
    """Return the sizes of which sums are made, in values of 4 bytes; names tell the factors.

    T tokens, S sequences, N cells, W cells of a window, O outputs, V vocabulary, E embedding, F feed-forward,
    H heads, K and Vv keys' and values' widths, U and X what the experts in use make, I a state's width.
    """
    S, E, rows = cells.n_seq_max, net.n_embd, cells.n_outputs
    T = padded(cells.n_ubatch, S)
    alone = net.arch in NO_MEMORY
    N = T if alone else cells.n_ctx_seq
    H, KV = max(net.heads), max(net.heads_kv)
    dk, dv = max(net.head_k, net.head_k_swa), max(net.head_v, net.head_v_swa)
    M = N * (1 if alone else cells.streams)
    found = {
        "1": 1,
        "T": T,
        "T.E": T * E,
        "T.F": T * max(net.ff),
        "T.Q": T * H * dk,
        "T.K": T * KV * dk,
        "T.Vv": T * KV * dv,
        "T.HV": T * H * dv,
        "T.H": T * H,
        "T.N": T * N,
        "T.H.N": T * H * N,
        "O.V": rows * n_vocab,
        "O.E": rows * E,
        "N": M,
        "N.K": M * KV * dk,
        "N.V": M * KV * dv,
        "S.E": S * E,
        "S.V": S * n_vocab,
        "T.V": T * n_vocab,
        "T.T": T * T // S,
        "T.H.T": T * H * T // S,
        "T2": T * T,
        "H.T2": H * T * T,
    }
    if any(net.slides):
        W = T if alone else window_cells(net, cells)
        found.update({"T.W": T * W, "T.H.W": T * H * W, "W": W})
    if net.number("expert_count"):
        found.update(_experts(net, T))
    if any(net.states):
        found.update(_states(net, T, S, H, dk))
    streams = net.number("hyper_connection.count")
    if streams:
        found.update({"T.E.hc": T * E * streams, "T.hc": T * streams})
    if net.indexer:
        heads, wide = net.number("attention.indexer.head_count"), net.indexer
        found.update({"T.ih.N": T * heads * N, "T.ih.ik": T * heads * wide, "T.ik": T * wide})
        found.update({"N.ik": M * wide, "N.S": N * S, "N.S.ik": N * S * wide, "T.N.S": T * N * S})
        if S == 1:  # several sequences are attended to in another way
            found["A.ih.N"] = T * heads * N
    return found


def _experts(net: Network, T: int) -> Features:
    count, used = net.number("expert_count"), net.number("expert_used_count")
    wide, shared = net.number("expert_feed_forward_length"), net.number("expert_shared_feed_forward_length")
    return {
        "T.X": T * used * wide,
        "T.U": T * used * net.n_embd,
        "T.n": T * count,
        "T.u": T * used,
        "T.s": T * shared,
        "T.x": T * wide,
        "T.n.X": T * count * wide,
    }


def _states(net: Network, T: int, S: int, H: int, dk: int) -> Features:
    inner, state = net.number("ssm.inner_size"), net.number("ssm.state_size")
    kda, wkv = net.number("kda.head_dim"), net.number("wkv.head_size")
    chunks = -(-(T // S) // _CHUNK) * S
    return {
        "T.I": T * inner,
        "T.G": T * net.number("ssm.group_count") * state,
        "S.I": S * inner,
        "S.I.St": S * inner * state,
        "T.I.St": T * inner * state,
        "S.dd": S * H * dk * dk,
        "C.H": chunks * _CHUNK * H * _CHUNK,
        "C.I": chunks * _CHUNK * inner,
        "C.dd": chunks * H * dk * dk,
        "S.wkv": S * net.n_embd * wkv,
        "T.wkv": T * H * wkv,
        "T.kda": T * H * kda,
        "S.kda": S * H * kda * kda,
        "C.kda": chunks * _CHUNK * H * kda,
        "C.H.kda": chunks * _CHUNK * _CHUNK * H * kda,
    }


def compute_bytes(net: Network, cells: Cells, n_vocab: int) -> int:
    """Return the estimated bytes of the buffer for computing."""
    sums = _table().get(net.arch, _table()["llama"])["fa" if cells.flash_attn else "plain"]
    return int(4 * largest(sums, features(net, cells, n_vocab)))


def largest(sums: list[Sum], sizes: Features) -> float:
    """Return the largest of the sums."""
    return max(sum(factor * sizes.get(name, 0) for name, factor in each.items()) for each in sums)


def known(arch: str) -> bool:
    """Tell whether the architecture was measured; others are taken for a llama."""
    return arch in _table()


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, list[Sum]]]:
    found: dict[str, dict[str, list[Sum]]] = json.loads(_TABLE.read_text(encoding="utf-8"))["sums"]
    return found
