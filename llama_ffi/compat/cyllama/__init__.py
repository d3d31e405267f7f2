"""cyllama's names on llama_ffi's safe layer.

    import llama_ffi.compat.cyllama as cy

Programs written for cyllama's classes run with this import: those of its early releases
(``cy.CommonParams``, ``cy.common_tokenize`` …) and those of today's (``cyllama.llama.llama_cpp``). Each
object is a thin shell; what it wraps is its attribute ``safe``. docs/cyllama.md lists what cyllama has and
this module hasn't.

Constants (``LLAMA_POOLING_TYPE_MEAN``, ``GGML_LOG_LEVEL_INFO`` …) are those of the library in use.
"""

from __future__ import annotations

from typing import Any

from .batch import LlamaBatch, common_batch_add, common_batch_clear, llama_batch_get_one
from .common import (
    common_detokenize,
    common_init,
    common_token_to_piece,
    common_tokenize,
    common_tokenize_from_model,
)
from .context import LlamaContext, llama_attach_threadpool, llama_detach_threadpool
from .model import LlamaAdapterLora, LlamaChatMessage, LlamaModel, model_save_to_file
from .params import (
    CommonParams,
    CpuParams,
    LlamaContextParams,
    LlamaModelKvOverride,
    LlamaModelParams,
    LlamaSamplerChainParams,
    common_context_params_to_llama,
    common_model_params_to_llama,
    llama_sampler_chain_default_params,
)
from .sampler import LLAMA_DEFAULT_SEED, LlamaLogitBias, LlamaSampler, LlamaTokenData
from .simple import Llama, ask
from .system import (
    LlamaModelQuantizeParams,
    chat_builtin_templates,
    disable_logging,
    ggml_backend_dev_count,
    ggml_backend_dev_info,
    ggml_backend_load_all,
    ggml_backend_reg_count,
    ggml_backend_reg_names,
    ggml_commit,
    ggml_time_us,
    llama_backend_free,
    llama_backend_init,
    llama_flash_attn_type_name,
    llama_max_devices,
    llama_numa_init,
    llama_supports_gpu_offload,
    llama_supports_mlock,
    llama_supports_mmap,
    llama_supports_rpc,
    llama_time_us,
    log_set_verbosity,
    model_quantize,
    set_log_callback,
)
from .threads import GgmlThreadPool, GgmlThreadPoolParams
from .vocab import LlamaVocab

# names of early releases
ModelParams = LlamaModelParams
ContextParams = LlamaContextParams
SamplerChainParams = LlamaSamplerChainParams
LoraAdapter = LlamaAdapterLora
ChatMessage = LlamaChatMessage
GGMLThreadPool = GgmlThreadPool
GGMLThreadPoolParams = GgmlThreadPoolParams

__all__ = [
    "ChatMessage",
    "CommonParams",
    "ContextParams",
    "CpuParams",
    "GGMLThreadPool",
    "GGMLThreadPoolParams",
    "GgmlThreadPool",
    "GgmlThreadPoolParams",
    "LLAMA_DEFAULT_SEED",
    "Llama",
    "LlamaAdapterLora",
    "LlamaBatch",
    "LlamaChatMessage",
    "LlamaContext",
    "LlamaContextParams",
    "LlamaLogitBias",
    "LlamaModel",
    "LlamaModelKvOverride",
    "LlamaModelParams",
    "LlamaModelQuantizeParams",
    "LlamaSampler",
    "LlamaSamplerChainParams",
    "LlamaTokenData",
    "LlamaVocab",
    "LoraAdapter",
    "ModelParams",
    "SamplerChainParams",
    "ask",
    "chat_builtin_templates",
    "common_batch_add",
    "common_batch_clear",
    "common_context_params_to_llama",
    "common_detokenize",
    "common_init",
    "common_model_params_to_llama",
    "common_token_to_piece",
    "common_tokenize",
    "common_tokenize_from_model",
    "disable_logging",
    "ggml_backend_dev_count",
    "ggml_backend_dev_info",
    "ggml_backend_load_all",
    "ggml_backend_reg_count",
    "ggml_backend_reg_names",
    "ggml_commit",
    "ggml_time_us",
    "llama_attach_threadpool",
    "llama_backend_free",
    "llama_backend_init",
    "llama_batch_get_one",
    "llama_detach_threadpool",
    "llama_flash_attn_type_name",
    "llama_max_devices",
    "llama_numa_init",
    "llama_sampler_chain_default_params",
    "llama_supports_gpu_offload",
    "llama_supports_mlock",
    "llama_supports_mmap",
    "llama_supports_rpc",
    "llama_time_us",
    "log_set_verbosity",
    "model_quantize",
    "model_save_to_file",
    "set_log_callback",
]


def __getattr__(name: str) -> Any:
    """Return a constant of the library in use."""
    if name.startswith(("LLAMA_", "GGML_")) and name.isupper():
        from ... import raw

        try:
            return getattr(raw.lib, name)
        except AttributeError:
            pass
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
