"""Contexts: decode tokens, read what comes out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from . import limits
from ._core import binding, check, logs
from ._core.handle import Handle
from .backend_sampling import SamplesOnBackend
from .batch import Batch
from .context_outputs import ReadsOutputs
from .context_params import context_params
from .context_processing import ProcessesBatches
from .decode_failures import reason
from .decoding import Decoder
from .errors import ArgumentTypeError, ContextCreateError, UnsupportedError
from .memory import Memory, Shape
from .model import Model
from .outputs import Outputs
from .snapshot import ContextSnapshots
from .tensor_watch import OnTensor, Watch

if TYPE_CHECKING:
    pass


_NO_OPTIONS = frozenset({"self", "model", "on_tensor", "tensor_names"})
"""Arguments of a context that aren't parameters of the C object."""


class Context(ReadsOutputs, SamplesOnBackend, ProcessesBatches, ContextSnapshots):
    """A model with a memory: what ``llama_decode`` works on.

    C: struct llama_context, owned; llama_init_from_model, struct llama_context_params

    Arguments:
        model: the model.
        n_ctx: tokens that fit, all sequences together; 0 = what the model was trained with. Rounded up to
            a multiple of 256.
        n_batch: tokens that one ``decode`` takes; None = 2048, at most n_ctx.
        n_ubatch: tokens that are computed at a time; None = 512, 0 = n_batch.
        n_seq_max: sequences, 1 to 256.
        n_rs_seq: snapshots per sequence of a recurrent state, for going back.
        n_outputs_max: rows of logits that one ``decode`` makes; 0 = n_batch.
        n_outputs_max_per_seq: of these, rows of one sequence that is sampled on the back end (with
            ``set_sampler``; more than 1 leaves penalties to the CPU); 0 = n_outputs_max.
        n_threads, n_threads_batch: threads for one token and for several, 1 to 512; None = by the machine.
            Threads wait for each other by spinning: far more than there are cores make a decode hundreds of
            times slower, and 512 on a small machine seem to hang.
        ctx_type: "default" or "mtp".
        rope_scaling_type, rope_freq_base, rope_freq_scale, yarn_*: as in llama.h; None, 0 and negative = from
            the model.
        pooling_type: "none", "mean", "cls", "last" or "rank"; None = from the model.
        attention_type: "causal" or "non_causal"; None = from the model.
        flash_attn: True, False, or None = where it works.
        type_k, type_v: type of the KV cache: "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0",
            "q5_1".
        embeddings: make embeddings besides logits.
        offload_kqv, op_offload, swa_full, kv_unified, no_perf: as in llama.h.
        on_tensor: a function that sees tensors while a decode computes them, each as a
            :class:`ComputedTensor`. Returning False stops the decode with CancelledError; what it raises, the
            decode raises; after either the memory is as before the call. It makes decodes slow.
        tensor_names: which it sees: names, also with wildcards ("l_out-*"); None = all.

    Raises:
        ContextCreateError: parameters that don't fit each other or the model, or too little memory; ``.log``.
        InvalidArgumentError: a parameter outside of its range.
        UnsupportedError: only the vocabulary of the model was loaded.
        ClosedError: the model is closed.

    Threads: one call at a time; a second thread gets BusyError.
    """

    __slots__ = (
        "_limits",
        "_memory",
        "_outputs",
        "n_batch",
        "n_ctx",
        "n_ctx_seq",
        "n_rs_seq",
        "n_seq_max",
        "n_ubatch",
    )

    n_ctx: int
    """tokens that fit, as C has it. C: llama_n_ctx"""
    n_ctx_seq: int
    """tokens that fit into one sequence. C: llama_n_ctx_seq"""
    n_batch: int
    """tokens that one decode takes. C: llama_n_batch"""
    n_ubatch: int
    """tokens that are computed at a time. C: llama_n_ubatch"""
    n_seq_max: int
    """number of sequences. C: llama_n_seq_max"""
    n_rs_seq: int
    """snapshots of a recurrent state per sequence. C: llama_n_rs_seq"""

    def __init__(
        self,
        model: Model,
        *,
        n_ctx: int = 512,
        n_batch: int | None = None,
        n_ubatch: int | None = None,
        n_seq_max: int = 1,
        n_rs_seq: int = 0,
        n_outputs_max: int = 0,
        n_outputs_max_per_seq: int = 1,
        n_threads: int | None = None,
        n_threads_batch: int | None = None,
        ctx_type: str | int | None = None,
        rope_scaling_type: str | int | None = None,
        pooling_type: str | int | None = None,
        attention_type: str | int | None = None,
        flash_attn: bool | str | None = None,
        rope_freq_base: float = 0.0,
        rope_freq_scale: float = 0.0,
        yarn_ext_factor: float = -1.0,
        yarn_attn_factor: float = -1.0,
        yarn_beta_fast: float = -1.0,
        yarn_beta_slow: float = -1.0,
        yarn_orig_ctx: int = 0,
        type_k: str = "f16",
        type_v: str = "f16",
        embeddings: bool = False,
        offload_kqv: bool = True,
        op_offload: bool = True,
        swa_full: bool = True,
        kv_unified: bool = False,
        no_perf: bool = True,
        on_tensor: OnTensor | None = None,
        tensor_names: str | Iterable[str] | None = None,
    ) -> None:
        options = {name: value for name, value in locals().items() if name not in _NO_OPTIONS}
        check.instance("model", model, Model)
        active = binding.active()
        lib = active.lib
        parent = model.ptr
        model._needs_weights("a context")
        params = context_params(active, limits.facts(model), **options)
        cancel = bytearray(1)
        cancel_c = active.ffi.from_buffer("unsigned char[]", cancel)  # keeps it where it is
        if active.guard is not None:
            params.abort_callback = active.ffi.cast(
                "ggml_abort_callback", active.guard.function("llama_ffi_cancelled")
            )
            params.abort_callback_data = cancel_c
        keep, watch = [parent, cancel_c], None
        if on_tensor is not None:
            watch = Watch(active, on_tensor, tensor_names, cancel)
            params.cb_eval = watch.callback.pointer
            keep.append(watch.callback)
        with model._gate.reading("making a context"), logs.capture() as lines:
            pointer = lib.llama_init_from_model(parent, params[0])
        if pointer == active.NULL:
            raise ContextCreateError(f"llama.cpp made no context: {reason(lines)}", log=lines)
        self._ffi = active.ffi
        self._lib = lib
        self._measures = not no_perf
        self._pool_sizes = None
        self._handle = Handle(
            active.ffi,
            pointer,
            lib.llama_free,
            "context",
            keep=keep,
            exclusive=True,
            cancel=cancel,
        )
        self.model = model
        self._options = options
        self._on_device = {}
        self._limits = known = limits.read(
            active, model, pointer, n_outputs_max, kv_unified, _is_mtp(ctx_type)
        )
        self.n_ctx, self.n_ctx_seq = known.n_ctx, known.n_ctx_seq
        self.n_batch, self.n_ubatch = known.n_batch, known.n_ubatch
        self.n_seq_max, self.n_rs_seq = known.n_seq_max, known.n_rs_seq
        self._outputs = Outputs(
            active.ffi,
            lib,
            n_vocab=known.n_vocab,
            n_embd=model.n_embd_out,
            n_scores=int(lib.llama_model_n_cls_out(parent)) if known.pooled == "RANK" else 0,
            n_seq_max=self.n_seq_max,
            pooled=known.pooled,
            no_logits=known.no_logits,
        )
        self._outputs.embeddings_enabled = bool(embeddings)
        self._decoder: Any = Decoder(active.ffi, lib, known, self._outputs, cancel, model._gate, watch)
        self._loras = ()
        self._lora_pointers = []
        self._control_vector = ""
        self._memory: Memory | None = None
        if known.has_memory:
            shape = Shape(
                n_seq_max=self.n_seq_max,
                separate_streams=known.separate_streams,
                whole_copies=model.arch == "deepseek4",
                recurrent=not known.keeps_all,
                # all of LFM2's attention slides, if any: shifting its other cache, which is empty, asserts
                shifts=params.type_k in (lib.GGML_TYPE_F16, lib.GGML_TYPE_F32)
                and not (model.arch == "lfm2" and model.n_swa),
            )
            self._memory = Memory(self._handle, lib.llama_get_memory(pointer), shape, self._decoder)

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ""
        return f"<llama_ffi.Context of {self.n_ctx} tokens, {self.n_seq_max} sequences{state}>"

    @property
    def memory(self) -> Memory:
        """Return its memory.

        C: llama_get_memory

        Raises:
            UnsupportedError: models of this kind have none (encoders).
        """
        if self._memory is None:
            raise UnsupportedError(f"contexts of {self.model.arch!r} models have no memory")
        return self._memory

    # --- computing ---

    def decode(self, batch: Batch) -> None:
        """Compute a batch: its tokens go into the memory, its outputs can be read.

        A prompt of more than n_ubatch tokens goes in slices, between which Ctrl-C and :meth:`cancel` are
        noticed; after either the memory is as before the call.

        C: llama_decode

        Raises:
            TokenRangeError, SequenceRangeError: an id or a sequence that doesn't exist.
            InvalidBatchError: empty, more than n_batch tokens, positions that don't continue their sequence …
            NoKvSlotError: no room; nothing has changed.
            CancelledError: ``cancel()`` was called.
            DecodeError: computing failed; the memory is as before the call (the message says if it isn't).
            BorrowedError: a borrowed view forbids it.
            ClosedError, BusyError.

        Threads: one call at a time. The GIL is released while C computes.
        """
        if not isinstance(batch, Batch):
            raise _no_batch(batch)
        handle, busy = self._handle, batch._lock
        rlock = busy.rlock
        if rlock._is_owned() or not rlock.acquire(False):
            busy.enter("batch")
        try:
            ctx = handle.enter()
            try:
                self._decoder.decode(ctx, batch)
            except BaseException as error:
                handle.leave(error)
                raise
            handle.leave()
        finally:
            busy.leave()

    def encode(self, batch: Batch) -> None:
        """Run the encoder over a batch: all of an encoder-only model, the first half of an encoder–decoder.

        C: llama_encode

        Raises:
            UnsupportedError: the model has no encoder.
            InvalidBatchError, DecodeError …: as :meth:`decode`; the batch must fit into n_ubatch.

        Threads: one call at a time.
        """
        if not self._limits.encodes and self._memory is not None:
            raise UnsupportedError(f"{self.model.arch!r} models have no encoder; use decode()")
        if not isinstance(batch, Batch):
            raise _no_batch(batch)
        batch._lock.enter("batch")
        try:
            with self._handle as ctx:
                self._decoder.encode(ctx, batch)
        finally:
            batch._lock.leave()

    def cancel(self) -> None:
        """Make the running decode stop with CancelledError, or the next one if none is running.

        On the CPU it stops at the next node of the graph, on every device after the slice of n_ubatch tokens
        that is being computed. (Without the guard library: after the slice everywhere.)

        C: abort_callback of struct llama_context_params, with a function in C that reads a byte.

        Threads: any; returns at once.
        """
        self._handle.cancel()

    # --- settings ---

    @property
    def embeddings_enabled(self) -> bool:
        """Whether embeddings are made besides logits."""
        return self._outputs.embeddings_enabled

    @property
    def pooling_type(self) -> Any:
        """Return how embeddings are pooled, a ``PoolingType``. C: llama_pooling_type"""
        with self._handle as ctx:
            return binding.active().enum("llama_pooling_type")(self._lib.llama_pooling_type(ctx))

    @property
    def causal_attn(self) -> bool:
        """Whether a token sees only what comes before it. C: llama_get_causal_attn"""
        return self._limits.causal

    def set_causal_attn(self, causal: bool) -> None:
        """Let tokens see only what comes before them, or everything in their batch.

        C: llama_set_causal_attn

        Raises:
            ClosedError, BusyError.
        """
        causal = check.truth("causal", causal)
        with self._handle as ctx, logs.capture():
            self._lib.llama_set_causal_attn(ctx, causal)
            self._limits.causal = causal

    def set_embeddings(self, embeddings: bool) -> None:
        """Make embeddings from the next decode on, or no longer.

        C: llama_set_embeddings

        Raises:
            BorrowedError: a borrowed view exists; the outputs would be laid out anew.
            UnsupportedError: llama.cpp reads this model's embeddings by another width than they have.
            ClosedError, BusyError.
        """
        embeddings = check.truth("embeddings", embeddings)
        if embeddings and self._limits.unreadable:
            raise UnsupportedError(self._limits.unreadable)
        with self._handle as ctx, logs.capture():
            self._outputs.switch_embeddings(embeddings)
            self._lib.llama_set_embeddings(ctx, embeddings)

    def synchronize(self) -> None:
        """Wait until everything is computed; reading outputs does it by itself.

        C: llama_synchronize

        Raises:
            ClosedError, BusyError.
        """
        with self._handle as ctx:
            self._lib.llama_synchronize(ctx)


def _no_batch(value: object) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"batch must be a Batch, not {type(value).__name__}; Batch.from_tokens() makes one"
    )


def _is_mtp(ctx_type: str | int | None) -> bool:
    return ctx_type not in (None, 0) and str(ctx_type).lower() != "default"
