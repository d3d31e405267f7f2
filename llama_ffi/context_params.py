"""Parameters of contexts: from Python values to ``struct llama_context_params``, with every check on the way.

The struct starts as what ``llama_context_default_params()`` returns, so a field that isn't mentioned here
has the library's own default.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from ._core import check, free_memory
from ._core.choices import members, named_of
from .errors import ContextCreateError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._core.binding import Binding
    from .tensor_watch import OnTensor

_MAX_SEQ = 256
_MAX_N_CTX = 2**31 - 256
"""Positions are int32, and n_ctx is rounded up to a multiple of 256."""

CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
"""What llama.cpp's own tools allow for the KV cache; other types have no function to store a row."""


class ContextOptions(TypedDict, total=False):
    """The parameters of a :class:`Context`, for ``model.context()`` under a type checker."""

    n_ctx: int
    n_batch: int | None
    n_ubatch: int | None
    n_seq_max: int
    n_rs_seq: int
    n_outputs_max: int
    n_outputs_max_per_seq: int
    n_threads: int | None
    n_threads_batch: int | None
    ctx_type: str | int | None
    rope_scaling_type: str | int | None
    pooling_type: str | int | None
    attention_type: str | int | None
    flash_attn: bool | str | None
    rope_freq_base: float
    rope_freq_scale: float
    yarn_ext_factor: float
    yarn_attn_factor: float
    yarn_beta_fast: float
    yarn_beta_slow: float
    yarn_orig_ctx: int
    type_k: str
    type_v: str
    embeddings: bool
    offload_kqv: bool
    op_offload: bool
    swa_full: bool
    kv_unified: bool
    no_perf: bool
    on_tensor: OnTensor | None
    tensor_names: str | Iterable[str] | None


@dataclass(frozen=True)
class ModelFacts:
    """What the checks of a context's parameters need to know of the model."""

    arch: str
    n_ctx_train: int
    n_layer: int
    head_dim_k: int
    head_dim_v: int
    n_head_kv: int
    plain_cache: bool
    """every layer keeps keys and values for every position (no sliding window, no recurrence, no MLA)"""
    has_encoder: bool
    pooling: int
    """how the model's metadata want embeddings pooled, a ``llama_pooling_type``"""
    size: int
    """bytes of weights"""
    no_alloc: bool
    """nothing will be allocated, only counted"""
    unreadable: str
    """why C can't read embeddings; "" = it can"""


def context_params(
    active: Binding,
    model: ModelFacts,
    *,
    n_ctx: int,
    n_batch: int | None,
    n_ubatch: int | None,
    n_seq_max: int,
    n_rs_seq: int,
    n_outputs_max: int,
    n_outputs_max_per_seq: int,
    n_threads: int | None,
    n_threads_batch: int | None,
    ctx_type: str | int | None,
    rope_scaling_type: str | int | None,
    pooling_type: str | int | None,
    attention_type: str | int | None,
    flash_attn: bool | str | None,
    rope_freq_base: float,
    rope_freq_scale: float,
    yarn_ext_factor: float,
    yarn_attn_factor: float,
    yarn_beta_fast: float,
    yarn_beta_slow: float,
    yarn_orig_ctx: int,
    type_k: str,
    type_v: str,
    embeddings: bool,
    offload_kqv: bool,
    op_offload: bool,
    swa_full: bool,
    kv_unified: bool,
    no_perf: bool,
) -> Any:
    """Return ``struct llama_context_params *`` or raise what is wrong with the parameters."""
    ffi, lib = active.ffi, active.lib
    params = active.fields(ffi.new("struct llama_context_params *", lib.llama_context_default_params()))
    params.n_ctx = check.integer("n_ctx", n_ctx, 0, _MAX_N_CTX, "0 = from the model")
    if not (params.n_ctx or model.n_ctx_train):
        raise ContextCreateError("n_ctx is 0, and the model doesn't say for how many tokens it was trained")
    if n_batch is not None:
        params.n_batch = check.integer("n_batch", n_batch, 1)
    if n_ubatch is not None:
        params.n_ubatch = check.integer("n_ubatch", n_ubatch, 0, why="0 = n_batch")
    params.n_seq_max = check.integer("n_seq_max", n_seq_max, 1, _MAX_SEQ)
    params.n_rs_seq = check.integer("n_rs_seq", n_rs_seq, 0)
    params.n_outputs_max = check.integer("n_outputs_max", n_outputs_max, 0, why="0 = n_batch")
    params.n_outputs_max_per_seq = check.integer(
        "n_outputs_max_per_seq", n_outputs_max_per_seq, 0, why="0 = n_outputs_max"
    )
    threads = default_threads(model.size) if n_threads is None else n_threads
    most = getattr(lib, "GGML_MAX_N_THREADS", 512)
    params.n_threads = check.integer("n_threads", threads, 1, most)
    params.n_threads_batch = check.integer(
        "n_threads_batch", threads if n_threads_batch is None else n_threads_batch, 1, most
    )
    for field, value, c_enum in (
        ("ctx_type", ctx_type, "llama_context_type"),
        ("rope_scaling_type", rope_scaling_type, "llama_rope_scaling_type"),
        ("pooling_type", pooling_type, "llama_pooling_type"),
        ("attention_type", attention_type, "llama_attention_type"),
    ):
        if value is not None:
            setattr(params, field, check.choice(field, value, members(active, c_enum)))
    params.flash_attn_type = _flash_attn(active, flash_attn)
    params.rope_freq_base = check.real("rope_freq_base", rope_freq_base, 0.0, why="0 = from the model")
    params.rope_freq_scale = check.real("rope_freq_scale", rope_freq_scale, 0.0, why="0 = from the model")
    params.yarn_ext_factor = check.real("yarn_ext_factor", yarn_ext_factor)
    params.yarn_attn_factor = check.real("yarn_attn_factor", yarn_attn_factor)
    params.yarn_beta_fast = check.real("yarn_beta_fast", yarn_beta_fast)
    params.yarn_beta_slow = check.real("yarn_beta_slow", yarn_beta_slow)
    params.yarn_orig_ctx = check.integer("yarn_orig_ctx", yarn_orig_ctx, 0)
    params.type_k = _cache_type(active, "type_k", type_k, model.head_dim_k)
    params.type_v = _cache_type(active, "type_v", type_v, model.head_dim_v)
    params.embeddings = check.truth("embeddings", embeddings)
    params.offload_kqv = check.truth("offload_kqv", offload_kqv)
    params.op_offload = check.truth("op_offload", op_offload)
    params.swa_full = check.truth("swa_full", swa_full)
    params.kv_unified = check.truth("kv_unified", kv_unified)
    params.no_perf = check.truth("no_perf", no_perf)
    _check_kind(active, model, params, flash_attn)
    named = members(active, "llama_pooling_type")
    if params.pooling_type == named["unspecified"] and model.pooling not in named.values():
        raise ContextCreateError(
            f"the model's metadata want pooling type {model.pooling}, which libllama doesn't have; choose "
            f"one with pooling_type"
        )
    ranks = named["rank"] in (params.pooling_type, model.pooling) and params.pooling_type in (
        named["rank"],
        named["unspecified"],
    )
    # C reads them from t5's encoder in any case, and scores by another width
    if model.unreadable and ((params.embeddings and not ranks) or model.arch == "t5"):
        raise ContextCreateError(model.unreadable)
    _check_together(active, model, params)
    return params


def _check_kind(active: Binding, model: ModelFacts, params: Any, flash_attn: bool | str | None) -> None:
    """Refuse what the graphs of some architectures assert on."""
    if model.arch == "t5" and params.n_seq_max > 1 and not params.kv_unified:
        raise ContextCreateError("t5 models have several sequences in one memory only; use kv_unified=True")
    named = members(active, "llama_flash_attn_type")
    if model.arch == "plm" and params.flash_attn_type != named["disabled"]:
        if params.flash_attn_type == named["enabled"]:
            raise ContextCreateError(f"flash_attn is {flash_attn!r}; plm models can't use it")
        params.flash_attn_type = named["disabled"]


_ONE_THREAD = 32 * 1024 * 1024
"""Weights up to this many bytes stay in one core's caches, and computing a node takes less time than the
threads' meeting at its end. On a busy machine they spin there: 2 threads took 100 times as long as 1, seen
on 5 MB."""


def default_threads(size: int) -> int:
    """Return how many threads to compute with on ``size`` bytes of weights: the cores this process may use.

    Beyond four, logical processors are taken to be two to a core, and the second one gains nothing here.
    """
    if size <= _ONE_THREAD:
        return 1
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return count if count <= 4 else max(4, count // 2)


def _flash_attn(active: Binding, value: bool | str | None) -> Any:
    named = members(active, "llama_flash_attn_type")
    if value is None:
        return named["auto"]
    if isinstance(value, bool):
        return named["enabled" if value else "disabled"]
    return check.choice("flash_attn", value, named)


def _cache_type(active: Binding, name: str, value: str, head_dim: int) -> Any:
    types = members(active, "ggml_type")
    kind = check.choice(name, value, {each: types[each] for each in CACHE_TYPES if each in types})
    block = int(active.lib.ggml_blck_size(kind))
    if head_dim > 0 and head_dim % block:
        raise ContextCreateError(
            f"{name} is {kind.name.lower()}, which stores blocks of {block} values; this model's heads have "
            f"{head_dim}, "
            f"which is no multiple; use f16"
        )
    return kind


def _check_together(active: Binding, model: ModelFacts, params: Any) -> None:
    lib = active.lib
    disabled = members(active, "llama_flash_attn_type")["disabled"]
    if lib.ggml_is_quantized(params.type_v) and params.flash_attn_type == disabled:
        raise ContextCreateError(
            "a quantized V cache needs flash attention; use flash_attn=None or True, or type_v='f16'"
        )
    # with causal attention libllama lowers n_batch to n_ctx; the output buffer asserts that
    # n_seq_max <= n_outputs_max
    n_batch = min(params.n_batch, params.n_ctx or model.n_ctx_train)
    n_outputs = params.n_outputs_max if params.n_outputs_max and not model.has_encoder else n_batch
    if params.n_seq_max > min(n_outputs, n_batch):
        raise ContextCreateError(
            f"n_seq_max is {params.n_seq_max}; n_batch ({params.n_batch}), n_ctx "
            f"({params.n_ctx or model.n_ctx_train}) and "
            f"n_outputs_max ({params.n_outputs_max or 'n_batch'}) must each be at least that"
        )
    n_ubatch = min(n_batch, params.n_ubatch or n_batch)
    if params.n_rs_seq and n_ubatch <= params.n_rs_seq + 1:
        raise ContextCreateError(f"n_rs_seq is {params.n_rs_seq}; n_ubatch ({n_ubatch}) must be larger by 2")
    if params.embeddings:
        _check_pooling(active, model, params)
    _check_memory(active, model, params)


def _check_pooling(active: Binding, model: ModelFacts, params: Any) -> None:
    """Refuse what the graph for pooling by mean asserts on: fewer outputs than it is planned for."""
    named = members(active, "llama_pooling_type")
    pooling = model.pooling if params.pooling_type == named["unspecified"] else params.pooling_type
    if pooling not in (named["mean"], named["rank"]):
        return
    wanted, n_seq = params.n_ctx or model.n_ctx_train, params.n_seq_max
    n_ctx = -(-wanted // 256) * 256
    if not params.kv_unified:
        n_ctx = -(-(n_ctx // n_seq) // 256) * 256 * n_seq
    attention = members(active, "llama_attention_type")
    for kind, n_batch in (("causal", min(wanted, params.n_batch)), ("non_causal", params.n_batch)):
        if params.attention_type not in (attention["unspecified"], attention[kind]):
            continue
        planned = min(n_ctx, n_batch, params.n_ubatch or params.n_batch)
        n_outputs = params.n_outputs_max if params.n_outputs_max and not model.has_encoder else n_batch
        if planned % n_seq or n_outputs < planned:
            raise ContextCreateError(
                f"pooling by {named_of(named, pooling)} is planned for {planned} tokens at a time (by n_ctx, "
                f"n_batch and n_ubatch): they must be a multiple of n_seq_max ({n_seq}) and at most "
                f"n_outputs_max ({n_outputs})"
            )


_CELL = 56
"""Bytes of bookkeeping per cell of the KV cache: position, extent, shift, and one bit per sequence."""


def _check_memory(active: Binding, model: ModelFacts, params: Any) -> None:
    """Refuse what can't fit: libllama zeroes its buffers, and a system that overcommits kills us for it."""
    n_ctx = -(-(params.n_ctx or model.n_ctx_train) // 256) * 256
    need = n_ctx * _CELL + 4 * params.n_batch
    if model.plain_cache and not model.no_alloc:  # the bookkeeping is allocated all the same
        row = active.lib.ggml_row_size
        per_layer = row(params.type_k, model.head_dim_k * model.n_head_kv) + row(
            params.type_v, model.head_dim_v * model.n_head_kv
        )
        need += n_ctx * model.n_layer * per_layer
    if need < 1 << 28:
        return
    have = free_memory.of_system() + free_memory.of_devices(active)
    if have and need > have:
        raise ContextCreateError(
            f"n_ctx is {params.n_ctx or model.n_ctx_train}: the context needs at least {need / 2**20:,.0f} "
            f"MiB, and {have / 2**20:,.0f} MiB are free; use a smaller n_ctx, or type_k and type_v 'q8_0'"
        )
