"""The adapters that a context uses: LoRAs with their scales, a control vector."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex

from . import adapter
from ._core import check, logs
from .adapter import LoraAdapter
from .context_resources import ContextResources
from .errors import AdapterError, ArgumentTypeError
from .model import Model

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class ContextAdapters(ContextResources):
    """The part of :class:`Context` that says what changes its model's weights."""

    __slots__ = ("_control_vector", "_decoder", "_lora_pointers", "_loras", "model")

    model: Model
    """the model it was made from"""
    _decoder: Any
    _loras: tuple[tuple[LoraAdapter, float], ...]
    _lora_pointers: list[Any]
    _control_vector: str
    """a digest of the control vector in use, "" if there is none"""

    def close(self) -> None:
        """Give the context up, and what it uses: each is freed now, or with the last that needs it.

        Waits for a running call of another thread.

        Raises:
            BusyError: called from a callback of this very context.

        Threads: any; a second close does nothing.
        """
        super().close()
        self._loras, self._lora_pointers = (), []

    @property
    def loras(self) -> list[tuple[LoraAdapter, float]]:
        """Return the LoRA adapters in use, each with its scale; a copy."""
        return list(self._loras)

    def set_loras(self, loras: Iterable[tuple[LoraAdapter, SupportsFloat]]) -> None:
        """Use these LoRA adapters from the next decode on, instead of those before; [] = none.

        What is in the memory stays as it was computed: a sequence that began without an adapter doesn't
        become one that began with it.

        C: llama_set_adapters_lora

        Arguments:
            loras: adapters of this context's model, each with a scale: 1.0 = as it was trained, 0.0 = not at
                all, negative = the opposite. The context keeps them alive.

        Raises:
            AdapterError: an adapter of another model, or the same one twice.
            InvalidArgumentError: a scale that isn't finite.
            ClosedError, BusyError: the context or an adapter is closed; the context is in use.

        Threads: one call at a time.
        """
        wanted = tuple(_pair(self.model, each) for each in check.listed("loras", loras, "(adapter, scale)"))
        if len({id(lora) for lora, _scale in wanted}) != len(wanted):
            raise AdapterError("an adapter is in the list twice; add its scales up")
        ffi, handle, before = self._ffi, self._handle, self._lora_pointers
        with handle as ctx, logs.capture():
            pointers = [lora.ptr for lora, _scale in wanted]
            adapters = ffi.new("struct llama_adapter_lora *[]", pointers)
            scales = ffi.new("float[]", [scale for _lora, scale in wanted])
            handle.keep(*pointers)
            self._decoder.unsettle()
            self._lib.llama_set_adapters_lora(ctx, adapters, len(wanted), scales)
            self._loras, self._lora_pointers = wanted, pointers
            handle.release(*before)

    def set_control_vector(
        self,
        vector: ArrayLike | None,
        *,
        layer_start: SupportsIndex = 1,
        layer_end: SupportsIndex | None = None,
    ) -> None:
        """Add a vector to the output of each layer from the next decode on; None = no longer.

        C: llama_set_adapter_cvec

        Arguments:
            vector: (n, n_embd) numbers; row 0 is for layer 1, layer 0 has none, rows that are missing are 0.
                :func:`read_control_vector` reads llama.cpp's files. It is copied.
            layer_start: the first layer that gets its row, 1 to n_layer - 1.
            layer_end: the last one; None = the model's last layer.

        Raises:
            InvalidArgumentError: another shape, or numbers that aren't finite; no such layers.
            AdapterError: llama.cpp refuses it.
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        n_layer, n_embd = self.model.n_layer, self.model.n_embd
        data, size, first, last, digest = self._ffi.NULL, 0, -1, -1, ""
        if vector is not None:
            rows = adapter.control_vector_rows(vector, n_layer, n_embd)
            first = check.integer("layer_start", layer_start, 1, max(1, n_layer - 1))
            last = n_layer - 1
            if layer_end is not None:
                last = check.integer("layer_end", layer_end, first, max(first, n_layer - 1))
            data, size = self._ffi.from_buffer("float[]", rows), rows.size
            digest = hashlib.sha256(rows.tobytes() + b"%d-%d" % (first, last)).hexdigest()
        with self._handle as ctx, logs.capture():
            self._decoder.unsettle()
            if self._lib.llama_set_adapter_cvec(ctx, data, size, n_embd, first, last) != 0:
                raise AdapterError("llama.cpp refuses the control vector: there is no memory for it")
            self._control_vector = digest


def _pair(model: Model, value: Any) -> tuple[LoraAdapter, float]:
    try:
        lora, scale = value
    except (TypeError, ValueError):
        raise ArgumentTypeError("loras must be a list of (adapter, scale)") from None
    check.instance("an adapter", lora, LoraAdapter)
    if lora.model is not model:
        raise AdapterError(f"{lora!r} was loaded for another model; model.load_lora() of this one loads it")
    return lora, check.real("scale", scale, -3.4e38, 3.4e38)
