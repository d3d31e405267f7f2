"""What of the safe layer needs more than the floor, and what it needs.

The safe layer is written for the pinned llama.cpp. The *floor* is the llama.h of llama-cpp-python 0.3.16:
whatever that header has is taken for granted, apart from what :mod:`.older` says in other words. Everything
above it belongs to a feature in this table; on a library that lacks a need, using the feature raises
``MissingFunctionError`` or ``MissingFieldError``, and everything else works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

FLOOR = "llama-cpp-python 0.3.16"

FEATURES: Mapping[str, tuple[str, ...]] = {
    "BatchExt": (
        "llama_batch_ext_add",
        "llama_batch_ext_add_embd",
        "llama_batch_ext_add_seq",
        "llama_batch_ext_add_token",
        "llama_batch_ext_clear",
        "llama_batch_ext_free",
        "llama_batch_ext_init",
        "llama_batch_ext_set_embd_state",
        "llama_batch_ext_set_embd_token",
        "llama_batch_ext_set_output_embd",
        "llama_batch_ext_set_output_logits",
        "llama_batch_ext_set_pos",
    ),
    "Context(attention_type=…)": ("llama_get_causal_attn", "llama_context_params.attention_type"),
    "Context.process": ("llama_process",),
    "Context.sampled_candidates": (
        "llama_get_sampled_candidates_ith",
        "llama_get_sampled_candidates_count_ith",
    ),
    "Context.sampled_logits": ("llama_get_sampled_logits_ith", "llama_get_sampled_logits_count_ith"),
    "Context.sampled_probs": ("llama_get_sampled_probs_ith", "llama_get_sampled_probs_count_ith"),
    "Context.sampled_token": ("llama_get_sampled_token_ith",),
    "Context.set_sampler": ("llama_set_sampler",),
    "Context(ctx_type=…)": ("llama_context_params.ctx_type",),
    "Context(n_outputs_max=…)": ("llama_context_params.n_outputs_max",),
    "Context(n_outputs_max_per_seq=…)": ("llama_context_params.n_outputs_max_per_seq",),
    "Context(n_rs_seq=…)": ("llama_n_rs_seq", "llama_context_params.n_rs_seq"),
    "Device.id": ("ggml_backend_dev_props.device_id",),
    "GgufContext.from_bytes": ("gguf_init_from_buffer",),
    "GgufContext.from_file_object": ("gguf_init_from_callback",),
    "GgufContext.set_tensor_type": ("gguf_get_tensor_ne",),
    "GgufContext.tensors": ("gguf_get_tensor_ne",),
    "LoraAdapter.alora_invocation_tokens": (
        "llama_adapter_get_alora_invocation_tokens",
        "llama_adapter_get_alora_n_invocation_tokens",
    ),
    "LoraAdapter.metadata": (
        "llama_adapter_meta_count",
        "llama_adapter_meta_key_by_index",
        "llama_adapter_meta_val_str_by_index",
    ),
    "LoraAdapter.value": ("llama_adapter_meta_val_str",),
    "Model.from_metadata": ("llama_model_init_from_user",),
    "Model.ftype": ("llama_model_ftype",),
    "Model.ftype_name": ("llama_model_ftype", "llama_ftype_name"),
    "Model.load(lazy_mode=…)": ("llama_model_params.lazy_mode",),
    "Model.load(load_mode='direct_io')": ("llama_model_params.load_mode",),
    "Model.load(load_mtp=…)": ("llama_model_params.load_mtp",),
    "Model.load(no_alloc=…)": ("llama_model_params.no_alloc",),
    "Model.load(no_host=…)": ("llama_model_params.no_host",),
    "Model.load(path=open file)": ("llama_model_load_from_file_ptr",),
    "Model.load(rpc=…)": ("ggml_backend_rpc_add_server",),
    "Model.load(tensor_buft_overrides=…)": ("llama_max_tensor_buft_overrides",),
    "Model.sampling": ("llama_model_meta_key_str",),
    "Sampler.adaptive_p": ("llama_sampler_init_adaptive_p",),
    "SamplerChain.copy_state": ("llama_sampler_copy",),
    "Vocab.suppress_tokens": ("llama_vocab_get_suppress_tokens",),
    "max_tensor_buft_overrides": ("llama_max_tensor_buft_overrides",),
    "quantize(dry_run=True)": ("llama_model_quantize_params.dry_run",),
    "quantize(imatrix=…)": ("llama_model_quantize_params.imatrix",),
    "quantize(kv_overrides=…)": ("llama_model_quantize_params.kv_overrides",),
    "quantize(max_buf_size=…)": ("llama_model_quantize_params.max_buf_size",),
    "quantize(prune_layers=…)": ("llama_model_quantize_params.prune_layers",),
    "quantize(tensor_types=…)": ("llama_model_quantize_params.tt_overrides",),
    "rpc.serve": ("ggml_backend_rpc_add_server", "ggml_backend_rpc_start_server"),
}
"""Feature → the C functions, and the fields as ``struct.field``, that it needs above the floor."""


def needing(need: str) -> list[str]:
    """Return the features that need this function or field."""
    return [feature for feature, needs in FEATURES.items() if need in needs]


def used_by(need: str) -> str:
    """Return the beginning of a message about a missing need: what can't be used without it."""
    found = needing(need)
    return f"{' and '.join(found)} can't be used: " if found else ""


def missing(lacks: Callable[[str], bool]) -> dict[str, list[str]]:
    """Return the features that can't be used → which of their needs ``lacks`` says are not there."""
    found = {feature: [need for need in needs if lacks(need)] for feature, needs in FEATURES.items()}
    return {feature: needs for feature, needs in found.items() if needs}
