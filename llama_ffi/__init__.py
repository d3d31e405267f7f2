"""llama.cpp from Python: the whole C API in ``llama_ffi.raw``, and a safe layer that can't be crashed.

    import llama_ffi as lf

    for piece in lf.generate("Once upon a time", max_tokens=64, temp=0.8, seed=1):
        print(piece, end="", flush=True)

Importing this module opens no library; the first call that needs one finds, opens and verifies it.
Public names are imported when they are first used, so that a program pays only for what it touches.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import errors
from .errors import LlamaError

if TYPE_CHECKING:
    from . import chat, gguf, log, raw, rpc, testing
    from ._core.binding import use
    from ._core.store_registry import StoredState
    from ._core.text import Utf8Decoder
    from .adapter import LoraAdapter, read_control_vector
    from .backend_files import BackendModule, backend_modules
    from .backends import Backend, BufferType, Device, available_backends, devices
    from .batch import Batch
    from .batch_ext import BatchExt
    from .chat import ChatReply, ChatSession, ChatStream, ask
    from .context import Context
    from .diagnosis import Finding, diagnose
    from .embeddings import Ranked, embed, rerank
    from .generation import Generation, generate
    from .generation_loop import Timings, Usage
    from .imatrix import ImportanceEntry, ImportanceMatrix
    from .isolated import IsolatedModel
    from .isolated_generation import IsolatedGeneration
    from .layer_plan import DeviceShare, LayerPlan
    from .library import library_info, library_paths
    from .memory import Memory
    from .memory_estimate import LayerMemory, MemoryEstimate, estimate_memory
    from .memory_use import MemoryBreakdown, MemoryUse
    from .model import Model
    from .outputs import ClassScore
    from .paths import bindings_folder, libraries_at, tiny_model_path
    from .perf import ContextPerf
    from .prompt_cache import PromptCache
    from .quantization import QuantizedTensor, QuantizeResult, quantize
    from .sampler import Sampler, SamplerChain
    from .sampler.candidates import Candidates
    from .sampler.custom import PythonSampler
    from .scoring import Perplexity, Score, perplexity, score
    from .session import Session
    from .session_text import SessionStats
    from .snapshot import Snapshot
    from .statefile import StateFile
    from .store import StateStore
    from .store_transfer import Upload
    from .system import (
        SystemInfo,
        is_numa,
        max_devices,
        max_parallel_sequences,
        max_tensor_buft_overrides,
        numa_init,
        supports,
        system_info,
        time_us,
    )
    from .tensor_watch import ComputedTensor
    from .threadpool import ThreadPool
    from .training import Trainer
    from .training_data import Dataset
    from .vocab import Vocab

__version__ = "0.1.0"

_HOME = {
    "Backend": "backends",
    "BackendModule": "backend_files",
    "Batch": "batch",
    "BatchExt": "batch_ext",
    "Candidates": "sampler.candidates",
    "ChatReply": "chat",
    "ChatSession": "chat",
    "ChatStream": "chat",
    "BufferType": "backends",
    "ComputedTensor": "tensor_watch",
    "Context": "context",
    "ContextPerf": "perf",
    "Dataset": "training_data",
    "Device": "backends",
    "DeviceShare": "layer_plan",
    "LayerMemory": "memory_estimate",
    "LayerPlan": "layer_plan",
    "MemoryEstimate": "memory_estimate",
    "Finding": "diagnosis",
    "Generation": "generation",
    "LoraAdapter": "adapter",
    "ImportanceEntry": "imatrix",
    "ImportanceMatrix": "imatrix",
    "IsolatedGeneration": "isolated_generation",
    "IsolatedModel": "isolated",
    "Memory": "memory",
    "MemoryBreakdown": "memory_use",
    "MemoryUse": "memory_use",
    "Model": "model",
    "PythonSampler": "sampler.custom",
    "Perplexity": "scoring",
    "QuantizeResult": "quantization",
    "QuantizedTensor": "quantization",
    "ClassScore": "outputs",
    "Ranked": "embeddings",
    "Sampler": "sampler",
    "SamplerChain": "sampler",
    "PromptCache": "prompt_cache",
    "Session": "session",
    "SessionStats": "session_text",
    "Snapshot": "snapshot",
    "Score": "scoring",
    "StateFile": "statefile",
    "StateStore": "store",
    "StoredState": "_core.store_registry",
    "Upload": "store_transfer",
    "Timings": "generation_loop",
    "Usage": "generation_loop",
    "SystemInfo": "system",
    "ThreadPool": "threadpool",
    "Utf8Decoder": "_core.text",
    "Trainer": "training",
    "Vocab": "vocab",
    "ask": "chat",
    "available_backends": "backends",
    "backend_modules": "backend_files",
    "bindings_folder": "paths",
    "devices": "backends",
    "estimate_memory": "memory_estimate",
    "plan_layers": "device_plan",
    "diagnose": "diagnosis",
    "generate": "generation",
    "libraries_at": "paths",
    "is_numa": "system",
    "library_info": "library",
    "library_paths": "library",
    "max_devices": "system",
    "max_parallel_sequences": "system",
    "max_tensor_buft_overrides": "system",
    "numa_init": "system",
    "supports": "system",
    "system_info": "system",
    "time_us": "system",
    "read_control_vector": "adapter",
    "embed": "embeddings",
    "perplexity": "scoring",
    "quantize": "quantization",
    "rerank": "embeddings",
    "score": "scoring",
    "tiny_model_path": "paths",
    "use": "_core.binding",
}
_MODULES = frozenset({"chat", "gguf", "log", "raw", "rpc", "splits", "testing"})

__all__ = [
    "Backend",
    "BackendModule",
    "Batch",
    "BatchExt",
    "Candidates",
    "ChatReply",
    "ChatSession",
    "ChatStream",
    "BufferType",
    "ComputedTensor",
    "Context",
    "ContextPerf",
    "Dataset",
    "Device",
    "DeviceShare",
    "Finding",
    "Generation",
    "ImportanceEntry",
    "ImportanceMatrix",
    "IsolatedGeneration",
    "IsolatedModel",
    "LayerMemory",
    "LayerPlan",
    "LlamaError",
    "LoraAdapter",
    "Memory",
    "MemoryBreakdown",
    "MemoryEstimate",
    "MemoryUse",
    "Model",
    "PythonSampler",
    "Perplexity",
    "QuantizeResult",
    "QuantizedTensor",
    "ClassScore",
    "Ranked",
    "Sampler",
    "SamplerChain",
    "PromptCache",
    "Session",
    "SessionStats",
    "Snapshot",
    "Score",
    "StateFile",
    "StateStore",
    "StoredState",
    "Upload",
    "Timings",
    "Usage",
    "SystemInfo",
    "ThreadPool",
    "Utf8Decoder",
    "Trainer",
    "Vocab",
    "__version__",
    "ask",
    "available_backends",
    "backend_modules",
    "bindings_folder",
    "chat",
    "devices",
    "diagnose",
    "errors",
    "estimate_memory",
    "generate",
    "gguf",
    "libraries_at",
    "is_numa",
    "library_info",
    "library_paths",
    "log",
    "max_devices",
    "max_parallel_sequences",
    "max_tensor_buft_overrides",
    "numa_init",
    "embed",
    "perplexity",
    "plan_layers",
    "quantize",
    "rerank",
    "score",
    "raw",
    "rpc",
    "read_control_vector",
    "testing",
    "splits",
    "supports",
    "system_info",
    "time_us",
    "tiny_model_path",
    "use",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    home = _HOME.get(name)
    value = getattr(import_module(f".{home}", __name__), name) if home else _enum(name)
    globals()[name] = value
    return value


def _enum(name: str) -> Any:
    """Return the enum class ``name`` of the active bindings, e.g. ``PoolingType``."""
    if name[:1].isupper():
        from ._core import binding

        try:
            return binding.active().enum_class(name)
        except AttributeError:
            pass
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
