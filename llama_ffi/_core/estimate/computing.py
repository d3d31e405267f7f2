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
from .remembered import Cells, indexers, padded, window_cells

Features = dict[str, int]
Sum = dict[str, float]

_TABLE = Path(__file__).with_name("compute.json")
_DEEPER = ("T.E", "T.N", "T.W", "T.F", "T.Q", "T.HV", "T.U", "T.X", "T.I", "O.E")
"""What deeper networks need more of."""
_PER_LAYER = {"gemma3n": 256}
"""How wide each layer's own input is, where the file doesn't say it."""
_CODEC = 3072
"""Outputs of Qwen3-TTS, which are filled up to as many as there are tokens."""
_CHUNK = 64
"""Tokens of which delta attention makes one step."""


def features(net: Network, cells: Cells, n_vocab: int) -> Features:
    """Return the sizes of which sums are made, in values of 4 bytes; names tell the factors.

    T tokens, S sequences, N cells, W cells of a window, O outputs, V vocabulary, E embedding, F feed-forward,
    H heads, K and Vv keys' and values' widths, U and X what the experts in use make, I a state's width.
    Those with ' are there from two layers on, with '' from three: behind the last layer that reads them masks
    are free again, and three layers leave holes that one has no need of.
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
        "O": rows,
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
    if any(net.slides[layer] for layer in net.layers):
        W = T if alone else window_cells(net, cells)
        found.update({"T.W": T * W, "T.H.W": T * H * W, "W": W})
    if net.mla:
        keys, values = net.number("attention.key_length_mla"), net.number("attention.value_length_mla")
        found.update(
            {"T.Qm": T * H * keys, "T.Vm": T * H * values, "T.lora": T * net.number("attention.q_lora_rank")}
        )
    if net.number("expert_count"):
        found.update(_experts(net, T))
    if any(net.states):
        found.update(_states(net, T, S, H, dk))
    streams = net.number("hyper_connection.count")
    if streams:
        found.update({"T.E.hc": T * E * streams, "T.hc": T * streams})
    per_layer = net.number("embedding_length_per_layer_input", _PER_LAYER.get(net.arch, 0))
    if per_layer:
        found["T.P.L"] = T * per_layer * net.n_layer
    if net.arch == "qwen3tts" and n_vocab > _CODEC:
        found["O.V.pad"] = rows * n_vocab
    if net.indexer and (net.arch == "deepseek4" or any(indexers(net, cells))):
        found.update(_indexed(net, cells, T, M))
    if not any(_sees_all(net, layer) for layer in net.layers):
        found = {name: size for name, size in found.items() if "N" not in name.split(".")}
    for mark, least in (("'", 2), ("''", 3)):
        if net.n_layer >= least:
            found.update({name + mark: found[name] for name in _DEEPER if name in found})
    return found


def _sees_all(net: Network, layer: int) -> bool:
    """Tell whether a layer has attention without a window."""
    return not net.slides[layer] and (net.arch == "falcon-h1" or not net.states[layer])


def _indexed(net: Network, cells: Cells, T: int, M: int) -> Features:
    S, N = cells.n_seq_max, cells.n_ctx_seq
    heads, wide = net.number("attention.indexer.head_count"), net.indexer
    chosen = min(net.number("attention.indexer.top_k"), N)
    found = {
        "T.ih.N": T * heads * N,
        "T.ih.ik": T * heads * wide,
        "T.ik": T * wide,
        "N.ik": M * wide,
        "N.S": N * S,
        "N.S.ik": N * S * wide,
        "T.N.S": T * N * S,
        "T.k": T * chosen,
        "T.ih.k": T * heads * chosen,
        "T.K.k": T * max(net.heads_kv) * max(net.head_k, net.head_v) * chosen,
    }
    if S == 1:  # several sequences are attended to in other ways
        found["A.ih.N"] = T * heads * N
    elif not cells.unified:
        found["B.ih.N"] = T * heads * N // S
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
    name = table_name(net)
    usual = "llama/experts" if name.endswith("/experts") else "llama"
    sums = _table().get(name, _table()[usual])["fa" if cells.flash_attn else "plain"]
    return int(4 * largest(sums, features(net, cells, n_vocab)))


def largest(sums: list[Sum], sizes: Features) -> float:
    """Return the largest of the sums."""
    return max(sum(factor * sizes.get(name, 0) for name, factor in each.items()) for each in sums)


def table_name(net: Network) -> str:
    """Return what the table calls such a network: some architectures are made with experts and without."""
    return f"{net.arch}/experts" if net.number("expert_count") else net.arch


def known(net: Network) -> bool:
    """Tell whether networks of this kind were measured; others are taken for a llama."""
    return table_name(net) in _table()


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, list[Sum]]]:
    found: dict[str, dict[str, list[Sum]]] = json.loads(_TABLE.read_text(encoding="utf-8"))["sums"]
    return found
