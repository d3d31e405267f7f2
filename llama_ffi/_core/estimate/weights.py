"""Where a file's weights belong: to the input, to a layer, to the output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from .. import gguf_types as types
from ..gguf_scan import TensorInfo
from .network import Network
from .remembered import padded

_LAYER = re.compile(r"(?:enc\.|dec\.)?blk\.(\d+)\.")
_INPUT = re.compile(r"(token_embd|per_layer_token_embd|token_types|position_embd|token_embd_norm)\b")
_ALIGNMENT = 32


class Weights(NamedTuple):
    """Bytes of weights."""

    input: int
    """always on the host"""
    layers: tuple[int, ...]
    output: int
    tied: int
    """bytes of token embeddings that serve as the output too, and are copied to where that is"""


def weights(net: Network, tensors: Mapping[str, TensorInfo], *, load_mtp: bool) -> Weights:
    """Return what llama.cpp loads of the tensors."""
    layers = [0] * net.n_layer_all
    first = last = embeddings = 0
    for name, info in tensors.items():
        kind = types.tensor_type(info.type)
        if kind is None or not kind.block:
            continue
        size = padded(types.n_bytes(kind, info.ne), _ALIGNMENT)
        found = _LAYER.match(name)
        if found:
            layer = int(found[1])
            if layer < net.n_layer_all and (load_mtp or layer < net.n_layer or not net.n_layer):
                layers[layer] += size
        elif _INPUT.match(name):
            first += size
            embeddings += size if name == "token_embd.weight" else 0
        else:
            last += size
    tied = 0 if any(name.startswith(("output.weight", "cls")) for name in tensors) else embeddings
    return Weights(first, tuple(layers), last, tied)


def vocabulary(net: Network, tensors: Mapping[str, TensorInfo], n_tokens: int) -> int:
    """Return how many logits a row has."""
    if net.arch == "qwen3tts" and n_tokens:  # its own outputs are fewer, and filled up
        return n_tokens
    for name in ("output.weight", "token_embd.weight"):
        info = tensors.get(name)
        if info is not None and len(info.ne) > 1:
            return info.ne[1]
    return net.number("vocab_size", n_tokens)
