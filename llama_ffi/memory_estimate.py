"""How much memory a model and a context will take, from the file's metadata: nothing is loaded.

Weights are counted tensor by tensor and what a context remembers cell by cell, as llama.cpp does. The buffer
for computing is estimated: see :mod:`llama_ffi._core.estimate.computing`. The exact figure of all three comes
from llama.cpp itself, which takes a model: ``Model.load(path, no_alloc=True).measure(…)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from ._core import binding, check, model_file, model_source
from ._core.choices import members
from ._core.estimate import computing, remembered
from ._core.estimate import weights as weights_
from ._core.estimate.network import Network
from ._core.model_file import Path
from .errors import ArgumentTypeError, InvalidArgumentError, ModelLoadError

if TYPE_CHECKING:
    from ._core.gguf_scan import Header
    from .overrides import KvOverride

USUAL: Mapping[str, Any] = {
    "n_ctx": 512,
    "n_batch": None,
    "n_ubatch": None,
    "n_seq_max": 1,
    "n_rs_seq": 0,
    "n_outputs_max": 0,
    "flash_attn": None,
    "type_k": "f16",
    "type_v": "f16",
    "swa_full": True,
    "kv_unified": False,
    "load_mtp": False,
}
"""What a context is made with if nothing else is said; a test compares it with Context's own."""


@dataclass(frozen=True)
class LayerMemory:
    """The bytes of one layer."""

    weights: int
    context: int
    """what a context remembers of it"""


@dataclass(frozen=True)
class MemoryEstimate:
    """What a model and one context will take, in bytes."""

    weights: int
    """all weights"""
    context: int
    """keys and values, recurrent states"""
    compute: int
    """the buffer for computing, the one figure that is estimated"""
    layers: tuple[LayerMemory, ...]
    """by layer; weights that belong to none are in ``input`` and ``output``"""
    input: int
    """weights that stay with the host: token embeddings"""
    output: int
    """weights behind the last layer"""
    output_copy: int
    """token embeddings that serve as the output too: copied if that is computed on another device"""
    arch: str
    """the model's architecture"""
    measured: bool
    """whether llama.cpp's compute buffers of this architecture are known; else it is taken for a llama"""

    @property
    def total(self) -> int:
        """Return all of it, in bytes."""
        return self.weights + self.context + self.compute

    def __str__(self) -> str:
        parts = (("weights", self.weights), ("context", self.context), ("compute", self.compute))
        rows = [*parts, ("all", self.total)]
        return "\n".join(f"{name:<8}{size / 2**20:>12,.1f} MiB" for name, size in rows)


def estimate_memory(
    path: Path | Sequence[Path] | BinaryIO | int,
    *,
    offset: int | None = None,
    kv_overrides: Mapping[str, KvOverride] | None = None,
    **context: Any,
) -> MemoryEstimate:
    """Estimate how much memory a model and a context will take, without loading the model.

    Like C's llama_model_load_from_file with ``no_alloc``, which counts exactly

    Weights and what the context remembers are counted; the buffer for computing is estimated from sizes, and
    within 10 % of all three together for the architectures and contexts of ``docs/devices.md``.

    Arguments:
        path, offset, kv_overrides: as for :meth:`Model.load <llama_ffi.Model.load>`.
        context: of the parameters of :class:`~llama_ffi.Context` those that matter: ``n_ctx`` (tokens;
            0 = from the model), ``n_batch``, ``n_ubatch`` (tokens; None = llama.cpp's own), ``n_seq_max``,
            ``n_rs_seq``, ``n_outputs_max``, ``flash_attn``, ``type_k``, ``type_v``, ``swa_full``,
            ``kv_unified``; and ``load_mtp`` of :meth:`Model.load <llama_ffi.Model.load>`.

    Returns:
        the bytes, by part and by layer; a copy.

    Raises:
        ModelNotFoundError, ModelPermissionError, ModelFileError: as for ``Model.load``.
        ModelLoadError: the metadata don't describe a network.
        InvalidArgumentError, ArgumentTypeError: a parameter that can't be, or isn't one of those.

    Threads: any.
    """
    source = model_source.source(path, offset)
    if kv_overrides is not None:
        check.instance("kv_overrides", kv_overrides, Mapping)
    model_file.check_model(source.name, source.headers(), kv_overrides or {})
    return of_headers(source.headers(), kv_overrides or {}, context)


def of_headers(
    headers: Sequence[Header], overrides: Mapping[str, object], context: Mapping[str, Any]
) -> MemoryEstimate:
    """Return the estimate for the files with these headers, the first part first."""
    unknown = [name for name in context if name not in USUAL]
    if unknown:
        raise ArgumentTypeError(f"an estimate knows no parameter {unknown[0]!r}; it takes {', '.join(USUAL)}")
    net = Network({**headers[0].values, **overrides})
    cells = _cells(net, {**USUAL, **context})
    tensors = {name: info for header in headers for name, info in header.tensors.items()}
    loaded = weights_.weights(net, tensors, load_mtp=bool(context.get("load_mtp")))
    kept = remembered.by_layer(net, cells)
    words = headers[0].entries.get("tokenizer.ggml.tokens")
    n_vocab = weights_.vocabulary(net, tensors, 0 if words is None else words.length)
    return MemoryEstimate(
        weights=loaded.input + sum(loaded.layers) + loaded.output,
        context=sum(kept),
        compute=computing.compute_bytes(net, cells, n_vocab),
        layers=tuple(LayerMemory(*each) for each in zip(loaded.layers, kept, strict=True)),
        input=loaded.input,
        output=loaded.output,
        output_copy=loaded.tied,
        arch=net.arch,
        measured=computing.known(net),
    )


def _cells(net: Network, wanted: Mapping[str, Any]) -> remembered.Cells:
    n_ctx = check.integer("n_ctx", wanted["n_ctx"], 0, 2**31 - 256, "0 = from the model")
    if not (n_ctx or net.n_ctx_train):
        raise ModelLoadError("n_ctx is 0, and the model doesn't say for how many tokens it was trained")
    numbers = {
        name: check.integer(name, usual if wanted[name] is None else wanted[name], least)
        for name, usual, least in (
            *(("n_batch", 2048, 1), ("n_ubatch", 512, 0), ("n_seq_max", 1, 1)),
            *(("n_rs_seq", 0, 0), ("n_outputs_max", 0, 0)),
        )
    }
    flash_attn = wanted["flash_attn"] not in (False, "disabled") and net.arch != "plm"
    return remembered.cells(
        net,
        n_ctx=n_ctx,
        **numbers,
        unified=bool(wanted["kv_unified"]),
        swa_full=bool(wanted["swa_full"]),
        flash_attn=flash_attn,
        key_row=_row("type_k", wanted["type_k"]),
        value_row=_row("type_v", wanted["type_v"]),
    )


def _row(name: str, value: object) -> remembered.Row:
    """Return how many bytes so many values of a type take."""
    active = binding.active()
    kind = check.choice(name, value, members(active, "ggml_type"))
    block = int(active.lib.ggml_blck_size(kind))
    if not block:
        raise InvalidArgumentError(f"{name} is {value!r}, a type that was removed")
    size = int(active.lib.ggml_type_size(kind))
    return lambda count: -(-count // block) * size
