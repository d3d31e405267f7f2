"""A network's sizes as its metadata tells them, layer by layer.

What metadata leaves out llama.cpp knows by the architecture's name: which layers look at a window only,
which keep a state, which remember nothing. Those rules stand here, as tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import ModelLoadError

_WITHOUT_MEMORY = """
bert jina-bert-v2 jina-bert-v3 nomic-bert nomic-bert-moe neo-bert eurobert modern-bert gemma-embedding
wavtokenizer-dec dream llada llada-moe rnd1
"""
NO_MEMORY = frozenset(_WITHOUT_MEMORY.split())
"""Architectures whose contexts remember nothing."""

_LOOKS_AHEAD = frozenset(("dream", "gemma-embedding", "llada", "llada-moe", "rnd1"))
"""A token sees what comes after it too, whatever the file says."""

RECURRENT = frozenset(("mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"))
"""Every layer keeps a state."""

_STATE_BY_HEADS = """
jamba plamo2 granitehybrid lfm2 lfm2moe kimi-linear bailingmoe3 kimi-k3 glm5-next
"""
_STATE_WITHOUT_HEADS = frozenset(_STATE_BY_HEADS.split())
"""Hybrids in which a layer without key heads keeps a state."""

_STATE_BY_INTERVAL = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4, "qwen4exp": 4, "minimax-01": 8}
"""Hybrids in which every so-manieth layer has attention and the others keep a state."""

_WINDOWS: dict[str, tuple[int, bool, int]] = {
    "afmoe": (4, False, 0),
    "cohere2": (4, False, 0),
    "cohere2moe": (4, True, 0),
    "exaone-moe": (4, False, 128),
    "gemma-embedding": (6, False, 0),
    "gemma2": (2, False, 4096),
    "gemma3": (6, False, 0),
    "gemma3n": (5, False, 0),
    "laguna": (4, True, 0),
    "llama4": (4, False, 8192),
    "mellum": (4, False, 0),
    "modern-bert": (3, True, 0),
    "muse-glimmer": (4, False, 0),
    "olmo2": (4, False, 0),
    "gpt-oss": (2, False, 0),
    "plamo3": (8, False, 0),
    "smallthinker": (4, True, 4096),
    "gemma4": (0, False, 0),
    "granite_swa": (0, False, 0),
    "spark2_5": (0, False, 0),
    "mimo2": (0, False, 0),
    "step35": (0, False, 0),
    "maple": (0, False, 0),
    "dots3note": (0, False, 0),
}
"""Architecture → (every so-manieth layer sees all: by default; whether it is the first of them; the usual
window). 0: the file says it for each layer."""


class Network:
    """The sizes of one model."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Read them from metadata: key → value.

        Raises:
            ModelLoadError: a size that every network has is missing.
        """
        self.values = values
        self.arch = str(values.get("general.architecture", ""))
        self.n_layer_all = self._required("block_count")
        self.n_embd = self._required("embedding_length")
        self.n_ctx_train = self.number("context_length")
        self.n_layer_nextn = min(self.number("nextn_predict_layers"), self.n_layer_all)
        self._expand()
        heads = self.number("attention.head_count") or self.each("attention.head_count", 0)[0]
        usual = self.n_embd // heads if heads else 0
        self.head_k = self.number("attention.key_length", usual) if heads else 0
        self.head_v = self.number("attention.value_length", usual) if heads else 0
        self.head_k_swa = self.number("attention.key_length_swa", self.head_k)
        self.head_v_swa = self.number("attention.value_length_swa", self.head_v)
        self.heads = self.each("attention.head_count", 0)
        self.heads_kv = self.each("attention.head_count_kv", None, self.heads)
        self.ff = self.each("feed_forward_length", 0)
        self.mla = bool(self.number("attention.key_length_mla") and self.number("attention.value_length_mla"))
        self.causal = (
            self.arch not in _LOOKS_AHEAD and values.get(f"{self.arch}.attention.causal") is not False
        )
        self.indexer = self.number("attention.indexer.key_length")
        self.window, self.slides = self._windows()
        self.states = self._states()

    @property
    def n_layer(self) -> int:
        """Return the number of layers without those that predict further tokens."""
        return self.n_layer_all - self.n_layer_nextn

    @property
    def layers(self) -> range:
        """Return the layers that a context goes through."""
        return range(self.n_layer)

    def number(self, key: str, default: int = 0) -> int:
        """Return a number of the architecture's own keys; of a list the first one."""
        value = self.values.get(f"{self.arch}.{key}", default)
        if isinstance(value, list):
            value = value[0] if value else default
        return int(value) if isinstance(value, int | float) else default

    def each(self, key: str, default: int | None, usual: list[int] | None = None) -> list[int]:
        """Return a number for each layer: the key's list, or its one number for all of them."""
        value = self.values.get(f"{self.arch}.{key}")
        if isinstance(value, list):
            repeated = value * -(-self._count // max(len(value), 1)) if self._repeats else value
            return [int(each) for each in repeated[: self._count]] + [0] * (self._count - len(repeated))
        if isinstance(value, int | float):
            return [int(value)] * self._count
        return list(usual) if usual is not None else [default or 0] * self._count

    @property
    def _count(self) -> int:
        return self.n_layer_all

    def _required(self, key: str) -> int:
        value = self.values.get(f"{self.arch}.{key}")
        if not isinstance(value, int) or value < 1:
            raise ModelLoadError(f"the metadata has no {self.arch or 'ARCHITECTURE'}.{key} of 1 or more")
        return value

    def _expand(self) -> None:
        """Count the layers of networks that run through theirs several times, or add one of their own."""
        self._repeats = False
        if self.arch == "nanbeige":
            self.n_layer_all *= max(1, self.number("num_loops", 1))
            self._repeats = True
        self.router = self.arch == "graniteswitch"

    def _windows(self) -> tuple[int, list[bool]]:
        arch, count = self.arch, self.n_layer_all
        window = self.number("attention.sliding_window")
        nothing = [False] * count
        if arch == "deepseek4":
            return window, [True] * count
        if arch == "lfm2" and window:
            return window, [heads > 0 for heads in self.heads_kv]
        if arch == "exaone4":
            if self.n_layer != 64:
                return 0, nothing
            period, first, usual = 4, False, 4096
        elif arch in _WINDOWS:
            period, first, usual = _WINDOWS[arch]
            given = f"{arch}.attention.sliding_window" in self.values
            if not window and (given or not usual):
                return 0, nothing
        else:
            return 0, nothing
        window = usual if arch in ("llama4", "smallthinker") else window or usual
        pattern = self.values.get(f"{arch}.attention.sliding_window_pattern")
        if isinstance(pattern, list):
            return window, [bool(each) for each in (pattern + [0] * count)[:count]]
        if isinstance(pattern, int) and not isinstance(pattern, bool):
            period = pattern
        if period == 0:
            return window, [layer < self.n_layer for layer in range(count)]
        dense = 0 if first else period - 1
        return window, [layer % period != dense and layer < self.n_layer for layer in range(count)]

    def _states(self) -> list[bool]:
        """Return for each layer whether it keeps a recurrent state."""
        arch, count = self.arch, self.n_layer_all
        if arch in RECURRENT or arch == "falcon-h1":
            return [True] * count
        if arch in _STATE_WITHOUT_HEADS:
            return [heads == 0 for heads in self.heads_kv]
        if arch in ("nemotron_h", "nemotron_h_moe"):
            return [not heads and not ff for heads, ff in zip(self.heads_kv, self.ff, strict=True)]
        if arch in _STATE_BY_INTERVAL:
            given = self.values.get(f"{arch}.attention.recurrent_layers")
            if isinstance(given, list):
                return [bool(each) for each in (given + [0] * count)[:count]]
            interval = self.number("full_attention_interval", _STATE_BY_INTERVAL[arch])
            return [layer < self.n_layer and (layer + 1) % interval != 0 for layer in range(count)]
        return [False] * count
