"""What a context remembers, in bytes by layer: keys and values, recurrent states, indexers' keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .network import NO_MEMORY, RECURRENT, Network

Row = Callable[[int], int]
"""The bytes of a row of so many values."""


class Cells(NamedTuple):
    """What decides how much there is to remember, and how much is computed at a time."""

    n_ctx_seq: int
    """tokens of one sequence"""
    n_seq_max: int
    n_ubatch: int
    unified: bool
    swa_full: bool
    flash_attn: bool
    key_row: Row
    value_row: Row
    n_outputs: int = 0
    """rows of logits that one decode makes"""
    n_rs_seq: int = 0

    @property
    def streams(self) -> int:
        """Return how many separate memories there are."""
        return 1 if self.unified else self.n_seq_max


def cells(
    net: Network,
    *,
    n_ctx: int,
    n_batch: int,
    n_ubatch: int,
    n_seq_max: int,
    n_outputs_max: int,
    n_rs_seq: int,
    unified: bool,
    swa_full: bool,
    flash_attn: bool,
    key_row: Row,
    value_row: Row,
) -> Cells:
    """Return what llama.cpp makes of a context's parameters: it rounds, limits and fills in."""
    n_ctx = n_ctx or net.n_ctx_train
    whole = padded(n_ctx, 256)
    n_ctx_seq = whole if unified else padded(max(whole // n_seq_max, 1), 256)
    whole = n_ctx_seq * (1 if unified else n_seq_max)
    batch = min(n_batch, n_ctx) if net.causal else n_batch
    tokens = min(batch, n_ubatch or batch, whole)
    outputs = min(tokens, n_outputs_max or batch)
    return Cells(
        *(n_ctx_seq, n_seq_max, tokens, unified, swa_full, flash_attn, key_row, value_row, outputs, n_rs_seq)
    )


def padded(number: int, to: int) -> int:
    """Return the next multiple of ``to``."""
    return -(-number // to) * to


def window_cells(net: Network, cells: Cells) -> int:
    """Return how many cells a layer with a window has."""
    if cells.swa_full:
        return cells.n_ctx_seq
    most = net.window * (cells.n_seq_max if cells.unified else 1) + cells.n_ubatch
    return padded(min(cells.n_ctx_seq, most), 256)


def by_layer(net: Network, cells: Cells) -> list[int]:
    """Return the bytes that each layer remembers."""
    if net.arch in NO_MEMORY:
        return [0] * net.n_layer_all
    if net.arch == "deepseek4":
        return _compressed(net, cells)
    sizes = [0] * net.n_layer_all
    if net.arch not in RECURRENT:
        for layer, size in enumerate(_keys_and_values(net, cells)):
            sizes[layer] += size
        for layer, size in enumerate(indexers(net, cells)):
            sizes[layer] += size
    for layer, size in enumerate(_states(net, cells)):
        sizes[layer] += size
    if net.router:
        sizes[-1] += cells.n_ctx_seq * cells.streams * _router(net, cells)
    return sizes


def _router(net: Network, cells: Cells) -> int:
    """Return the bytes of a token in the layer that chooses adapters: it has one head."""
    wide = net.head_v if cells.flash_attn else max(net.heads_kv) * net.head_v
    return cells.key_row(net.head_k) + cells.value_row(wide)


def _remembering(net: Network, layer: int) -> bool:
    """Tell whether a layer has keys and values."""
    if layer >= net.n_layer:
        return False
    if net.arch == "gemma3n" and layer >= 20:
        return False
    if net.arch == "gemma4" and layer >= net.n_layer_all - net.number("attention.shared_kv_layers"):
        return False
    if net.arch in ("nemotron_h", "nemotron_h_moe"):
        return not net.states[layer] and not net.ff[layer]
    return net.arch == "falcon-h1" or not net.states[layer]


def _keys_and_values(net: Network, cells: Cells) -> list[int]:
    widths_v = [
        heads * (net.head_v_swa if slides else net.head_v)
        for heads, slides in zip(net.heads_kv, net.slides, strict=True)
    ]
    widest = max(widths_v, default=0)
    sizes = []
    for layer, (heads, slides) in enumerate(zip(net.heads_kv, net.slides, strict=True)):
        if not _remembering(net, layer):
            sizes.append(0)
            continue
        count = window_cells(net, cells) if slides else cells.n_ctx_seq
        row = cells.key_row(heads * (net.head_k_swa if slides else net.head_k))
        if not net.mla:  # without flash attention values lie transposed, all as wide as the widest
            row += cells.value_row(widths_v[layer] if cells.flash_attn else widest)
        sizes.append(row * count * cells.streams)
    return sizes


_EVERY, _DENSE_LEAD = 1, 2
_INDEXERS = {"deepseek32": _EVERY, "glm-dsa": 0, "dots3note": 0, "hy_v4": 0, "minimax-m3": _DENSE_LEAD}
"""Architectures whose memory has an indexer's keys; 0: in the layers that the file names."""


def indexers(net: Network, cells: Cells) -> list[int]:
    """Return the bytes of an indexer's keys in each layer."""
    nothing = [0] * net.n_layer_all
    if not net.indexer:
        return nothing
    if net.arch in ("qwen4exp", "glm5-next"):  # hybrids: keys only, of the layers with attention
        types = net.each("attention.indexer.types", 1)
        pooled = 3 if net.arch == "glm5-next" and net.number("attention.indexer.kpool") else 1
        size = cells.key_row(net.indexer * pooled) * cells.n_ctx_seq * cells.streams
        full = [bool(each) for each in types] if net.arch == "glm5-next" else [True] * net.n_layer_all
        return [
            size if layer < net.n_layer and not net.states[layer] and full[layer] else 0
            for layer in range(net.n_layer_all)
        ]
    if net.arch not in _INDEXERS or (net.arch == "hy_v4" and not net.number("attention.indexer.top_k")):
        return nothing
    kind = _INDEXERS[net.arch]
    if kind == 0:
        full = [bool(each) for each in net.each("attention.indexer.types", 1 if net.arch == "glm-dsa" else 0)]
    elif kind == _DENSE_LEAD:
        full = [layer >= net.number("leading_dense_block_count") for layer in range(net.n_layer_all)]
    else:
        full = [True] * net.n_layer_all
    row = cells.key_row(net.indexer)
    if not net.mla:
        row += cells.value_row(net.head_v)
    size = row * cells.n_ctx_seq * cells.streams
    return [size if layer < net.n_layer and full[layer] else 0 for layer in range(net.n_layer_all)]


def _states(net: Network, cells: Cells) -> list[int]:
    rows = max(1, cells.n_seq_max) * (1 + cells.n_rs_seq)
    size = 4 * rows * (_shift_state(net) + _inner_state(net))
    wanted = [state and layer < net.n_layer for layer, state in enumerate(net.states)]
    return [size if state else 0 for state in wanted]


_UNGROUPED = ("mamba", "jamba")
"""Architectures that don't read the number of groups, whatever the file says."""


def _shift_state(net: Network) -> int:
    """Return how many values the beginning of a layer keeps of the tokens before."""
    if net.number("wkv.head_size"):
        usual = 1 if net.arch in ("rwkv6qwen2", "arwkv7") else 2
        return net.number("token_shift_count", usual) * net.n_embd
    if net.arch in ("lfm2", "lfm2moe"):
        return net.n_embd * (net.number("shortconv.l_cache") - 1)
    convolution = net.number("ssm.conv_kernel")
    if net.number("kda.head_dim"):
        return 3 * (convolution - 1 if convolution else 3) * net.heads[0] * net.number("kda.head_dim")
    if net.arch == "minimax-01":
        return 0
    groups = 0 if net.arch in _UNGROUPED else net.number("ssm.group_count")
    state = net.number("ssm.state_size")
    return max(convolution - 1, 0) * (net.number("ssm.inner_size") + 2 * groups * state)


def _inner_state(net: Network) -> int:
    """Return how many values of state a layer keeps."""
    if net.number("wkv.head_size"):
        return net.n_embd * net.number("wkv.head_size")
    if net.arch in ("lfm2", "lfm2moe"):
        return 0
    if net.number("kda.head_dim"):
        return net.number("kda.head_dim") ** 2 * net.heads[0]
    if net.arch == "minimax-01":
        return net.head_k**2 * net.heads[0]
    return net.number("ssm.state_size") * net.number("ssm.inner_size")


_FOURTH, _HUNDREDTH = 4, 128
"""The two ratios in which DeepSeek V4 compresses what it remembers."""


def _compressed(net: Network, cells: Cells) -> list[int]:
    """DeepSeek V4: raw keys of a window in each layer; compressed ones, and the compressors' states."""
    separate = cells._replace(unified=False)
    raw = cells.key_row(net.heads_kv[0] * net.head_k_swa) * window_cells(net, separate) * separate.streams
    ratios = net.each("attention.compress_ratios", 0)
    sizes = []
    for layer in range(net.n_layer_all):
        size = raw if layer < net.n_layer else 0
        ratio = ratios[layer]
        if layer < net.n_layer and ratio in (_FOURTH, _HUNDREDTH):
            count = padded(max(1, -(-cells.n_ctx_seq // ratio)), 256) * separate.streams
            size += cells.key_row(net.heads_kv[0] * net.head_k) * count
            planes = separate.streams * (1 + cells.n_rs_seq)
            if ratio == _FOURTH:
                size += cells.key_row(net.indexer) * count
                size += 2 * 4 * planes * 2 * ratio * 2 * (net.head_k + net.indexer)
            else:
                size += 2 * 4 * planes * ratio * net.head_k
        sizes.append(size)
    return sizes
