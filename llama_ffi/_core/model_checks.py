"""What libllama would die of in a model's metadata and tensors although the file is sound.

Found by reading its assertions and by ``python -m tests.fuzz.gguf --systematic``: each tensor of each type,
each number at its limits. An assertion at load would be caught by the guard, where there is one; a division
by zero or a NULL function in a worker thread is caught by nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import gguf_types as types
from .gguf_scan import TensorInfo

MAX_LAYERS = 512
MAX_EXPERTS = 1024
MAX_SINKHORN = 1000
"""libllama's graph has nodes for each round."""
_ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
_FLOAT_MAX = 3.4028234663852886e38

_RWKV = frozenset({"rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
_MAMBA2 = frozenset(
    {"mamba2", "falcon-h1", "granitehybrid", "nemotron_h", "nemotron_h_moe", "plamo2", "qwen3next", "qwen35",
     "qwen35moe", "qwen4exp"}
)  # fmt: skip
_LATENT = frozenset({"kimi-linear", "kimi-k3", "bailingmoe3", "glm5-next"})
_STEP = "interleave_moe_layer_step"  # which is 0 in files of dense models that libllama saved
_DIVISORS = {
    "ssm.group_count": _MAMBA2 - {"plamo2"},  # which has none
    "ssm.time_step_rank": _MAMBA2,
    "experts_per_group": frozenset({"grovemoe"}),
    _STEP: frozenset({"ernie4_5", "ernie4_5-moe"}),
    "attention.output_group_count": frozenset({"deepseek4"}),
    "expert_feed_forward_length": frozenset({"step35"}),
    "attention.relative_buckets_count": frozenset({"t5", "t5encoder"}),
    "attention.head_count_kv": frozenset({"modern-bert"}),
    "attention.group_norm_groups": frozenset({"wavtokenizer-dec"}),
    "attention.indexer.types": frozenset({"dots3note"}),  # all of them
    "attention.sliding_window_pattern": frozenset({"dots3note"}),  # all of them
    "attention.key_length_mla": _LATENT,
    "attention.value_length_mla": _LATENT,
    "full_attention_interval": frozenset({"qwen3next", "qwen35", "qwen35moe", "minimax-01"}),
}
"""Numbers that libllama divides by, and the architectures in which it does. Files that it saved have zeros
for all that an architecture doesn't use."""

_COMPRESSED = 4
"""The ratio of DeepSeek V4's layers with an indexer."""

_INDEX = re.compile(r"(^|\.)(d2t|ffn_gate_tid2eid)(\.|$)")
"""Tables of numbers, not weights."""
_FLOAT = re.compile(
    r"norm|\.bias$|^token_types\.|\.ssm_(a|d|conv1d)(\.|$)|\.time_mix_(first|lerp\w*|decay|ln)\.|"
    r"\.channel_mix_lerp\w*\.|attn_rel_b|\.attn_sinks"
)
"""What is added and multiplied element by element: f32 only."""
_ONE_ROW = re.compile(
    r"^cls|ffn_gate_inp|output\.weight$|^token_embd|\.lora_[ab]$|attn_(q|k|v|qkv)\.weight$|"
    r"ffn_(up|down|gate)\.weight$"
)
"""What is multiplied as a matrix; llama.cpp writes one of a single row (a reranker's) as a vector."""
_NEEDED = {
    "t5": ("dec.blk.0.attn_rel_b.weight", "enc.blk.0.attn_rel_b.weight"),
    "t5encoder": ("enc.blk.0.attn_rel_b.weight",),
}
"""Tensors that libllama takes for optional and uses all the same."""
_DENSE_ENDS = ("gemma-embedding", "lfm2", "lfm2moe")
"""Architectures that turn embeddings by matrices that may be missing."""

Get = Callable[[str], Any]


def metadata_problem(arch: str, get: Get, keys: Iterable[str] = ()) -> str | None:
    """Return what libllama would abort on in a model's metadata, None if nothing is known.

    Arguments:
        get: gives the value of a key, None if there is none.
        keys: all keys.
    """

    def number(name: str, default: int = 0) -> int:
        value = get(f"{arch}.{name}")
        if isinstance(value, list):  # one for each layer, and sometimes more, which nobody reads
            value = max(value[:layers], default=default)
        # C refuses values of other types by itself
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    layers = MAX_LAYERS
    layers = number("block_count", 1)
    if not 1 <= layers <= MAX_LAYERS:
        return f"{arch}.block_count is {layers}; it must lie in [1, {MAX_LAYERS}]"
    for name in ("embedding_length", "context_length"):
        if number(name, 1) < 1:
            return f"{arch}.{name} is {number(name)}; it must be 1 or more"
    for name, archs in _DIVISORS.items():
        if name == _STEP and not number("expert_count"):
            continue
        if arch in archs and number(name, 1) == 0:
            return f"{arch}.{name} is 0; it must be 1 or more"
    ratios = get(f"{arch}.attention.compress_ratios")
    if arch == "deepseek4" and isinstance(ratios, list) and _COMPRESSED not in ratios[:layers]:
        return (
            f"{arch}.attention.compress_ratios is {ratios[:layers]} for {layers} layers; one must have "
            f"{_COMPRESSED}: libllama divides by the size of what these remember"
        )
    rounds = number("hyper_connection.sinkhorn_iterations")
    if rounds > MAX_SINKHORN:
        return f"{arch}.hyper_connection.sinkhorn_iterations is {rounds}, more than {MAX_SINKHORN}"
    width = number("wkv.head_size", 64)
    if arch in _RWKV and (width < 1 or width % 64):
        return (
            f"{arch}.wkv.head_size is {width}; it must be a multiple of 64: ggml's kernels read and write "
            f"beyond other heads"
        )
    if number("nextn_predict_layers") > layers:
        return (
            f"{arch}.nextn_predict_layers is {number('nextn_predict_layers')}, more than the {layers} layers"
        )
    return _experts_problem(arch, number) or _others_problem(arch, get, keys)


def _experts_problem(arch: str, number: Callable[..., int]) -> str | None:
    experts, used = number("expert_count"), number("expert_used_count")
    if experts > MAX_EXPERTS or used > experts or (experts and not used):
        return (
            f"{arch}.expert_count is {experts} and {arch}.expert_used_count {used}; "
            f"of at most {MAX_EXPERTS} experts 1 or more must be used, or both be 0"
        )
    groups, chosen = number("expert_group_count"), number("expert_group_used_count")
    if groups and (
        groups >= max(experts, 1) or (groups > 1 and (experts % groups or not 0 < chosen < groups))
    ):
        return (
            f"{arch}.expert_group_count is {groups} (used: {chosen}) for {experts} experts; it must divide "
            f"their number and be less, and fewer groups be used than there are"
        )
    return None


def _others_problem(arch: str, get: Get, keys: Iterable[str]) -> str | None:
    scaling = get(f"{arch}.rope.scaling.type")
    if isinstance(scaling, str) and scaling not in _ROPE_SCALINGS:
        return f"{arch}.rope.scaling.type is {scaling!r}; choose one of: {', '.join(_ROPE_SCALINGS)}"
    for key in keys:
        if key.endswith("_epsilon"):
            value = get(key)
            if isinstance(value, float) and not 0 <= value <= _FLOAT_MAX:
                return f"{key} is {value}; it must be finite and not below 0"
    return None


def tensors_problem(arch: str, tensors: Mapping[str, TensorInfo], get: Get) -> str | None:
    """Return what kills a decode in the list of a model's tensors, None if nothing is known.

    Arguments:
        get: gives the value of a metadata key, None if there is none.
    """
    for name, info in tensors.items():
        kind = types.tensor_type(info.type)
        assert kind is not None  # the scan has looked
        if _INDEX.search(name):
            continue
        vector = len(info.ne) <= 1 and not _ONE_ROW.search(name)
        if kind.name != "f32" and (vector or _FLOAT.search(name)):
            return (
                f"tensor {name!r} is of type {kind.name}; libllama computes with it element by element, "
                f"for which it must be f32"
            )
        if not types.has_floats(info.type):
            return f"tensor {name!r} is of type {kind.name}, with which libllama can't compute"
    if tensors:
        for name in _NEEDED.get(arch, ()):
            if name not in tensors:
                return f"tensor {name!r} is missing; libllama uses it without looking"
        if arch in _DENSE_ENDS:
            return _width_problem(arch, tensors, get)
    return None


def _width_problem(arch: str, tensors: Mapping[str, TensorInfo], get: Get) -> str | None:
    """Return why the matrices behind the last layer don't make embeddings of the width that C reads."""
    made = given = get(f"{arch}.embedding_length")
    if arch != "gemma-embedding":
        given = get(f"{arch}.embedding_length_out") or given
    for name in ("dense_2.weight", "dense_3.weight"):
        if name in tensors:
            made = (*tensors[name].ne, 1)[1]
    if made == given:
        return None
    return (
        f"the embeddings are {made} floats wide behind the last matrix, and libllama reads {given} of each; "
        f"is dense_2.weight or dense_3.weight missing?"
    )
