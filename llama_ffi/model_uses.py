"""What a model is used for: contexts, sessions, answers, adapters.

Each is a class of its own that knows the model, and stands above it. So the methods that make them import
what they need when they are called: the only places where a lower module knows a higher one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from ._core import check
from ._core.model_file import Path
from .errors import UnsupportedError
from .model_properties import ModelProperties

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .adapter import LoraAdapter
    from .chat.messages import Message
    from .chat.replies import ChatReply, ChatStream
    from .context import Context
    from .context_params import ContextOptions
    from .memory_use import MemoryBreakdown
    from .model import Model
    from .session import Session


class ModelUses(ModelProperties):
    """The part of :class:`Model` that makes things from it."""

    __slots__ = ("_no_alloc",)

    _no_alloc: bool

    @property
    def _model(self) -> Model:
        return cast("Model", self)

    @overload
    def chat(
        self, messages: Iterable[Message], *, stream: Literal[False] = False, **options: Any
    ) -> ChatReply: ...

    @overload
    def chat(self, messages: Iterable[Message], *, stream: Literal[True], **options: Any) -> ChatStream: ...

    def chat(
        self, messages: Iterable[Message], *, stream: bool = False, **options: Any
    ) -> ChatReply | ChatStream:
        """Answer a chat.

        C: llama_chat_apply_template, llama_decode, llama_sampler_sample

        Arguments:
            messages: what was said: dicts with ``role`` ("system", "user", "assistant", "tool") and
                ``content``, see :func:`llama_ffi.chat.apply_template`.
            stream: return an iterator over the answer's pieces instead of the whole answer.
            template, tools, documents, limits: as for :func:`llama_ffi.chat.apply_template`.
            options: what follows here.
            variables: a dict of the template's own variables, ``{"enable_thinking": False}`` for example.
            parse_special: recognise special tokens in messages, too; leave it off for text that you don't
                trust.
            max_tokens, temp, top_k, top_p, min_p, seed, sampler, json_schema, regex, lark, grammar, stop,
                special, n_ctx, n_batch, n_threads: as for :func:`llama_ffi.generate`; max_tokens is -1, until
                the context is full.
            response_format: what the answer shall be, as OpenAI's API has it: ``{"type": "json_object"}``, or
                ``{"type": "json_schema", "json_schema": {"schema": …}}``.

        Returns:
            a :class:`llama_ffi.ChatReply` with the text, the reason for its end and the tokens it took; or
            with ``stream=True`` a :class:`llama_ffi.ChatStream` over pieces of text, whose ``reply`` is that.

        Raises:
            ChatTemplateError: no template, or it can't render these messages.
            PromptTooLongError: the chat doesn't fit into the context.
            InvalidArgumentError, ArgumentTypeError: a message or an option is wrong.
            ContextCreateError, DecodeError, GrammarError …: as :func:`llama_ffi.generate`.

        Threads: any; each call has a context of its own.
        """
        from .chat import replies

        return replies.answer(self._model, messages, check.truth("stream", stream), options)

    def load_lora(self, path: Path) -> LoraAdapter:
        """Load a LoRA adapter for this model; contexts use it by :meth:`Context.set_loras`.

        C: llama_adapter_lora_init

        Arguments:
            path: a GGUF file, as llama.cpp's convert_lora_to_gguf.py makes it.

        Returns:
            the adapter, owned.

        Raises:
            ModelNotFoundError, ModelPermissionError, ModelFileError: no readable GGUF file.
            AdapterError: no LoRA, one for another model, or a damaged one; ``.log``.
            UnsupportedError: the model has no weights.
            BusyError: another thread makes a context of this model, or loads an adapter.
            ClosedError: the model is closed.

        Threads: one at a time on a model; contexts that exist go on decoding.
        """
        from .adapter import LoraAdapter

        self._needs_weights("an adapter")
        return LoraAdapter(self._model, path)

    def context(self, **params: Unpack[ContextOptions]) -> Context:
        """Return a new context; ``params`` are those of :class:`Context`, by name."""
        from .context import Context

        return Context(self._model, **params)

    def session(self, **options: Any) -> Session:
        """Return a text that can grow, go back, fork and be saved.

        Arguments:
            options: those of :class:`Session`, by name.
        """
        from .session import Session

        return Session(self._model, **options)

    def measure(self, **params: Any) -> MemoryBreakdown:
        """Return the memory that the model and one context need, without making the context for good.

        On a model that was loaded with ``no_alloc=True`` nothing of that size is allocated: this is how to
        find out what fits before loading.

        C: llama_init_from_model; the sizes are told in C++ only, through the guard library.

        Arguments:
            params: those of :class:`Context`.

        Returns:
            the bytes of weights, of what the context remembers and of buffers for computing, by kind of
            memory; a copy.

        Raises:
            ContextCreateError, InvalidArgumentError: as :class:`Context`.
            UnsupportedError: only the vocabulary was loaded, or this library doesn't tell.
            ClosedError: the model is closed.

        Threads: any.
        """
        from .measuring import measure

        return measure(self._model, params)

    def _needs_weights(self, what: str) -> None:
        """Raise unless the model has weights; ``what`` needs them.

        Raises:
            UnsupportedError: it was loaded with vocab_only or no_alloc.
            ClosedError: the model is closed.
        """
        _ = self._handle.ptr
        if self._vocab_only:
            raise UnsupportedError(
                f"only the vocabulary of this model is loaded (vocab_only=True); {what} needs weights"
            )
        if self._no_alloc:
            raise UnsupportedError(f"no weights of this model are loaded (no_alloc=True); {what} needs them")
