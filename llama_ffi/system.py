"""The machine and the build: what they support, how large things may be, and where NUMA puts threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from ._core import binding, check
from ._core.choices import members, named_of
from .backends import Backend
from .errors import AlreadyLoadedError, InvalidArgumentError

_ABILITIES = ("gpu_offload", "mlock", "mmap", "rpc")

_lock = threading.Lock()
"""llama_print_system_info writes into one string of the process."""

_numa: str | None = None
"""The strategy that was chosen, by name."""


@dataclass(frozen=True)
class SystemInfo:
    """What the back ends were built with and what their hardware has."""

    text: str
    """as llama.cpp prints it"""
    features: Mapping[str, Mapping[str, str]]
    """back end → feature → value, "CPU" → "AVX2" → "1" for example; only what is there"""


def system_info() -> SystemInfo:
    """Return what the back ends were built with and what their hardware has.

    C: llama_print_system_info

    Returns:
        a copy.

    Threads: any; they take turns.
    """
    active = binding.active()
    with _lock:
        text = active.ffi.string(active.lib.llama_print_system_info()).decode("utf-8", "replace")
    return SystemInfo(text, {backend.name: dict(backend.features) for backend in Backend.all()})


def supports(ability: str) -> bool:
    """Return whether this library on this machine can do something.

    C: llama_supports_mmap, llama_supports_mlock, llama_supports_gpu_offload, llama_supports_rpc

    Arguments:
        ability: "mmap", "mlock", "gpu_offload" (a GPU is there, or workers may have one) or "rpc".

    Raises:
        InvalidArgumentError: it is none of these.

    Threads: any.
    """
    lib = binding.active().lib
    functions = {
        "gpu_offload": lib.llama_supports_gpu_offload,
        "mlock": lib.llama_supports_mlock,
        "mmap": lib.llama_supports_mmap,
        "rpc": lib.llama_supports_rpc,
    }
    function = functions.get(ability) if isinstance(ability, str) else None
    if function is None:
        raise InvalidArgumentError(
            f"ability is {check.shown(ability)}; choose one of: {', '.join(_ABILITIES)}"
        )
    return bool(function())


def max_devices() -> int:
    """Return how many devices a model can be spread over.

    C: llama_max_devices

    Threads: any.
    """
    return int(binding.active().lib.llama_max_devices())


def max_parallel_sequences() -> int:
    """Return how many sequences a context can have.

    C: llama_max_parallel_sequences

    Threads: any.
    """
    return int(binding.active().lib.llama_max_parallel_sequences())


def max_tensor_buft_overrides() -> int:
    """Return how many patterns ``tensor_buft_overrides`` can have.

    C: llama_max_tensor_buft_overrides

    Threads: any.
    """
    return int(binding.active().lib.llama_max_tensor_buft_overrides())


def time_us() -> int:
    """Return microseconds of the clock that llama.cpp measures with; its zero means nothing.

    C: llama_time_us

    Threads: any.
    """
    return int(binding.active().lib.llama_time_us())


def numa_init(strategy: str | int) -> None:
    """Choose how threads are spread over the nodes of a NUMA machine: once, before the first model is loaded.

    On a machine with one node it changes nothing.

    C: llama_numa_init

    Arguments:
        strategy: "distribute" (over all nodes), "isolate" (on the node where the process began), "numactl"
            (on the processors that numactl gave) or "disabled".

    Raises:
        AlreadyLoadedError: a strategy was chosen before.
        InvalidArgumentError: there is no such strategy; "mirror" is a name without a function.

    Threads: any.
    """
    global _numa
    active = binding.active()
    named = members(active, "ggml_numa_strategy")
    for unusable in ("mirror", "count"):
        named.pop(unusable, None)
    chosen = check.choice("strategy", strategy, named)
    with _lock:
        if _numa is not None:
            raise AlreadyLoadedError(
                f"numa_init({_numa!r}) was called before; a process can choose its strategy only once"
            )
        active.lib.llama_numa_init(chosen)
        _numa = named_of(named, chosen)


def is_numa() -> bool:
    """Return whether :func:`numa_init` has found more than one node.

    C: ggml_is_numa

    Threads: any.
    """
    return bool(binding.active().lib.ggml_is_numa())


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
