"""Models: load, look at, save, and make contexts from.

A file is looked at before C sees it, for a better message than "failed to load model"; what llama.cpp
says while failing goes into the error too. The C object is freed when the model is closed and its last
context, sampler or adapter is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, overload

from . import model_memory, model_saving
from ._core import binding, check, logs, model_file, model_source
from ._core import isolate as isolate_
from ._core.gate import Gate
from ._core.handle import Handle
from ._core.model_file import Path
from .errors import (
    InvalidArgumentError,
    UnsupportedError,
)
from .model_params import BufferOverrides, KvOverride, Progress, check_patterns, model_params
from .model_properties import ModelProperties
from .vocab import Vocab

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .adapter import LoraAdapter
    from .backends import Device
    from .chat.messages import Message
    from .chat.replies import ChatReply, ChatStream
    from .context import Context
    from .context_params import ContextOptions
    from .gguf import GgufContext
    from .memory_use import MemoryBreakdown
    from .session import Session


class Model(ModelProperties):
    """A loaded model.

    C: struct llama_model, owned.

    Use it in a ``with``, or ``close()`` it; contexts made from it keep its C object alive.

    Threads: any number may read, tokenize and make contexts at a time.
    """

    __slots__ = ("_gate", "_no_alloc", "_reordered", "path", "vocab")

    path: str
    """where it was loaded from; "" if it was made in memory"""
    vocab: Vocab
    """its vocabulary"""
    _reordered: str | None
    """the memory in which weights are kept in an order of its own, "" if there is none, None = unknown"""

    def __init__(
        self,
        pointer: Any,
        path: str = "",
        *,
        vocab_only: bool = False,
        no_alloc: bool = False,
        keep: Iterable[Any] = (),
    ) -> None:
        """Take over a ``struct llama_model *`` that raw code made; use :meth:`load` for files.

        Arguments:
            pointer: the model; owned from now on.
            path: where it came from, for messages.
            vocab_only: whether it has no weights.
            no_alloc: whether its weights were only counted.
            keep: what must live as long as it does.

        Raises:
            InvalidArgumentError: the pointer is NULL.
        """
        active = binding.active()
        if pointer == active.NULL:
            raise InvalidArgumentError("the model pointer is NULL")
        self._ffi = active.ffi
        self._lib = active.lib
        self._handle = Handle(active.ffi, pointer, active.lib.llama_model_free, "model", keep=keep)
        self._gate = Gate()
        self._metadata = None
        self._sources = (path,) if path else ()
        self._changes = {}
        self._fingerprint = ""
        self.path = path
        self._vocab_only = vocab_only
        self._no_alloc = no_alloc
        self._reordered = None
        self.vocab = Vocab(self._handle, active.lib.llama_model_get_vocab(pointer))

    @classmethod
    def load(
        cls,
        path: Path | Sequence[Path] | BinaryIO | int,
        *,
        offset: int | None = None,
        n_gpu_layers: int | None = None,
        split_mode: str | int | None = None,
        main_gpu: int = 0,
        tensor_split: Sequence[float] | None = None,
        devices: Iterable[str | Device] | None = None,
        tensor_buft_overrides: BufferOverrides | None = None,
        load_mode: str | int | None = None,
        lazy_mode: str | int | None = None,
        kv_overrides: Mapping[str, KvOverride] | None = None,
        progress: Progress | None = None,
        vocab_only: bool = False,
        check_tensors: bool = False,
        use_extra_bufts: bool = True,
        no_host: bool = False,
        no_alloc: bool = False,
        load_mtp: bool = False,
        isolate: bool | float = False,
    ) -> Model:
        """Load a model from a GGUF file, the parts of a split one, or an open file.

        C: llama_model_load_from_file, llama_model_load_from_splits, llama_model_load_from_file_ptr,
        struct llama_model_params, llama_max_devices, llama_max_tensor_buft_overrides

        Arguments:
            path: the file; of a split model the first part (the others are found by their names), or a list
                of all parts in their order; or a file that is open for reading in binary mode, or its
                descriptor. It must be a real file; it may be closed afterwards, and its position is kept.
            offset: where in the file the model begins, in bytes; None = at the open file's position, of a
                path 0. At an odd place (no multiple of 32) it is read into memory instead of mapped.
            n_gpu_layers: layers to keep on GPUs; None = all, 0 = none.
            split_mode: how to spread over several GPUs: "none", "layer", "row" or "tensor".
            main_gpu: the one GPU for split_mode "none", -1 = none.
            tensor_split: the share of each device.
            devices: the devices to use, or their names (see :func:`llama_ffi.devices`); an empty list = CPU
                only.
            tensor_buft_overrides: where to keep the tensors whose names match a regular expression, by
                pattern: a device, a buffer type, or the name of one: ``{r"ffn_.*_exps": "CPU"}``. The first
                pattern that is found anywhere in a name counts.
            load_mode: "auto", "none", "mmap", "mlock", "mmap_mlock" or "direct_io".
            lazy_mode: read rows of large tensors when needed: "off", "auto" or "on".
            kv_overrides: metadata to replace, by key; the value's Python type must match.
            progress: called with 0.0 to 1.0; returning False cancels. What it raises, ``load`` raises.
            vocab_only: only the vocabulary and the metadata, no weights: no contexts can be made.
            check_tensors: look for NaNs and damaged blocks in the weights.
            use_extra_bufts: let back ends repack weights.
            no_host: don't use host buffers of GPUs.
            no_alloc: read the metadata and plan the memory, but load no weights: for :meth:`measure`.
            load_mtp: load the layers for multi-token prediction.
            isolate: let another process load the model and decode a token first: what would end this process
                ends that one, and is a ModelFileError. For files from strangers: it takes as long as a second
                start. A number = seconds to wait for it, True = 600.

        Returns:
            the model, owned.

        Raises:
            ModelNotFoundError, ModelPermissionError: no such file; it may not be read.
            ModelFileError: not a GGUF file, empty, cut off, or a directory.
            ModelLoadError: llama.cpp refused it (``.log`` has its words), or ``progress`` cancelled.
            InvalidArgumentError, BackendError: a parameter can't be; no device of that name; a pattern that
                matches no tensor; a pipe or a closed file instead of a real one.
            ArgumentTypeError: ``path`` is neither a path nor a binary file.

        Threads: any; ``progress`` is called on this one. Loads from open files take turns, because a file has
        only one position; nobody else may move it meanwhile.
        """
        active = binding.active()
        lib = active.lib
        source = model_source.source(path, offset)
        model_file.check_overrides(kv_overrides or {})
        if not vocab_only:  # to look at it is safe
            model_file.check_model(source.name, source.headers(), kv_overrides or {})
        if isolate is not False:
            isolate_.probe(
                source.name,
                source.by_path(),
                offset=offset,
                vocab_only=bool(vocab_only),
                overrides=kv_overrides or {},
                seconds=isolate_.SECONDS if isolate is True else check.real("isolate", isolate, 0.0),
            )
        params, keep, callback = model_params(
            active,
            n_gpu_layers=n_gpu_layers,
            split_mode=split_mode,
            main_gpu=main_gpu,
            tensor_split=tensor_split,
            devices=devices,
            tensor_buft_overrides=tensor_buft_overrides,
            load_mode=load_mode if load_mode is not None or source.mappable else "none",
            lazy_mode=lazy_mode,
            kv_overrides=kv_overrides,
            progress=progress,
            vocab_only=vocab_only,
            check_tensors=check_tensors,
            use_extra_bufts=use_extra_bufts,
            no_host=no_host,
            no_alloc=no_alloc,
            load_mtp=load_mtp,
        )
        model_file.check_overrides(kv_overrides or {})
        if tensor_buft_overrides:
            check_patterns(tensor_buft_overrides, source.tensor_names())
        with logs.capture() as lines:
            pointer = source.load(active, params[0])
        if pointer == active.NULL:
            if callback is not None:
                callback.reraise()
            refused = [line for line in lines if "regular expression" in line or "regex" in line]
            if tensor_buft_overrides and refused:
                raise InvalidArgumentError(
                    f"tensor_buft_overrides: {model_file.words(refused[-1])}", log=lines
                )
            raise model_file.load_error(source.name, lines, progress is not None)
        ignored = [model_file.words(line) for line in lines if "Bad metadata override" in line]
        if ignored:  # C warns and goes on without them
            lib.llama_model_free(pointer)
            raise InvalidArgumentError(f"kv_overrides: {'; '.join(ignored)}", log=lines)
        # devices are kept by C as pointers into its own registry; every other array was only read. The
        # callback isn't called any more: kept, a program that the model is part of could never be collected.
        needed = [each for each in keep if each is not callback]
        model = cls(pointer, source.name, vocab_only=bool(vocab_only), no_alloc=bool(no_alloc), keep=needed)
        model._sources = source.files
        model._reordered = model_saving.reordered(lines)
        model._changes = dict(kv_overrides or {})
        if callback is not None:
            callback.reraise()
        return model

    @classmethod
    def from_metadata(
        cls,
        metadata: Mapping[str, Any] | GgufContext,
        fill: model_memory.Fill | None = None,
        *,
        n_gpu_layers: int | None = None,
        split_mode: str | int | None = None,
        main_gpu: int = 0,
        tensor_split: Sequence[float] | None = None,
        devices: Iterable[str] | None = None,
        kv_overrides: Mapping[str, KvOverride] | None = None,
        vocab_only: bool = False,
        no_host: bool = False,
    ) -> Model:
        """Make a model in memory: metadata describes it, a function gives each tensor's values.

        C: llama_model_init_from_user

        Arguments:
            metadata: what a GGUF file would say, the vocabulary included: key → value (see
                :meth:`GgufContext.set <llama_ffi.gguf.GgufContext.set>` for types), or a
                :class:`~llama_ffi.gguf.GgufContext`. All tensors are f32, but for those that the context
                names with another type.
            fill: ``fill(name, shape, type)`` is called once for each tensor, the optional ones included,
                and returns its values: an array of that shape (the rows' length last), which is converted
                to the type; a number for all elements; or bytes as C has them.
            n_gpu_layers, split_mode, main_gpu, tensor_split, devices, kv_overrides, no_host: as for
                :meth:`load`.
            vocab_only: only the vocabulary and the metadata; ``fill`` isn't called.

        Returns:
            the model, owned. Its ``n_params`` and ``size`` are 0: libllama counts what files hold.

        Raises:
            InvalidArgumentError: metadata that can't be; values of the wrong shape or size.
            ArgumentTypeError: a value of a type that GGUF doesn't have; values that aren't numbers.
            ModelLoadError: libllama refused it (``.log`` has its words): a key is missing, for example.
            and whatever ``fill`` raises.

        Threads: any; ``fill`` is called on this one.
        """
        active = binding.active()
        params, keep, _ = model_params(
            active,
            n_gpu_layers=n_gpu_layers,
            split_mode=split_mode,
            main_gpu=main_gpu,
            tensor_split=tensor_split,
            devices=devices,
            tensor_buft_overrides=None,
            load_mode=None,
            lazy_mode=None,
            kv_overrides=kv_overrides,
            progress=None,
            vocab_only=vocab_only,
            check_tensors=False,
            use_extra_bufts=False,
            no_host=no_host,
            no_alloc=False,
            load_mtp=False,
        )
        pointer, weights = model_memory.build(active, metadata, fill, params)
        model = cls(pointer, vocab_only=bool(vocab_only), keep=keep)
        model._reordered = ""  # use_extra_bufts is off
        model._changes = {**(kv_overrides or {}), "weights": weights}
        return model

    def __repr__(self) -> str:
        if self.closed:
            return "<llama_ffi.Model, closed>"
        what = f"{self.arch}, vocabulary only" if self.vocab_only else self.desc
        return f"<llama_ffi.Model {what}: {self.path or 'in memory'}>"

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
            max_tokens, temp, top_k, top_p, min_p, seed, sampler, stop, special, n_ctx, n_batch, n_threads:
                as for :func:`llama_ffi.generate`; max_tokens is -1, until the context is full.

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
        from .chat import replies  # like `context`: known inside of this method only

        return replies.answer(self, messages, bool(stream), options)

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
        return LoraAdapter(self, path)

    def context(self, **params: Unpack[ContextOptions]) -> Context:
        """Return a new context; ``params`` are those of :class:`Context`, by name."""
        from .context import Context  # the one place where a lower module knows a higher one

        return Context(self, **params)

    def session(self, **options: Any) -> Session:
        """Return a text that can grow, go back, fork and be saved.

        Arguments:
            options: those of :class:`Session`, by name.
        """
        from .session import Session

        return Session(self, **options)

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
        from .measuring import measure  # Context knows Model, and this needs what Context takes

        return measure(self, params)

    # --- what it is ---

    @property
    def vocab_only(self) -> bool:
        """Whether only the vocabulary and the metadata were loaded."""
        return self._vocab_only

    @property
    def no_alloc(self) -> bool:
        """Whether no weights were loaded, only their memory was planned."""
        return self._no_alloc

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

    # --- saving ---

    def save_to_file(self, path: Path) -> None:
        """Write the model as one GGUF file; an existing file is replaced only when the new one is complete.

        C: llama_model_save_to_file

        Arguments:
            path: the file.

        Raises:
            UnsupportedError: a vocabulary alone, an architecture that llama.cpp can't save, or weights that
                are kept in another order (load it with ``use_extra_bufts=False``).
            ModelSaveError: the file can't be written.
            ClosedError: the model is closed.

        Threads: any.
        """
        model_saving.save(self, path)
