"""Adapters: LoRA files, and control vectors.

A LoRA is loaded for one model (:meth:`Model.load_lora`) and used by any number of that model's contexts
(:meth:`Context.set_loras`), each with its own scale. A control vector is an array of numbers that a context
adds to what comes out of each layer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from . import adapter_file
from ._core import binding, check, logs
from ._core import text as text_
from ._core.handle import Handle
from ._core.model_file import Path, words
from ._core.owned import Owned
from .errors import AdapterError, InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .model import Model


class LoraAdapter(Owned):
    """A LoRA adapter of a model; obtained as ``model.load_lora(path)``.

    C: struct llama_adapter_lora, owned; llama_adapter_lora_init, llama_adapter_lora_free

    It keeps the model's C object alive, and the contexts that use it keep its own.

    Threads: any number may read it; contexts of several threads may use it at a time.
    """

    __slots__ = ("_alora", "_metadata", "model", "path")

    model: Model
    """the model it was made for"""
    path: str
    """the file it was loaded from"""

    def __init__(self, model: Model, path: Path) -> None:
        """Made by :meth:`Model.load_lora`."""
        from .model import Model

        check.instance("model", model, Model)
        active = binding.active()
        ffi, lib = active.ffi, active.lib
        parent = model.ptr
        name = os.fsdecode(text_.encode_path(path))
        adapter_file.check_lora(path, name, model.arch, model.metadata, model.vocab.n_tokens)
        gate = model._gate
        with gate.writing("load_lora()"), logs.capture() as lines:
            pointer = lib.llama_adapter_lora_init(parent, ffi.new("char[]", text_.encode_path(path)))
        if pointer == active.NULL:
            raise AdapterError(f"{name}: {_reason(lines)}", log=lines)
        self._handle = Handle(ffi, pointer, lib.llama_adapter_lora_free, "adapter", keep=[parent], gate=gate)
        self.model = model
        self.path = name
        self._metadata: Mapping[str, str] | None = None
        self._alora: list[int] | None = None

    def __repr__(self) -> str:
        return f"<llama_ffi.LoraAdapter {self.path}{', closed' * self.closed}>"

    @property
    def metadata(self) -> Mapping[str, str]:
        """Return the file's metadata: key → value as text, arrays left out; a read-only copy.

        C: llama_adapter_meta_count, llama_adapter_meta_key_by_index, llama_adapter_meta_val_str_by_index

        Raises:
            ClosedError: the adapter is closed.

        Threads: any.
        """
        pointer, lib = self._handle.ptr, binding.active().lib
        if self._metadata is None:
            pairs = {}
            for index in range(lib.llama_adapter_meta_count(pointer)):
                key = _string(lib.llama_adapter_meta_key_by_index, pointer, index)
                pairs[key] = _string(lib.llama_adapter_meta_val_str_by_index, pointer, index)
            self._metadata = MappingProxyType(dict(sorted(pairs.items())))
        return self._metadata

    def value(self, key: str) -> str | None:
        """Return one value of the metadata as text, None if there is no such key.

        C: llama_adapter_meta_val_str

        Arguments:
            key: "adapter.lora.alpha", for example.

        Raises:
            InvalidArgumentError: the key holds a NUL.
            ClosedError: the adapter is closed.

        Threads: any.
        """
        pointer, lib = self._handle.ptr, binding.active().lib
        name = text_.encode_c(key, "key")
        text: str | None = _string(lib.llama_adapter_meta_val_str, pointer, name, missing=True)
        return text

    @property
    def alora_invocation_tokens(self) -> list[int]:
        """Return the tokens that switch an activated LoRA (aLoRA) on; empty for an ordinary one; a copy.

        libllama only keeps them: a program that uses an aLoRA looks for them in its prompt, and sets the
        adapter from the last such place on.

        C: llama_adapter_get_alora_n_invocation_tokens, llama_adapter_get_alora_invocation_tokens

        Raises:
            ClosedError: the adapter is closed.

        Threads: any.
        """
        pointer = self._handle.ptr
        if self._alora is None:
            active = binding.active()
            count = active.lib.llama_adapter_get_alora_n_invocation_tokens(pointer)
            tokens = active.lib.llama_adapter_get_alora_invocation_tokens(pointer) if count else None
            self._alora = active.ffi.unpack(tokens, count) if count else []
        return list(self._alora)


def read_control_vector(path: Path) -> NDArray[np.float32]:
    """Read a control vector's file, as llama.cpp's cvector-generator writes it.

    Several of them are added, and made stronger or weaker, as arrays: ``0.8 * happy - 0.3 * formal``.

    Arguments:
        path: a GGUF file with tensors ``direction.1``, ``direction.2`` …, one per layer.

    Returns:
        (n_layers, n_embd) float32, a copy: row 0 is for layer 1 (layer 0 has none); rows without a direction
        are 0.

    Raises:
        ModelFileError, ModelNotFoundError, ModelPermissionError: no readable GGUF file.
        AdapterError: it isn't a control vector, or its directions don't fit together.

    Threads: any.
    """
    return adapter_file.control_vector(path, os.fsdecode(text_.encode_path(path)))


def control_vector_rows(value: Any, n_layer: int, n_embd: int) -> NDArray[np.float32]:
    """Return ``value`` as C wants it: one row for each layer but the first, missing ones 0."""
    import numpy as np

    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidArgumentError(f"the control vector must be an array of numbers: {error}") from None
    most = max(0, n_layer - 1)  # layer 0 has no direction
    if array.ndim != 2 or array.shape[1] != n_embd or array.shape[0] > most:
        raise InvalidArgumentError(
            f"the control vector has the shape {array.shape}; this model takes (n, {n_embd}) with n up to "
            f"{most}: row 0 is for layer 1"
        )
    if not np.isfinite(array).all():
        raise InvalidArgumentError("the control vector holds a value that isn't finite")
    rows = np.zeros((most, n_embd), np.float32)
    rows[: array.shape[0]] = array
    return rows


def _reason(lines: list[str]) -> str:
    said = [words(line) for line in lines]
    mark = "failed to apply lora adapter: "
    telling = [line.partition(mark)[2] for line in said if mark in line]
    return telling[-1] if telling else "; ".join(said[-2:]) or "llama.cpp gave no reason"


def _string(function: Any, *args: Any, missing: bool = False) -> Any:
    """Return what a C function writes snprintf-like, whatever its length; None if it says -1."""
    ffi, room = binding.active().ffi, 256
    while True:
        buffer = ffi.new("char[]", room)
        length = function(*args, buffer, room)
        if length < 0 and missing:
            return None
        if length < room:
            return bytes(ffi.buffer(buffer, max(0, length))).decode("utf-8", "replace")
        room = length + 1
