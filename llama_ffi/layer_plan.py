"""How many layers fit into the memory of the devices, by an estimate or by what llama.cpp measures.

llama.cpp gives the last layers to the devices, each a run of neighbours in proportion to its free memory (or
to ``tensor_split``), and the output counts as one layer more. So a plan by estimate tries from all downwards
until what each device gets is less than it has; one by measure begins there, since each measure is a load.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from . import backends, memory_estimate
from ._core import check
from .backends import Device
from .memory_estimate import MemoryEstimate
from .memory_use import MemoryBreakdown

if TYPE_CHECKING:
    from ._core.gguf_scan import Header

_PERCENT = 10
"""What the estimate may be off by."""
_SPARE, _SPARE_MEASURED = 512 * 2**20, 2**30
"""Bytes that are left for others and for what drivers take, at most; of a small device a tenth. No tenth is
added to a measure, which knows nothing of what drivers allocate later: 1 GiB is llama.cpp's own margin."""


@dataclass(frozen=True)
class DeviceShare:
    """What one device gets of a plan."""

    name: str
    free: int
    """bytes that it had"""
    layers: int
    """how many layers it gets, the output included"""
    needed: int
    """bytes that it will take"""


@dataclass(frozen=True)
class LayerPlan:
    """How a model is spread over devices and the host."""

    n_gpu_layers: int
    """for :meth:`Model.load <llama_ffi.Model.load>`"""
    n_layers: int
    """how many there are, the output included"""
    devices: tuple[DeviceShare, ...]
    host: int
    """bytes that the host will take"""
    estimate: MemoryEstimate
    measured: bool = False
    """whether llama.cpp itself planned this, without allocating; else the bytes are estimated"""

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
    for n in range(len(estimate.layers) + 1 if available else 0, 0, -1):
        plan = with_layers(estimate, available, tensor_split, n)
        if fits(plan, margin):
            return plan
    return with_layers(estimate, available, tensor_split, 0)


def with_layers(
    estimate: MemoryEstimate, available: Sequence[Room], tensor_split: Sequence[float] | None, n: int
) -> LayerPlan:
    """Return the plan with ``n`` layers on devices."""
    sizes = [layer.weights + layer.context for layer in estimate.layers]
    sizes.append(estimate.output + estimate.output_copy)
    count = len(sizes)
    needed = [0] * len(available)
    layers = [0] * len(available)
    for layer, device in zip(range(count - n, count), _shares(available, tensor_split, n), strict=True):
        needed[device] += sizes[layer]
        layers[device] += 1
    given = tuple(
        DeviceShare(room.name, room.free, number, need + (estimate.compute if number else 0))
        for room, number, need in zip(available, layers, needed, strict=True)
    )
    if n == 0:
        return LayerPlan(0, count, given, estimate.total, estimate)
    return LayerPlan(n, count, given, estimate.input + sum(sizes[: count - n]) + estimate.compute, estimate)


def fits(plan: LayerPlan, margin: int | None) -> bool:
    """Tell whether each device of a plan has room for what it gets."""
    most = _SPARE_MEASURED if plan.measured else _SPARE
    percent = 100 if plan.measured else 100 + _PERCENT
    for each in plan.devices:
        spare = min(most, each.free // 10) if margin is None else margin
        if each.needed and each.needed * percent > (each.free - spare) * 100:
            return False
    return True


def measured(plan: LayerPlan, found: MemoryBreakdown) -> LayerPlan:
    """Return a plan with what llama.cpp says that its devices and the host will take."""
    needed: dict[str | None, int] = {}
    for entry in found.entries:  # what a device lends the host to exchange data is the host's memory
        place = None if entry.is_host else entry.device
        needed[place] = needed.get(place, 0) + entry.total
    given = tuple(replace(each, needed=needed.pop(each.name, 0)) for each in plan.devices)
    return replace(plan, devices=given, host=sum(needed.values()), measured=True)


def most_layers(
    first: LayerPlan, measure: Callable[[int], LayerPlan | None], margin: int | None
) -> LayerPlan | None:
    """Return the measured plan with the most layers that fits; None if not even one layer does.

    Arguments:
        first: the plan by estimate: the search begins there, and ends after one measure if all layers fit.
        measure: gives the measured plan with so many layers, None if llama.cpp refuses it: a device that
            can't hold a tensor that large, say.
    """
    best: LayerPlan | None = None
    low, high, step = 0, first.n_layers + 1, 1
    n = max(first.n_gpu_layers, 1)
    while low < n < high:
        plan = measure(n)
        if plan is not None and fits(plan, margin):
            best, low = plan, n
        else:
            high = n
        if low and high <= first.n_layers:  # it lies between two measures
            n = (low + high) // 2
        else:
            n, step = (min(low + step, first.n_layers) if low else max(high - step, 1)), 2 * step
    return best


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
