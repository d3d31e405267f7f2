"""Parameters of models: from Python values to ``struct llama_model_params``, with every check on the way.

The struct starts as what ``llama_model_default_params()`` returns, so a field that isn't mentioned here has
the library's own default. It points to arrays; whoever passes it to C keeps the list that comes with it for
as long as C may look.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from . import backends
from ._core import check
from ._core import text as text_
from ._core.callbacks import Callback
from ._core.choices import members
from .backends import BufferType, Device
from .errors import BackendError, InvalidArgumentError
from .overrides import KvOverride, override_array

if TYPE_CHECKING:
    from ._core.binding import Binding

GpuLayers = int | Literal["auto"] | None
Progress = Callable[[float], object]
BufferOverrides = Mapping[str, "str | Device | BufferType"]

_NOT_IN_C = re.compile(r"(?<!\\)\(\?[^:=!]")
_LONGEST_PATTERN = 1000
"""Bytes; C's std::regex overflows the stack on a few ten thousand."""


def model_params(
    active: Binding,
    *,
    n_gpu_layers: int | None,
    split_mode: str | int | None,
    main_gpu: int,
    tensor_split: Sequence[float] | None,
    devices: Iterable[str | Device] | None,
    tensor_buft_overrides: BufferOverrides | None,
    load_mode: str | int | None,
    lazy_mode: str | int | None,
    kv_overrides: Mapping[str, KvOverride] | None,
    progress: Progress | None,
    vocab_only: bool,
    check_tensors: bool,
    use_extra_bufts: bool,
    no_host: bool,
    no_alloc: bool,
    load_mtp: bool,
) -> tuple[Any, list[Any], Callback | None]:
    """Return (``struct llama_model_params *``, what must live during the call, the progress callback)."""
    ffi, lib = active.ffi, active.lib
    params = active.fields(ffi.new("struct llama_model_params *", lib.llama_model_default_params()))
    keep: list[Any] = []
    if isinstance(n_gpu_layers, str):
        raise InvalidArgumentError(f"n_gpu_layers is {n_gpu_layers!r}; give a number, or 'auto'")
    if n_gpu_layers is not None:
        params.n_gpu_layers = check.integer("n_gpu_layers", n_gpu_layers)
    if split_mode is not None:
        params.split_mode = check.choice("split_mode", split_mode, members(active, "llama_split_mode"))
    if load_mode is not None:
        params.load_mode = check.choice("load_mode", load_mode, members(active, "llama_load_mode"))
    if lazy_mode is not None:
        params.lazy_mode = check.choice("lazy_mode", lazy_mode, members(active, "llama_lazy_mode"))
    params.main_gpu = check.integer("main_gpu", main_gpu)
    if tensor_split is not None:
        params.tensor_split = _tensor_split(active, tensor_split, keep)
    if devices is not None:
        params.devices = _devices(active, devices, keep)
    if params.split_mode == members(active, "llama_split_mode")["tensor"]:
        _check_tensor_parallel(active, keep[-1] if devices is not None else None)
    if tensor_buft_overrides is not None and check.mapping("tensor_buft_overrides", tensor_buft_overrides):
        params.tensor_buft_overrides = _buft_overrides(active, tensor_buft_overrides, keep)
    if kv_overrides is not None and check.mapping("kv_overrides", kv_overrides):
        params.kv_overrides = override_array(active, kv_overrides, keep)
    callback = None
    check.function("progress", progress)
    if progress is not None:
        callback = _progress(active, progress)
        params.progress_callback = callback.pointer
        keep.append(callback)
    params.vocab_only = check.truth("vocab_only", vocab_only)
    params.check_tensors = check.truth("check_tensors", check_tensors)
    params.use_extra_bufts = check.truth("use_extra_bufts", use_extra_bufts)
    params.no_host = check.truth("no_host", no_host)
    params.no_alloc = check.truth("no_alloc", no_alloc)
    if no_alloc:
        modes = members(active, "llama_load_mode")
        if load_mode is not None and params.load_mode != modes["none"]:
            raise InvalidArgumentError(
                f"load_mode is {load_mode!r}; with no_alloc nothing is loaded: leave it out, or 'none'"
            )
        params.load_mode = modes["none"]
    params.load_mtp = check.truth("load_mtp", load_mtp)
    return params, keep, callback


def _progress(active: Binding, function: Progress) -> Callback:
    check.function("progress", function)

    def call(fraction: float, _user_data: Any) -> bool:
        return function(fraction) is not False  # a callback that returns nothing means "go on"

    return Callback(active.ffi, "llama_progress_callback", call, False)


def _check_tensor_parallel(active: Binding, chosen: Any) -> None:
    """Refuse tensors split over the CPU, which crashes, or over nothing, which fails without a reason."""
    usual = BufferType(active.lib.ggml_backend_cpu_buffer_type())
    if chosen is None:
        usable = [device for device in backends.devices() if device.buffer_type != usual]
    else:
        usable = [Device(pointer) for pointer in active.ffi.unpack(chosen, len(chosen) - 1)]
        for device in usable:
            if device.buffer_type == usual:
                raise InvalidArgumentError(f"split_mode 'tensor' can't use {device.name}; it needs GPUs")
    if not usable:
        raise BackendError("split_mode 'tensor' needs at least one GPU; there is none, or devices is empty")


def _tensor_split(active: Binding, shares: Sequence[float], keep: list[Any]) -> Any:
    room = int(active.lib.llama_max_devices())
    shares = check.listed("tensor_split", shares, "shares")
    if len(shares) > room:
        raise InvalidArgumentError(
            f"tensor_split has {len(shares)} shares; this library knows {room} devices"
        )
    # C reads llama_max_devices() floats whatever is passed
    array = active.ffi.new("float[]", room)
    for index, share in enumerate(shares):
        array[index] = check.real(f"tensor_split[{index}]", share, 0.0)
    keep.append(array)
    return array


def _devices(active: Binding, wanted: Iterable[str | Device], keep: list[Any]) -> Any:
    if isinstance(wanted, str | Device):
        wanted = [wanted]
    chosen = []
    for each in check.listed("devices", wanted, "devices or their names"):
        device = each if isinstance(each, Device) else Device.find(each)
        if device in chosen:
            raise InvalidArgumentError(f"devices names {device.name} twice")
        chosen.append(device)
    array = active.ffi.new("ggml_backend_dev_t[]", [*(device.ptr for device in chosen), active.NULL])
    keep.append(array)
    return array


def _buft_overrides(active: Binding, overrides: BufferOverrides, keep: list[Any]) -> Any:
    most = int(active.lib.llama_max_tensor_buft_overrides())
    if len(overrides) > most:
        raise InvalidArgumentError(
            f"tensor_buft_overrides has {len(overrides)} patterns; {most} are possible"
        )
    array = active.ffi.new("struct llama_model_tensor_buft_override[]", len(overrides) + 1)  # ends with NULL
    usual = {device.buffer_type.name: device.buffer_type for device in backends.devices()}
    for entry, (pattern, where) in zip(array, overrides.items(), strict=False):
        data = active.ffi.new("char[]", text_.encode_c(pattern, "a pattern of tensor_buft_overrides"))
        keep.append(data)
        entry.pattern, entry.buft = data, _usual_buffer_type(usual, pattern, where).ptr
    keep.append(array)
    return array


def _usual_buffer_type(
    usual: Mapping[str, BufferType], pattern: str, where: str | Device | BufferType
) -> BufferType:
    """Return a device's usual buffer type: others store some tensors only, and crash on the rest."""
    if isinstance(where, Device):
        return where.buffer_type
    wanted = where.name if isinstance(where, BufferType) else where
    if isinstance(wanted, str):
        for name, buffer_type in usual.items():
            if name.lower() == wanted.lower():
                return buffer_type
        for device in backends.devices():
            if device.name.lower() == wanted.lower():
                return device.buffer_type
    raise InvalidArgumentError(
        f"tensor_buft_overrides[{pattern!r}] is {check.shown(where)}; choose one of: {', '.join(usual)}"
    )


def check_patterns(overrides: BufferOverrides, tensor_names: Sequence[str]) -> None:
    """Raise for patterns of ``tensor_buft_overrides`` that are no regular expression or match no tensor.

    C would refuse them without naming the pattern, hang or overflow the stack on them, or leave them out.
    """
    for pattern in overrides:
        data = text_.encode_c(pattern, "a pattern of tensor_buft_overrides")
        if len(data) > _LONGEST_PATTERN:
            raise InvalidArgumentError(
                f"a pattern of tensor_buft_overrides has {len(data)} bytes; {_LONGEST_PATTERN} are possible"
            )
        if _NOT_IN_C.search(pattern):
            raise InvalidArgumentError(
                f"tensor_buft_overrides: {pattern!r} uses a kind of group that C++ doesn't know; it has (…), "
                f"(?:…), (?=…) and (?!…)"
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", FutureWarning)  # "[[a]": Python and C++ differ on it
                compiled = re.compile(pattern)
        except (re.error, OverflowError, RecursionError, FutureWarning) as error:
            raise InvalidArgumentError(
                f"tensor_buft_overrides: {pattern!r} is no regular expression: {error}"
            ) from None
        # a pattern that takes for ever does so here, where Ctrl-C ends it
        if not any(compiled.search(name) for name in tensor_names):
            example = f", {tensor_names[len(tensor_names) // 2]!r} for example" if tensor_names else ""
            raise InvalidArgumentError(
                f"tensor_buft_overrides: {pattern!r} matches none of the {len(tensor_names)} tensors{example}"
            )
