"""Parameters: plain objects with cyllama's names, and what they mean to the safe layer.

A name that isn't there can't be set: a misspelt or unsupported parameter is an AttributeError, not a wish
that nobody hears. -1 threads means that the safe layer chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import ArgumentTypeError
from . import checks

F16 = 1
"""GGML_TYPE_F16: fixed by the GGUF format."""


@dataclass(slots=True)
class CpuParams:
    """Which threads compute."""

    n_threads: int = -1
    """threads, 1 to 512; -1 = the safe layer chooses by the model's size"""


@dataclass(slots=True)
class LlamaModelKvOverride:
    """One entry of the metadata to replace."""

    key: str
    value: bool | int | float | str
    """its Python type must be that of the metadata"""

    @property
    def tag(self) -> int:
        """Return the type: 0 = int, 1 = float, 2 = bool, 3 = str."""
        return [int, float, bool, str].index(type(self.value))

    @property
    def val_i64(self) -> int:
        """Return the value as an ``int``."""
        return int(self.value)

    @property
    def val_f64(self) -> float:
        """Return the value as a ``float``."""
        return float(self.value)

    @property
    def val_bool(self) -> bool:
        """Return the value as a ``bool``."""
        return bool(self.value)

    @property
    def val_str(self) -> str:
        """Return the value as text."""
        return str(self.value)


@dataclass(slots=True)
class LlamaModelParams:
    """How to load a model; arguments and errors as for :meth:`llama_ffi.Model.load`."""

    n_gpu_layers: int = -1
    """layers to keep on GPUs, -1 = all"""
    split_mode: int | str = 1
    """how to spread over several GPUs: LLAMA_SPLIT_MODE_LAYER …"""
    main_gpu: int = 0
    tensor_split: list[float] = field(default_factory=list)
    """the share of each device; empty = by their memory"""
    devices: Iterable[str] | None = None
    """names of the devices to use, None = all"""
    tensor_buft_overrides: Mapping[str, str] | None = None
    """pattern → device or buffer type"""
    kv_overrides: Mapping[str, Any] | Iterable[LlamaModelKvOverride] | None = None
    progress_callback: Callable[[float], object] | None = None
    """called with 0.0 to 1.0; False cancels"""
    vocab_only: bool = False
    use_mmap: bool = True
    use_mlock: bool = False
    use_direct_io: bool = False
    check_tensors: bool = False
    use_extra_bufts: bool = True
    no_host: bool = False
    no_alloc: bool = False

    def options(self) -> dict[str, Any]:
        """Return the arguments of ``Model.load``."""
        overrides = self.kv_overrides
        if overrides is not None and not isinstance(overrides, Mapping):
            entries = list(overrides)
            for each in entries:
                if not isinstance(each, LlamaModelKvOverride):
                    raise ArgumentTypeError(
                        f"kv_overrides holds a {type(each).__name__}; it takes "
                        f"LlamaModelKvOverride(key, value)"
                    )
            overrides = {each.key: each.value for each in entries}
        return {
            "n_gpu_layers": self.n_gpu_layers,
            "split_mode": self.split_mode,
            "main_gpu": self.main_gpu,
            "tensor_split": list(self.tensor_split) or None,
            "devices": self.devices,
            "tensor_buft_overrides": self.tensor_buft_overrides,
            "kv_overrides": overrides,
            "progress": self.progress_callback,
            "vocab_only": self.vocab_only,
            "load_mode": self._load_mode(),
            "check_tensors": self.check_tensors,
            "use_extra_bufts": self.use_extra_bufts,
            "no_host": self.no_host,
            "no_alloc": self.no_alloc,
        }

    def _load_mode(self) -> str | None:
        if self.use_direct_io:
            return "direct_io"
        if self.use_mlock:
            return "mmap_mlock" if self.use_mmap else "mlock"
        return None if self.use_mmap else "none"


@dataclass(slots=True)
class LlamaContextParams:
    """How to make a context; arguments and errors as for :class:`llama_ffi.Context`."""

    n_ctx: int = 512
    """tokens, 0 = from the model"""
    n_batch: int = 2048
    n_ubatch: int = 512
    n_seq_max: int = 1
    n_threads: int = -1
    n_threads_batch: int = -1
    rope_scaling_type: int = -1
    pooling_type: int = -1
    attention_type: int = -1
    flash_attn_type: int = -1
    """-1 = where it can be, 0 = no, 1 = yes"""
    rope_freq_base: float = 0.0
    rope_freq_scale: float = 0.0
    yarn_ext_factor: float = -1.0
    yarn_attn_factor: float = -1.0
    yarn_beta_fast: float = -1.0
    yarn_beta_slow: float = -1.0
    yarn_orig_ctx: int = 0
    type_k: int | str = F16
    type_v: int | str = F16
    offload_kqv: bool = True
    embeddings: bool = False
    no_perf: bool = True
    op_offload: bool = True
    swa_full: bool = True
    kv_unified: bool = False

    def options(self) -> dict[str, Any]:
        """Return the arguments of ``Context``."""
        same = (
            "n_ctx n_batch n_ubatch n_seq_max rope_scaling_type pooling_type attention_type rope_freq_base "
            "rope_freq_scale yarn_ext_factor yarn_attn_factor yarn_beta_fast yarn_beta_slow yarn_orig_ctx "
            "type_k type_v offload_kqv embeddings no_perf op_offload swa_full kv_unified"
        )
        options = {name: getattr(self, name) for name in same.split()}
        flash = self.flash_attn_type
        options["flash_attn"] = {-1: None, 0: False, 1: True}.get(flash, str(flash))
        options["n_threads"] = None if self.n_threads == -1 else self.n_threads
        options["n_threads_batch"] = None if self.n_threads_batch == -1 else self.n_threads_batch
        return options


@dataclass(slots=True)
class LlamaSamplerChainParams:
    """How to make a chain of samplers."""

    no_perf: bool = True
    """don't measure times"""


@dataclass(slots=True)
class CommonParams:
    """What a program of llama.cpp's ``common`` library is started with, as far as it matters here."""

    model: str = ""
    """the model's file"""
    prompt: str = ""
    n_predict: int = -1
    """tokens in all, *the prompt included*, as cyllama's programs count them"""
    n_ctx: int = 4096
    """tokens, 0 = from the model"""
    n_batch: int = 2048
    n_ubatch: int = 512
    n_keep: int = 0
    n_parallel: int = 1
    """sequences"""
    n_gpu_layers: int = -1
    main_gpu: int = 0
    split_mode: int | str = 1
    tensor_split: list[float] = field(default_factory=list)
    rope_freq_base: float = 0.0
    rope_freq_scale: float = 0.0
    yarn_ext_factor: float = -1.0
    yarn_attn_factor: float = -1.0
    yarn_beta_fast: float = -1.0
    yarn_beta_slow: float = -1.0
    yarn_orig_ctx: int = 0
    numa: int | str = 0
    rope_scaling_type: int = -1
    pooling_type: int = -1
    attention_type: int = -1
    flash_attn_type: int = -1
    cache_type_k: int | str = F16
    cache_type_v: int | str = F16
    embedding: bool = False
    use_mmap: bool = True
    use_mlock: bool = False
    check_tensors: bool = False
    no_kv_offload: bool = False
    no_op_offload: bool = False
    no_perf: bool = False
    swa_full: bool = False
    kv_unified: bool = False
    verbosity: int = 0
    cpuparams: CpuParams = field(default_factory=CpuParams)
    cpuparams_batch: CpuParams = field(default_factory=CpuParams)


def common_model_params_to_llama(params: CommonParams) -> LlamaModelParams:
    """Return the part of ``params`` that loading a model needs.

    Arguments:
        params: the parameters; changes made to them later aren't seen.

    Threads: any.
    """
    checks.instance("params", params, CommonParams)
    return LlamaModelParams(
        n_gpu_layers=params.n_gpu_layers,
        split_mode=params.split_mode,
        main_gpu=params.main_gpu,
        tensor_split=list(params.tensor_split),
        use_mmap=params.use_mmap,
        use_mlock=params.use_mlock,
        check_tensors=params.check_tensors,
    )


def common_context_params_to_llama(params: CommonParams) -> LlamaContextParams:
    """Return the part of ``params`` that making a context needs.

    Arguments:
        params: the parameters; changes made to them later aren't seen.

    Threads: any.
    """
    checks.instance("params", params, CommonParams)
    same = (
        "n_ctx n_batch n_ubatch rope_scaling_type pooling_type attention_type flash_attn_type rope_freq_base "
        "rope_freq_scale yarn_ext_factor yarn_attn_factor yarn_beta_fast yarn_beta_slow yarn_orig_ctx "
        "no_perf swa_full kv_unified"
    )
    return LlamaContextParams(
        **{name: getattr(params, name) for name in same.split()},
        n_seq_max=params.n_parallel,
        n_threads=params.cpuparams.n_threads,
        n_threads_batch=params.cpuparams_batch.n_threads,
        type_k=params.cache_type_k,
        type_v=params.cache_type_v,
        embeddings=params.embedding,
        offload_kqv=not params.no_kv_offload,
        op_offload=not params.no_op_offload,
    )


def llama_sampler_chain_default_params() -> LlamaSamplerChainParams:
    """Return the usual parameters of a chain.

    Threads: any.
    """
    return LlamaSamplerChainParams()
