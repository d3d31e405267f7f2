"""cyllama's functions on the library and the machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ... import backends, library, log, quantization, raw
from ... import system as safe
from ...chat import builtin_templates
from ...errors import ArgumentTypeError, InvalidArgumentError

_LEVELS = {logging.DEBUG: "DEBUG", logging.WARNING: "WARN", logging.ERROR: "ERROR", logging.CRITICAL: "ERROR"}
"""logging's levels → GGML_LOG_LEVEL_*; INFO for the others"""


def llama_backend_init() -> None:
    """Load the library, if nothing has loaded it yet; whatever goes wrong with that is raised here.

    Threads: any.
    """
    library.library_info()


def llama_backend_free() -> None:
    """Do nothing: models and contexts may still be in use, and the process's end frees everything.

    Threads: any.
    """


def llama_numa_init(numa: int | str) -> None:
    """Choose how threads are spread over NUMA nodes; errors as :func:`llama_ffi.numa_init`.

    Arguments:
        numa: a ``GGML_NUMA_STRATEGY_*``; 0 (disabled) does nothing.

    Threads: any.
    """
    if numa not in (0, "disabled"):
        safe.numa_init(numa)


def ggml_backend_load_all() -> None:
    """Load the library; its back ends come with it.

    Threads: any.
    """
    library.library_info()


def ggml_backend_reg_count() -> int:
    """Return how many back ends there are.

    Threads: any.
    """
    return len(backends.available_backends())


def ggml_backend_reg_names() -> list[str]:
    """Return the names of the back ends.

    Threads: any.
    """
    return backends.available_backends()


def ggml_backend_dev_count() -> int:
    """Return how many devices there are.

    Threads: any.
    """
    return len(backends.devices())


def ggml_backend_dev_info() -> list[dict[str, str]]:
    """Return "name", "description" and "type" of each device.

    Threads: any.
    """
    return [
        {"name": each.name, "description": each.description, "type": each.type} for each in backends.devices()
    ]


def ggml_commit() -> str:
    """Return llama.cpp's commit, 40 hexadecimal digits.

    Threads: any.
    """
    return library.library_info().commit


def ggml_time_us() -> int:
    """Return microseconds of llama.cpp's clock.

    Threads: any.
    """
    return safe.time_us()


def llama_time_us() -> int:
    """Return microseconds of llama.cpp's clock.

    Threads: any.
    """
    return safe.time_us()


def llama_max_devices() -> int:
    """Return how many devices a model can be spread over.

    Threads: any.
    """
    return safe.max_devices()


def llama_supports_mmap() -> bool:
    """Return whether files can be mapped.

    Threads: any.
    """
    return safe.supports("mmap")


def llama_supports_mlock() -> bool:
    """Return whether memory can be locked.

    Threads: any.
    """
    return safe.supports("mlock")


def llama_supports_gpu_offload() -> bool:
    """Return whether there is a GPU.

    Threads: any.
    """
    return safe.supports("gpu_offload")


def llama_supports_rpc() -> bool:
    """Return whether workers can be used.

    Threads: any.
    """
    return safe.supports("rpc")


def llama_flash_attn_type_name(flash_attn_type: int) -> str:
    """Return what ``flash_attn_type`` means: "auto", "disabled" or "enabled".

    Raises:
        InvalidArgumentError: there is no such type.

    Threads: any.
    """
    names = {-1: "auto", 0: "disabled", 1: "enabled"}
    if not isinstance(flash_attn_type, int) or flash_attn_type not in names:
        raise InvalidArgumentError(f"flash_attn_type is {flash_attn_type!r:.40}; it is -1, 0 or 1")
    return names[flash_attn_type]


def chat_builtin_templates() -> list[str]:
    """Return the names of llama.cpp's built-in chat templates.

    Threads: any.
    """
    return builtin_templates()


# --- log ---------------------------------------------------------------------------------------------


class _Handler(logging.Handler):
    def __init__(self, function: Callable[[int, str], object]) -> None:
        super().__init__(logging.DEBUG)
        self.function = function

    def emit(self, record: logging.LogRecord) -> None:
        level = getattr(raw.lib, f"GGML_LOG_LEVEL_{_LEVELS.get(record.levelno, 'INFO')}")
        self.function(level, record.getMessage() + "\n")


_handler: _Handler | None = None


def set_log_callback(py_log_callback: Callable[[int, str], object] | None) -> None:
    """Hand llama.cpp's log to a function, line by line.

    Arguments:
        py_log_callback: called with a ``GGML_LOG_LEVEL_*`` and the line, with its line feed; None = nobody.

    Raises:
        ArgumentTypeError: it can't be called.

    Threads: any; it is called on the thread whose call has logged.
    """
    global _handler
    if py_log_callback is not None and not callable(py_log_callback):
        raise ArgumentTypeError(f"py_log_callback must be a function, not {type(py_log_callback).__name__}")
    logger = logging.getLogger("llama_ffi")
    if _handler is not None:
        logger.removeHandler(_handler)
        logger.setLevel(logging.NOTSET)
        _handler = None
    if py_log_callback is not None:
        _handler = _Handler(py_log_callback)
        logger.addHandler(_handler)
        logger.setLevel(logging.DEBUG)
        log.resume()


def disable_logging() -> None:
    """Drop llama.cpp's log until :func:`set_log_callback`.

    Threads: any.
    """
    set_log_callback(None)
    log.pause()


def log_set_verbosity(verbosity: int) -> None:
    """Drop llama.cpp's log if ``verbosity`` is below 0; else let it pass.

    Threads: any.
    """
    if verbosity < 0:
        log.pause()
    else:
        log.resume()


# --- quantization ------------------------------------------------------------------------------------


@dataclass(slots=True)
class LlamaModelQuantizeParams:
    """How to quantize; see :func:`llama_ffi.quantize`."""

    ftype: int | str = "q8_0"
    """a ``LLAMA_FTYPE_*``, or its name"""
    nthread: int = 0
    """threads, 0 = one per processor"""
    output_tensor_type: str | None = None
    token_embedding_type: str | None = None
    allow_requantize: bool = False
    quantize_output_tensor: bool = True
    only_copy: bool = False
    pure: bool = False
    keep_split: bool = False
    dry_run: bool = False
    imatrix: str | os.PathLike[str] | None = None
    """an importance matrix's file"""
    kv_overrides: Mapping[str, Any] | None = None
    tt_overrides: Mapping[str, str] | None = None
    """pattern → type"""


def model_quantize(
    fname_inp: str | os.PathLike[str],
    fname_out: str | os.PathLike[str],
    params: LlamaModelQuantizeParams | None = None,
) -> None:
    """Write a model file with its weights in a smaller type; errors as :func:`llama_ffi.quantize`.

    Arguments:
        fname_inp: the file to read.
        fname_out: the file to write.
        params: None = q8_0.

    Threads: any.
    """
    if params is not None and not isinstance(params, LlamaModelQuantizeParams):
        raise ArgumentTypeError(f"params must be LlamaModelQuantizeParams, not {type(params).__name__}")
    how = params or LlamaModelQuantizeParams()
    quantization.quantize(
        fname_inp,
        None if how.dry_run else fname_out,
        how.ftype,
        n_threads=how.nthread or None,
        output_tensor_type=how.output_tensor_type,
        token_embedding_type=how.token_embedding_type,
        tensor_types=how.tt_overrides,
        allow_requantize=how.allow_requantize,
        quantize_output_tensor=how.quantize_output_tensor,
        only_copy=how.only_copy,
        pure=how.pure,
        keep_split=how.keep_split,
        imatrix=how.imatrix,
        kv_overrides=how.kv_overrides,
        dry_run=how.dry_run,
    )
