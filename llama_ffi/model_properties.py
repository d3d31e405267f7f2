"""What a model says of itself: its metadata, sizes and kind, as read-only properties of :class:`Model`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ._core import binding, fingerprint
from ._core import text as text_
from ._core.owned import Owned


class ModelProperties(Owned):
    """The part of :class:`Model` that only reads."""

    __slots__ = ("_changes", "_ffi", "_fingerprint", "_lib", "_metadata", "_sources", "_vocab_only")

    _ffi: Any
    _lib: Any
    _metadata: Mapping[str, str] | None
    _sources: tuple[str, ...]
    """the files that the weights came from"""
    _changes: Mapping[str, object]
    """what else decides what the model computes: overridden metadata, a digest of weights made in memory"""
    _fingerprint: str
    _vocab_only: bool

    @property
    def metadata(self) -> Mapping[str, str]:
        """Return the GGUF metadata: key → value as text, arrays left out; a read-only copy.

        C: llama_model_meta_count, llama_model_meta_key_by_index, llama_model_meta_val_str_by_index
        """
        model, lib = self._handle.ptr, self._lib  # a closed model doesn't answer from the cache either
        if self._metadata is None:
            count = lib.llama_model_meta_count(model)
            keys = [self._string(lib.llama_model_meta_key_by_index, model, index) for index in range(count)]
            values = [
                self._string(lib.llama_model_meta_val_str_by_index, model, index) for index in range(count)
            ]
            self._metadata = MappingProxyType(dict(sorted(zip(keys, values, strict=True))))
        return self._metadata

    @property
    def sampling(self) -> Mapping[str, int | float | str]:
        """Return the sampling that the model's makers recommend, as far as its metadata say; a copy.

        C: llama_model_meta_key_str, llama_model_meta_val_str

        Returns:
            "temp", "top_k", "top_p", "min_p", "xtc_probability", "xtc_threshold", "penalty_last_n",
            "penalty_repeat", "mirostat", "mirostat_tau" and "mirostat_eta" → number, "sequence" → the
            samplers' order as text; only what is there.
        """
        model, lib, string = self._handle.ptr, self._lib, self._ffi.string
        found: dict[str, int | float | str] = {}
        for member in binding.active().enum("llama_model_meta_key"):
            key = lib.llama_model_meta_key_str(member)
            if key == self._ffi.NULL or lib.llama_model_meta_val_str(model, key, self._ffi.NULL, 0) < 0:
                continue
            value = self._string(lambda *room, key=key: lib.llama_model_meta_val_str(model, key, *room))
            found[string(key).decode().rpartition(".")[2]] = _number_or_text(value)
        return MappingProxyType(found)

    @property
    def arch(self) -> str:
        """Return the architecture's name, "llama" for example."""
        return self.metadata.get("general.architecture", "")

    @property
    def fingerprint(self) -> str:
        """Return what tells this model's states from those of other models, 64 hex digits.

        Computed when it is first asked for, from samples of the files (all of a small one) and the metadata.

        Raises:
            OSError: the file is no longer there.
        """
        metadata = self.metadata
        if not self._fingerprint:
            files = fingerprint.with_splits(self._sources, metadata.get("split.count", ""))
            self._fingerprint = fingerprint.of(files, {**metadata, **self._changes})
        return self._fingerprint

    @property
    def desc(self) -> str:
        """Return a short description: architecture, size, quantization. C: llama_model_desc"""
        model = self._handle.ptr
        return self._string(lambda *rest: self._lib.llama_model_desc(model, *rest))

    def chat_template(self, name: str | None = None) -> str | None:
        """Return the model's chat template (Jinja), None if it has none.

        C: llama_model_chat_template

        Arguments:
            name: of a named template, "tool_use" for example; None = the default one.

        Raises:
            InvalidArgumentError: the name holds a NUL.
            ClosedError: the model is closed.
        """
        model = self._handle.ptr
        wanted = self._ffi.NULL if name is None else text_.encode_c(name, "name")
        template = self._lib.llama_model_chat_template(model, wanted)
        return None if template == self._ffi.NULL else self._ffi.string(template).decode("utf-8", "replace")

    @property
    def size(self) -> int:
        """Return the size of all tensors, in bytes. C: llama_model_size"""
        return int(self._lib.llama_model_size(self._handle.ptr))

    @property
    def n_params(self) -> int:
        """Return the number of parameters. C: llama_model_n_params"""
        return int(self._lib.llama_model_n_params(self._handle.ptr))

    @property
    def ftype(self) -> Any:
        """Return the file's quantization, a ``Ftype``; None for a number that this library doesn't know.

        What a file doesn't say llama.cpp guesses from its tensors; with vocab_only it is None then.

        C: llama_model_ftype
        """
        ftypes = binding.active().enum("llama_ftype")
        value = self._file_type()
        try:
            return None if value is None else ftypes(value & ~int(ftypes.GUESSED))
        except ValueError:
            return None

    @property
    def ftype_name(self) -> str:
        """Return the file's quantization as text, "Q4_K - Medium" for example. C: llama_ftype_name"""
        value = self._file_type()
        if value is None:
            return "unknown"
        name: bytes = self._ffi.string(self._lib.llama_ftype_name(value))
        return name.decode()

    @property
    def n_ctx_train(self) -> int:
        """Return the context it was trained with, in tokens. C: llama_model_n_ctx_train"""
        return int(self._lib.llama_model_n_ctx_train(self._handle.ptr))

    @property
    def n_embd(self) -> int:
        """Return the width of the embeddings. C: llama_model_n_embd"""
        return int(self._lib.llama_model_n_embd(self._handle.ptr))

    @property
    def n_embd_inp(self) -> int:
        """Return the width of embeddings as input. C: llama_model_n_embd_inp"""
        return int(self._lib.llama_model_n_embd_inp(self._handle.ptr))

    @property
    def n_embd_out(self) -> int:
        """Return the width of embeddings as output. C: llama_model_n_embd_out"""
        return int(self._lib.llama_model_n_embd_out(self._handle.ptr))

    @property
    def n_layer(self) -> int:
        """Return the number of layers. C: llama_model_n_layer"""
        return int(self._lib.llama_model_n_layer(self._handle.ptr))

    @property
    def n_layer_nextn(self) -> int:
        """Return the number of layers for multi-token prediction. C: llama_model_n_layer_nextn"""
        return int(self._lib.llama_model_n_layer_nextn(self._handle.ptr))

    @property
    def n_head(self) -> int:
        """Return the number of attention heads of the first layer, 0 if there is no layer.

        C: llama_model_n_head
        """
        model = self._handle.ptr
        return int(self._lib.llama_model_n_head(model)) if self._has_layers(model) else 0

    @property
    def n_head_kv(self) -> int:
        """Return the number of key-value heads of the first layer, 0 if there is no layer.

        C: llama_model_n_head_kv
        """
        model = self._handle.ptr
        return int(self._lib.llama_model_n_head_kv(model)) if self._has_layers(model) else 0

    @property
    def n_swa(self) -> int:
        """Return the size of the sliding attention window, 0 = none. C: llama_model_n_swa"""
        return int(self._lib.llama_model_n_swa(self._handle.ptr))

    @property
    def rope_type(self) -> Any:
        """Return how positions are encoded, a ``RopeType``. C: llama_model_rope_type"""
        value = self._lib.llama_model_rope_type(self._handle.ptr)
        return binding.active().enum("llama_rope_type")(value)

    @property
    def rope_freq_scale_train(self) -> float:
        """Return the RoPE frequency scale it was trained with. C: llama_model_rope_freq_scale_train"""
        return float(self._lib.llama_model_rope_freq_scale_train(self._handle.ptr))

    @property
    def cls_labels(self) -> list[str | None]:
        """Return the labels of the classifier's outputs, None for one without a label.

        C: llama_model_n_cls_out, llama_model_cls_label
        """
        model, lib, ffi = self._handle.ptr, self._lib, self._ffi
        labels = [
            lib.llama_model_cls_label(model, index) for index in range(lib.llama_model_n_cls_out(model))
        ]
        return [
            None if label == ffi.NULL else ffi.string(label).decode("utf-8", "replace") for label in labels
        ]

    @property
    def has_encoder(self) -> bool:
        """Whether it has an encoder (T5). C: llama_model_has_encoder"""
        return bool(self._lib.llama_model_has_encoder(self._handle.ptr))

    @property
    def has_decoder(self) -> bool:
        """Whether it has a decoder. C: llama_model_has_decoder"""
        return bool(self._lib.llama_model_has_decoder(self._handle.ptr))

    @property
    def decoder_start_token(self) -> int | None:
        """Return the token that the decoder of an encoder–decoder model starts with.

        C: llama_model_decoder_start_token
        """
        token = int(self._lib.llama_model_decoder_start_token(self._handle.ptr))
        return token if token >= 0 else None

    @property
    def is_recurrent(self) -> bool:
        """Whether it keeps a state instead of keys and values (Mamba, RWKV). C: llama_model_is_recurrent"""
        return bool(self._lib.llama_model_is_recurrent(self._handle.ptr))

    @property
    def is_hybrid(self) -> bool:
        """Whether it has both recurrent and attention layers. C: llama_model_is_hybrid"""
        return bool(self._lib.llama_model_is_hybrid(self._handle.ptr))

    @property
    def is_diffusion(self) -> bool:
        """Whether it generates by diffusion. C: llama_model_is_diffusion"""
        return bool(self._lib.llama_model_is_diffusion(self._handle.ptr))

    def _file_type(self) -> int | None:
        if not self._vocab_only:
            return int(self._lib.llama_model_ftype(self._handle.ptr))
        said = self.metadata.get("general.file_type", "")  # C loads a vocabulary without looking at it
        return int(said) if said.isdecimal() and int(said) < 2**32 else None

    def _has_layers(self, model: Any) -> bool:
        # the per-layer getters abort on a model without layers, such as one loaded with vocab_only
        return bool(self._lib.llama_model_n_layer(model) + self._lib.llama_model_n_layer_nextn(model) > 0)

    def _string(self, function: Any, *args: Any) -> str:
        """Return what a C function writes snprintf-like, whatever its length."""
        room = 256
        while True:
            buffer = self._ffi.new("char[]", room)
            length = function(*args, buffer, room)
            if length < room:
                return bytes(self._ffi.buffer(buffer, max(0, length))).decode("utf-8", "replace")
            room = length + 1


def _number_or_text(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value.replace(",", "."))  # C writes a float with the locale's decimal point
        except ValueError:
            pass
    return value
