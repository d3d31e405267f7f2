"""What ``n_gpu_layers="auto"`` means: as many layers as fit into the devices' memory with a context.

The file's metadata give an estimate, with which the search begins. Then llama.cpp itself plans the model and
the context without allocating anything (``no_alloc``), and the number of layers goes up or down until one
more wouldn't fit. Where llama.cpp can't be asked, the estimate decides, and more is left free.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, BinaryIO

from . import layer_plan, measuring
from ._core import binding, check, model_file, model_source
from ._core.choices import members
from ._core.model_file import Path
from .backends import Device
from .errors import ContextCreateError, LlamaError
from .layer_plan import LayerPlan
from .model import Model
from .rpc import Use

if TYPE_CHECKING:
    from ._core.gguf_scan import Header
    from .overrides import KvOverride

_CONTEXT = 4096
_BY_LAYER = ("layer", "none")
"""Ways to split a model that give each layer to one device, so that what is measured is a device's own."""


def plan_layers(
    path: Path | Sequence[Path] | BinaryIO | int,
    *,
    offset: int | None = None,
    devices: Iterable[str | Device] | None = None,
    tensor_split: Sequence[float] | None = None,
    kv_overrides: Mapping[str, KvOverride] | None = None,
    rpc: str | Iterable[str] | None = None,
    margin: int | None = None,
    measure: bool | None = None,
    **context: Any,
) -> LayerPlan:
    """Plan how many layers of a model fit into the free memory of the devices, with a context.

    C: llama_model_load_from_file and llama_init_from_model with ``no_alloc``, which counts and allocates
    nothing

    Arguments:
        path, offset, devices, tensor_split, kv_overrides, rpc: as for :meth:`Model.load
            <llama_ffi.Model.load>`.
        margin: bytes of each device that stay free; None = 1 GiB, of a small device a tenth of what is free.
            If the plan is estimated, beyond a tenth of the estimate; None = 512 MiB then.
        measure: whether to ask llama.cpp, which reads the file's header and vocabulary for each number of
            layers that is tried, mostly one to three; None = if this library can say it, False = the
            estimate of :func:`estimate_memory`.
        context: as for :func:`estimate_memory`; ``n_ctx`` above all.

    Returns:
        the plan, a copy. Without devices that have memory of their own it has no layers.

    Raises:
        ModelNotFoundError, ModelPermissionError, ModelFileError, ModelLoadError: as for ``estimate_memory``.
        BackendError: no device of that name; RpcConnectError: a worker can't be used.
        InvalidArgumentError, ArgumentTypeError: a parameter that can't be.
        UnsupportedError: ``measure=True``, and this library doesn't say where its memory lies.
        ContextCreateError …: ``measure=True``, and llama.cpp refuses such a model or context.

    Threads: any.
    """
    source = model_source.source(path, offset)
    if kv_overrides is not None:
        check.instance("kv_overrides", kv_overrides, Mapping)
    if measure is not None:
        check.truth("measure", measure)
    model_file.check_model(source.name, source.headers(), kv_overrides or {})
    with ExitStack() as undone:
        if rpc is not None:
            workers = Use(rpc)
            undone.callback(workers.end)
            devices = workers.devices(devices)
        options = {"devices": layer_plan.chosen(devices), "kv_overrides": kv_overrides}
        if tensor_split is not None:
            options["tensor_split"] = check.listed("tensor_split", tensor_split, "shares")
        return _plan(path, offset, source.headers(), context, options, margin, measure)


def automatic(
    path: Path | Sequence[Path] | BinaryIO | int,
    offset: int | None,
    headers: Sequence[Header],
    context: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> int:
    """Return what ``n_gpu_layers="auto"`` of :meth:`Model.load` means.

    Arguments:
        headers: the files' headers, which have been checked.
        context: what is to fit in as well; None = as many tokens as the model was trained for, up to 4096.
        options: those of ``load`` that decide where memory lies.
    """
    if context is None:
        arch = headers[0].values.get("general.architecture")
        trained = headers[0].values.get(f"{arch}.context_length")
        context = {"n_ctx": min(_CONTEXT, trained) if isinstance(trained, int) and trained else _CONTEXT}
    check.instance("fit_context", context, Mapping)
    return _plan(path, offset, headers, context, options, None, None).n_gpu_layers


def _plan(
    path: Path | Sequence[Path] | BinaryIO | int,
    offset: int | None,
    headers: Sequence[Header],
    context: Mapping[str, Any],
    options: Mapping[str, Any],
    margin: int | None,
    measure: bool | None,
) -> LayerPlan:
    available = layer_plan.rooms(options["devices"])
    split_mode, split = options.get("split_mode"), options.get("tensor_split")
    modes = members(binding.active(), "llama_split_mode")
    if split_mode in ("none", modes["none"]) and available:
        only = options["main_gpu"]
        available = available[only : only + 1] if only >= 0 else []
    overrides = options["kv_overrides"] or {}
    context = {"load_mtp": bool(options.get("load_mtp")), **context}
    first = layer_plan.of_headers(headers, overrides, context, available, split, margin)
    by_layer = split_mode in (None, *_BY_LAYER, *(modes[name] for name in _BY_LAYER))
    if measure is False or not available or not by_layer:
        return first
    made = {name: value for name, value in context.items() if name != "load_mtp"}
    load = {**options, "load_mtp": context["load_mtp"]}

    refused: list[LlamaError] = []

    def measured(n: int) -> LayerPlan | None:
        try:
            with Model.load(path, offset=offset, n_gpu_layers=n, no_alloc=True, **load) as model:
                found = measuring.measure(model, made)
        except ContextCreateError as error:
            refused.append(error)
            return None
        return layer_plan.measured(layer_plan.with_layers(first.estimate, available, split, n), found)

    try:
        best = layer_plan.most_layers(first, measured, margin) or measured(0)
        if best is None:
            raise refused[-1]  # it isn't for want of memory
    except LlamaError:  # it can't say, or what it refuses the load will say better
        if measure:
            raise
        return first
    return best
