"""cyllama's models, adapters and chat messages."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...adapter import LoraAdapter
from ...chat import apply_template
from ...errors import ArgumentTypeError
from ...model import Model
from . import checks
from .errors import MetadataIndexError, MetadataKeyError
from .model_tokens import TokensOfModel
from .params import LlamaModelParams
from .values import Int, Real, Text
from .vocab import LlamaVocab


@dataclass(slots=True)
class LlamaChatMessage:
    """One message of a chat."""

    role: str
    content: str


class _Metadata:
    """The four methods by which models and adapters tell their metadata."""

    __slots__ = ()

    def _entries(self) -> Mapping[str, str]:
        raise NotImplementedError

    def meta_count(self) -> int:
        """Return the number of entries; arrays don't count."""
        return len(self._entries())

    def meta_val_str(self, key: str) -> str:
        """Return the value of ``key`` as text.

        Raises:
            MetadataKeyError (a KeyError and a ValueError): there is no such key.
        """
        entries = self._entries()
        if checks.instance("key", key, str) not in entries:
            raise MetadataKeyError(f"the metadata has no key {key!r:.80}")
        return entries[key]

    def meta_key_by_index(self, index: int = 0) -> str:
        """Return the key at ``index``, by the alphabet.

        Raises:
            MetadataIndexError (an IndexError): there is none.
        """
        return self._at(index)[0]

    def meta_val_str_by_index(self, index: int = 0) -> str:
        """Return the value at ``index``, by the keys' alphabet.

        Raises:
            MetadataIndexError (an IndexError): there is none.
        """
        return self._at(index)[1]

    def _at(self, index: int) -> tuple[str, str]:
        entries = list(self._entries().items())
        if not isinstance(index, int) or not 0 <= index < len(entries):
            raise MetadataIndexError(f"index is {index!r:.40}; the metadata has {len(entries)} entries")
        return entries[index]


class LlamaModel(TokensOfModel, _Metadata):
    """A loaded model.

    Arguments:
        path_model: the GGUF file.
        params: None = the usual ones.
        verbose: without effect; llama.cpp's log goes to ``logging.getLogger("llama_ffi")``.

    Errors as those of :meth:`llama_ffi.Model.load`: a missing file is a FileNotFoundError, a damaged one an
    OSError.

    Threads: any number may read, tokenize and make contexts at a time.
    """

    __slots__ = ("params", "path_model", "safe", "verbose")

    safe: Model
    """llama_ffi's model under it"""
    params: LlamaModelParams
    path_model: str
    verbose: bool

    def __init__(
        self,
        *,
        path_model: str | os.PathLike[str],
        params: LlamaModelParams | None = None,
        verbose: bool = True,
    ) -> None:
        if params is not None and not isinstance(params, LlamaModelParams):
            raise ArgumentTypeError(f"params must be LlamaModelParams, not {type(params).__name__}")
        self.params = params or LlamaModelParams()
        self.safe = Model.load(path_model, **self.params.options())
        self.path_model = os.fsdecode(path_model)
        self.verbose = verbose

    def __repr__(self) -> str:
        return f"<llama_ffi.compat.cyllama.LlamaModel of {self.safe!r}>"

    @staticmethod
    def default_params() -> LlamaModelParams:
        """Return the usual parameters."""
        return LlamaModelParams()

    def close(self) -> None:
        """Free the model when its last context is gone; a second call does nothing."""
        self.safe.close()

    def get_vocab(self) -> LlamaVocab:
        """Return its vocabulary."""
        return LlamaVocab(self.safe.vocab)

    def lora_adapter_init(self, path_lora: str | os.PathLike[str]) -> LlamaAdapterLora:
        """Load an adapter from the file ``path_lora``; errors as :meth:`llama_ffi.Model.load_lora`."""
        return LlamaAdapterLora(self.safe.load_lora(path_lora))

    # --- what it is: values that can be called, see compat.cyllama.values ---

    @property
    def n_ctx_train(self) -> Int:
        """Return the tokens of context that it was trained with."""
        return Int(self.safe.n_ctx_train)

    @property
    def n_embd(self) -> Int:
        """Return the width of its embeddings."""
        return Int(self.safe.n_embd)

    @property
    def n_embd_inp(self) -> Int:
        """Return the width of embeddings as input."""
        return Int(self.safe.n_embd_inp)

    @property
    def n_layer(self) -> Int:
        """Return the number of layers."""
        return Int(self.safe.n_layer)

    @property
    def n_head(self) -> Int:
        """Return the number of attention heads."""
        return Int(self.safe.n_head)

    @property
    def n_head_kv(self) -> Int:
        """Return the number of heads of keys and values."""
        return Int(self.safe.n_head_kv)

    @property
    def n_params(self) -> Int:
        """Return the number of parameters."""
        return Int(self.safe.n_params)

    @property
    def size(self) -> Int:
        """Return the bytes of all tensors."""
        return Int(self.safe.size)

    @property
    def desc(self) -> Text:
        """Return a short description."""
        return Text(self.safe.desc)

    @property
    def rope_type(self) -> Int:
        """Return the kind of RoPE, a ``LLAMA_ROPE_TYPE_*``."""
        return Int(self.safe.rope_type)

    @property
    def rope_freq_scale_train(self) -> Real:
        """Return the scale of RoPE's frequencies."""
        return Real(self.safe.rope_freq_scale_train)

    def has_encoder(self) -> bool:
        """Return whether it has an encoder."""
        return self.safe.has_encoder

    def has_decoder(self) -> bool:
        """Return whether it has a decoder."""
        return self.safe.has_decoder

    def decoder_start_token(self) -> int:
        """Return the token that a decoder begins with, -1 if it has none."""
        token = self.safe.decoder_start_token
        return -1 if token is None else token

    def is_recurrent(self) -> bool:
        """Return whether it has states instead of keys and values."""
        return self.safe.is_recurrent

    def is_hybrid(self) -> bool:
        """Return whether it has both."""
        return self.safe.is_hybrid

    # --- metadata and chats ---

    def _entries(self) -> Mapping[str, str]:
        return self.safe.metadata

    def metadata(self) -> dict[str, str]:
        """Return all metadata as text, arrays left out."""
        return dict(self.safe.metadata)

    def get_default_chat_template(self) -> str:
        """Return its chat template, "" if it has none."""
        return self.safe.chat_template() or ""

    def get_default_chat_template_by_name(self, name: str) -> str:
        """Return the chat template called ``name``, "" if it has none."""
        return self.safe.chat_template(name) or ""

    def chat_apply_template(
        self, tmpl: str | None, msgs: Iterable[LlamaChatMessage], add_assistant_msg: bool
    ) -> str:
        """Return a chat as text; errors as :func:`llama_ffi.chat.apply_template`.

        Arguments:
            tmpl: the name of a format that llama.cpp knows, or the text of a Jinja template, which is
                rendered as such; None or "" = the model's own.
            msgs: the messages.
            add_assistant_msg: end with what begins an answer.
        """
        chat = [
            checks.instance("a message", each, LlamaChatMessage)
            for each in checks.listed("msgs", msgs, "messages")
        ]
        messages = [{"role": each.role, "content": each.content} for each in chat]
        return apply_template(self.safe, messages, bool(add_assistant_msg), tmpl or None)


class LlamaAdapterLora(_Metadata):
    """A LoRA adapter; obtained by ``model.lora_adapter_init(path)``.

    Threads: any.
    """

    __slots__ = ("safe",)

    safe: LoraAdapter
    """llama_ffi's adapter under it"""

    def __init__(self, safe: LoraAdapter) -> None:
        """Made by ``model.lora_adapter_init()``."""
        if not isinstance(safe, LoraAdapter):
            raise ArgumentTypeError("an adapter comes from model.lora_adapter_init(path)")
        self.safe = safe

    def __repr__(self) -> str:
        return f"<llama_ffi.compat.cyllama.LlamaAdapterLora of {self.safe!r}>"

    def close(self) -> None:
        """Free the adapter when no context uses it; a second call does nothing."""
        self.safe.close()

    def _entries(self) -> Mapping[str, str]:
        return self.safe.metadata


def safe_model(model: Any) -> Model:
    """Return llama_ffi's model of ``model``, or raise what it is instead."""
    if not isinstance(model, LlamaModel):
        raise ArgumentTypeError(f"model must be a LlamaModel, not {type(model).__name__}")
    return model.safe


def model_save_to_file(model: LlamaModel, path: str | os.PathLike[str]) -> None:
    """Write a model as one GGUF file; errors as :meth:`llama_ffi.Model.save_to_file`.

    Arguments:
        model: the model.
        path: the file.

    Threads: any.
    """
    safe_model(model).save_to_file(path)
