"""How many layers fit into the memory of the devices: what ``n_gpu_layers="auto"`` means.

llama.cpp gives the last layers to the devices, each a run of neighbours in proportion to its free memory (or
to ``tensor_split``), and the output counts as one layer more. So the plan tries from all downwards until what
each device gets is less than it has.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from . import backends, memory_estimate
from ._core import check, model_file, model_source
from ._core.model_file import Path
from .backends import Device
from .memory_estimate import MemoryEstimate

if TYPE_CHECKING:
    from ._core.gguf_scan import Header
    from .overrides import KvOverride

_PERCENT = 10
"""What the estimate may be off by."""
_CONTEXT = 4096
_SPARE = 512 * 2**20
"""Bytes that are left for others and for what drivers take, at most; of a small device a tenth."""


@dataclass(frozen=True)
class DeviceShare:
    """What one device gets of a plan."""

    name: str
    free: int
    """bytes that it had"""
    layers: int
    """how many layers it gets, the output included"""
    needed: int
    """bytes that it will take, estimated"""


@dataclass(frozen=True)
class LayerPlan:
    """How a model is spread over devices and the host."""

    n_gpu_layers: int
    """for :meth:`Model.load <llama_ffi.Model.load>`"""
    n_layers: int
    """how many there are, the output included"""
    devices: tuple[DeviceShare, ...]
    host: int
    """bytes that the host will take, estimated"""
    estimate: MemoryEstimate

    def __str__(self) -> str:
        rows = [(each.name, each.layers, each.needed, each.free) for each in self.devices]
        lines = [
            f"{name:<12}{count:>4} layers{needed / 2**20:>12,.1f} MiB of {free / 2**20:,.1f} MiB free"
            for name, count, needed, free in rows
        ]
        rest = self.n_layers - self.n_gpu_layers
        return "\n".join([*lines, f"{'host':<12}{rest:>4} layers{self.host / 2**20:>12,.1f} MiB"])


class Room(NamedTuple):
    """A device as the plan sees it."""

    name: str
    free: int


def plan_layers(
    path: Path | Sequence[Path] | BinaryIO | int,
    *,
    offset: int | None = None,
    devices: Iterable[str | Device] | None = None,
    tensor_split: Sequence[float] | None = None,
    kv_overrides: Mapping[str, KvOverride] | None = None,
    margin: int | None = None,
    **context: Any,
) -> LayerPlan:
    """Plan how many layers of a model fit into the free memory of the devices, with a context.

    Like C's llama_model_load_from_file, which would find out by failing

    Arguments:
        path, offset, devices, tensor_split, kv_overrides: as for :meth:`Model.load <llama_ffi.Model.load>`.
        margin: bytes of each device that stay free beyond the estimate and a tenth of it; None = 512 MiB, of
            a small device a tenth of what is free.
        context: as for :func:`estimate_memory`; ``n_ctx`` above all.

    Returns:
        the plan, a copy. Without devices that have memory of their own it has no layers.

    Raises:
        ModelNotFoundError, ModelPermissionError, ModelFileError, ModelLoadError: as for ``estimate_memory``.
        BackendError: no device of that name.
        InvalidArgumentError, ArgumentTypeError: a parameter that can't be.

    Threads: any.
    """
    source = model_source.source(path, offset)
    if kv_overrides is not None:
        check.instance("kv_overrides", kv_overrides, Mapping)
    model_file.check_model(source.name, source.headers(), kv_overrides or {})
    return of_headers(
        source.headers(),
        kv_overrides or {},
        context,
        rooms(devices),
        None if tensor_split is None else check.listed("tensor_split", tensor_split, "shares"),
        margin,
    )


def of_headers(
    headers: Sequence[Header],
    overrides: Mapping[str, object],
    context: Mapping[str, Any],
    available: Sequence[Room],
    tensor_split: Sequence[float] | None = None,
    margin: int | None = None,
) -> LayerPlan:
    """Return the plan for files with these headers on these devices."""
    if margin is not None:
        check.integer("margin", margin, 0, 2**62)
    estimate = memory_estimate.of_headers(headers, overrides, context)
    return spread(estimate, available, tensor_split, margin)


def chosen(devices: Iterable[str | Device] | None) -> list[Device] | None:
    """Return the devices that were asked for by name or object; None = those that llama.cpp takes."""
    if devices is None:
        return None
    listed = [devices] if isinstance(devices, str | Device) else devices
    named = check.listed("devices", listed, "devices or their names")
    return [each if isinstance(each, Device) else Device.find(each) for each in named]


def automatic(
    headers: Sequence[Header],
    overrides: Mapping[str, object],
    context: Mapping[str, Any] | None,
    devices: list[Device] | None,
    tensor_split: Sequence[float] | None,
    main_gpu: int | None,
) -> int:
    """Return what ``n_gpu_layers="auto"`` of :meth:`Model.load` means.

    Arguments:
        context: what is to fit in as well; None = as many tokens as the model was trained for, up to 4096.
        main_gpu: the only one that is used; None = all.
    """
    if context is None:
        arch = headers[0].values.get("general.architecture")
        trained = headers[0].values.get(f"{arch}.context_length")
        context = {"n_ctx": min(_CONTEXT, trained) if isinstance(trained, int) and trained else _CONTEXT}
    check.instance("fit_context", context, Mapping)
    available = rooms(devices)
    if main_gpu is not None and available:
        available = available[main_gpu : main_gpu + 1] if main_gpu >= 0 else []
    return of_headers(headers, overrides, context, available, tensor_split).n_gpu_layers


def rooms(devices: Iterable[str | Device] | None) -> list[Room]:
    """Return the devices that get layers, with their free memory: the chosen ones, else all GPUs."""
    if devices is None:
        every = backends.devices()
        used = [each for each in every if each.type == "GPU"]
        used = used or [each for each in every if each.type == "IGPU"][:1]
    else:
        used = [each for each in chosen(devices) or () if each.type in ("GPU", "IGPU", "META")]
    result = []
    for each in used:
        free, total = each.memory
        if not free and not total:  # it doesn't say: llama.cpp takes it to share the host's
            free = Device.find("CPU").memory_free
        result.append(Room(each.name, free))
    return result


def spread(
    estimate: MemoryEstimate,
    available: Sequence[Room],
    tensor_split: Sequence[float] | None = None,
    margin: int | None = None,
) -> LayerPlan:
    """Return the plan with the most layers on devices in which each has room for what it gets."""
    sizes = [layer.weights + layer.context for layer in estimate.layers]
    sizes.append(estimate.output + estimate.output_copy)
    count = len(sizes)
    for n in range(count if available else 0, 0, -1):
        shares = _shares(available, tensor_split, n)
        needed = [0] * len(available)
        layers = [0] * len(available)
        for layer, device in zip(range(count - n, count), shares, strict=True):
            needed[device] += sizes[layer]
            layers[device] += 1
        needed = [
            each + (estimate.compute if number else 0) for each, number in zip(needed, layers, strict=True)
        ]
        if all(_fits(need, room.free, margin) for room, need in zip(available, needed, strict=True) if need):
            given = tuple(map(DeviceShare, *zip(*available, strict=True), layers, needed))
            host = estimate.input + sum(sizes[: count - n]) + estimate.compute
            return LayerPlan(n, count, given, host, estimate)
    nothing = tuple(DeviceShare(room.name, room.free, 0, 0) for room in available)
    return LayerPlan(0, count, nothing, estimate.total, estimate)


def _fits(needed: int, free: int, margin: int | None) -> bool:
    """Tell whether an estimate of so many bytes is safe on a device with so much free memory."""
    spare = min(_SPARE, free // 10) if margin is None else margin
    return needed * (100 + _PERCENT) <= (free - spare) * 100


def _shares(available: Sequence[Room], tensor_split: Sequence[float] | None, n: int) -> list[int]:
    """Return which device gets each of the last ``n`` layers, as llama.cpp reckons: in 32 bits."""
    given = list(tensor_split or ())[: len(available)]
    given += [0.0] * (len(available) - len(given))
    weights = given if any(given) else [float(room.free) for room in available]
    total = sum(weights) or 1.0
    ends, end = [], 0.0
    for weight in weights:
        end = _float(end + weight)
        ends.append(_float(end / total))
    last = len(available) - 1
    return [min(bisect_right(ends, _float(index / n)), last) for index in range(n)]


def _float(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])
