"""Contexts: decode tokens, read what comes out.

What makes ``llama_decode`` abort is checked before every call, with a handful of integer comparisons and
none per token. What it refuses cleanly by itself (an id outside of the vocabulary, a gap in the positions)
is left to it, and explained afterwards: its refusal changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex

from ._core import arrays, binding, check, logs
from ._core.handle import Handle
from .batch import Batch
from .errors import (
    CancelledError,
    ContextCreateError,
    DecodeError,
    InvalidBatchError,
    NoKvSlotError,
    NoOutputsError,
    SequenceRangeError,
    TokenRangeError,
    UnsupportedError,
)
from .memory import Memory, Shape
from .model import Model
from .params import ModelFacts, context_params

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NO_LIMIT = 2**31


class Context:
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
        n_threads, n_threads_batch: threads for one token and for several, 1 to 512; None = by the machine.
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

    Raises:
        ContextCreateError: parameters that don't fit each other or the model, or too little memory; ``.log``.
        InvalidArgumentError: a parameter outside of its range.
        UnsupportedError: only the vocabulary of the model was loaded.
        ClosedError: the model is closed.

    Threads: one call at a time; a second thread gets BusyError.
    """

    __slots__ = (
        "__weakref__",
        "_causal",
        "_decode",
        "_encoded",
        "_ffi",
        "_handle",
        "_has_outputs",
        "_lib",
        "_logits_ith",
        "_memory",
        "_n_outputs_max",
        "_pooled",
        "_position_limit",
        "_separate_streams",
        "embeddings_enabled",
        "model",
        "n_batch",
        "n_ctx",
        "n_ctx_seq",
        "n_rs_seq",
        "n_seq_max",
        "n_ubatch",
    )

    model: Model
    """the model it was made from"""
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
    embeddings_enabled: bool
    """whether embeddings are made"""

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
    ) -> None:
        active = binding.active()
        lib = active.lib
        parent = model.ptr
        if model.vocab_only:
            raise UnsupportedError(
                "only the vocabulary of this model is loaded (vocab_only=True); a context needs weights"
            )
        params = context_params(
            active,
            _facts(model),
            n_ctx=n_ctx,
            n_batch=n_batch,
            n_ubatch=n_ubatch,
            n_seq_max=n_seq_max,
            n_rs_seq=n_rs_seq,
            n_outputs_max=n_outputs_max,
            n_threads=n_threads,
            n_threads_batch=n_threads_batch,
            ctx_type=ctx_type,
            rope_scaling_type=rope_scaling_type,
            pooling_type=pooling_type,
            attention_type=attention_type,
            flash_attn=flash_attn,
            rope_freq_base=rope_freq_base,
            rope_freq_scale=rope_freq_scale,
            yarn_ext_factor=yarn_ext_factor,
            yarn_attn_factor=yarn_attn_factor,
            yarn_beta_fast=yarn_beta_fast,
            yarn_beta_slow=yarn_beta_slow,
            yarn_orig_ctx=yarn_orig_ctx,
            type_k=type_k,
            type_v=type_v,
            embeddings=embeddings,
            offload_kqv=offload_kqv,
            op_offload=op_offload,
            swa_full=swa_full,
            kv_unified=kv_unified,
            no_perf=no_perf,
        )
        with logs.capture() as lines:
            pointer = lib.llama_init_from_model(parent, params[0])
        if pointer == active.NULL:
            raise ContextCreateError(f"llama.cpp made no context: {_reason(lines)}", log=lines)
        self._ffi: Any = active.ffi
        self._lib: Any = lib
        self._handle = Handle(active.ffi, pointer, lib.llama_free, "context", keep=[parent], exclusive=True)
        self.model = model
        self.n_ctx = int(lib.llama_n_ctx(pointer))
        self.n_ctx_seq = int(lib.llama_n_ctx_seq(pointer))
        self.n_batch = int(lib.llama_n_batch(pointer))
        self.n_ubatch = int(lib.llama_n_ubatch(pointer))
        self.n_seq_max = int(lib.llama_n_seq_max(pointer))
        self.n_rs_seq = int(lib.llama_n_rs_seq(pointer))
        self.embeddings_enabled = bool(embeddings)
        self._causal = bool(lib.llama_get_causal_attn(pointer))
        self._pooled = active.enums.CLASSES["llama_pooling_type"](lib.llama_pooling_type(pointer)).name
        self._n_outputs_max = n_outputs_max if n_outputs_max and not model.has_encoder else self.n_batch
        self._position_limit = _position_limit(model)
        self._separate_streams = not kv_unified and self.n_seq_max > 1
        self._decode: Callable[[Any, Any], int] = lib.llama_decode
        self._logits_ith: Callable[[Any, int], Any] = lib.llama_get_logits_ith
        self._encoded = False
        self._has_outputs = False
        memory = lib.llama_get_memory(pointer)
        self._memory: Memory | None = None
        if memory != active.NULL:
            shape = Shape(
                n_seq_max=self.n_seq_max,
                separate_streams=self._separate_streams,
                whole_copies=model.arch == "deepseek4",
                recurrent=model.is_recurrent or model.is_hybrid,
            )
            self._memory = Memory(self._handle, memory, shape)

    # --- life ---

    @property
    def ptr(self) -> Any:
        """Return the ``struct llama_context *`` for raw calls; while you hold it, it isn't freed.

        Raises:
            ClosedError: the context is closed.
        """
        return self._handle.ptr

    @property
    def closed(self) -> bool:
        """Return whether the context has been closed."""
        return self._handle.closed

    def close(self) -> None:
        """Free the context; waits for a running call of another thread.

        C: llama_free

        Threads: any; a second close does nothing.
        """
        self._handle.close()

    def __enter__(self) -> Context:
        _ = self._handle.ptr
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

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

        C: llama_decode

        Raises:
            TokenRangeError, SequenceRangeError: an id or a sequence that doesn't exist.
            InvalidBatchError: empty, more than n_batch tokens, positions that don't continue their sequence …
            NoKvSlotError: no room; nothing has changed.
            DecodeError: computing failed; the memory is as before the call (the message says if it isn't).
            ClosedError, BusyError.

        Threads: one call at a time. The GIL is released while C computes.
        """
        struct = batch._struct
        lock = batch._lock
        lock.enter("batch")
        try:
            with self._handle as ctx:
                self._check(batch, struct.n_tokens)
                self._has_outputs = False
                with logs.capture() as lines:
                    code = self._decode(ctx, struct[0])
                if code:
                    self._fail(ctx, batch, code, lines)
                self._has_outputs = True
        finally:
            lock.leave()

    def _decode_one(self, ctx: Any, batch: Batch, value: Any) -> None:
        """Decode a batch of one token whose form is known to be right; the caller is inside the handle."""
        self._has_outputs = False
        with logs.capture() as lines:
            code = self._decode(ctx, value)
        if code:
            self._fail(ctx, batch, code, lines)
        self._has_outputs = True

    def encode(self, batch: Batch) -> None:
        """Run the encoder over a batch: all of an encoder-only model, the first half of an encoder–decoder.

        C: llama_encode

        Raises:
            UnsupportedError: the model has no encoder.
            InvalidBatchError, DecodeError …: as :meth:`decode`; the batch must fit into n_ubatch.

        Threads: one call at a time.
        """
        if not self.model.has_encoder and self._memory is not None:
            raise UnsupportedError(f"{self.model.arch!r} models have no encoder; use decode()")
        struct = batch._struct
        lock = batch._lock
        lock.enter("batch")
        try:
            with self._handle as ctx:
                self._check(batch, struct.n_tokens, encoding=True)
                self._has_outputs = False
                with logs.capture() as lines:
                    code = self._lib.llama_encode(ctx, struct[0])
                if code:
                    self._fail(ctx, batch, code, lines, encoding=True)
                self._encoded = self._has_outputs = True
        finally:
            lock.leave()

    def _check(self, batch: Batch, count: int, encoding: bool = False) -> None:
        """Raise what would abort; a few comparisons, nothing per token in the usual case."""
        if not 0 < count <= self.n_batch:
            if not count:
                raise InvalidBatchError("the batch is empty")
            raise InvalidBatchError(
                f"the batch has {count} tokens, the context takes n_batch={self.n_batch} at a time; decode "
                "it in parts"
            )
        if count > self.n_ubatch and (encoding or not self._causal or self._memory is None):
            raise InvalidBatchError(
                f"the batch has {count} tokens, and without causal attention all of it is computed at once: "
                f"n_ubatch={self.n_ubatch} must be at least that"
            )
        if count > self._n_outputs_max or self._n_outputs_max < self.n_batch:
            outputs = (
                count if encoding or self.embeddings_enabled or self._memory is None else batch.n_outputs
            )
            if outputs > self._n_outputs_max:
                raise InvalidBatchError(
                    f"the batch wants {outputs} outputs, the context makes {self._n_outputs_max} "
                    "(n_outputs_max)"
                )
        if batch._coupled and self._separate_streams:
            raise InvalidBatchError("a token of several sequences needs a context made with kv_unified=True")
        if self._position_limit != _NO_LIMIT:
            highest = max(batch.positions)
            if highest >= self._position_limit:
                raise InvalidBatchError(
                    f"position {highest}: this model has learned the positions 0 to "
                    f"{self._position_limit - 1} only"
                )
        if not encoding and not self._encoded and self.model.has_encoder and self.model.arch == "t5":
            raise InvalidBatchError("an encoder–decoder model needs encode() before the first decode()")
        if self.embeddings_enabled and count > self.n_ubatch and self._pooled in ("MEAN", "CLS", "RANK"):
            raise InvalidBatchError(
                f"the batch has {count} tokens, and pooling ({self._pooled.lower()}) looks at "
                f"n_ubatch={self.n_ubatch} at a time"
            )

    def _fail(self, ctx: Any, batch: Batch, code: int, lines: list[str], encoding: bool = False) -> NoReturn:
        name = "encode" if encoding else "decode"
        if code == -1:
            raise self._explain(batch, lines, code)
        if code == 1:
            raise NoKvSlotError(
                f"no room for {len(batch)} tokens in the memory ({self.n_ctx} tokens in all); remove some "
                "with "
                f"memory.seq_rm, use a smaller batch or a larger n_ctx",
                code=code,
                log=lines,
            )
        rest = "" if encoding or self._memory is None else "; " + self._cut_back(batch)
        if code == 2:
            raise CancelledError(f"{name} was cancelled{rest}", code=code, log=lines)
        raise DecodeError(f"{name} failed with code {code}: {_reason(lines)}{rest}", code=code, log=lines)

    def _cut_back(self, batch: Batch) -> str:
        """Take what a failed decode has left in memory out again; return how that went."""
        first: dict[int, int] = {}
        for position, sequences in zip(batch.positions, batch.sequences, strict=True):
            for sequence in sequences:
                first[sequence] = min(position, first.get(sequence, position))
        memory, cleared = self._lib.llama_get_memory(self._handle.ptr), []
        for sequence, position in first.items():
            if not self._lib.llama_memory_seq_rm(memory, sequence, position, -1):
                self._lib.llama_memory_seq_rm(memory, sequence, -1, -1)
                cleared.append(sequence)
        if cleared:
            emptied = ", ".join(map(str, cleared))
            return f"this kind of memory can't forget a part, so sequence {emptied} was emptied"
        return "the memory is as before"

    def _explain(self, batch: Batch, lines: list[str], code: int) -> Exception:
        """Return the error for a batch that libllama refused, having changed nothing."""
        n_vocab = self.model.vocab.n_tokens
        for index, token in enumerate(batch.tokens):
            if not 0 <= token < n_vocab:
                return TokenRangeError(
                    f"token {index} of the batch is {token}; the vocabulary has the ids 0 to {n_vocab - 1}",
                    code=code,
                    log=lines,
                )
        last: dict[int, int] = {}
        memory = self._lib.llama_get_memory(self._handle.ptr)
        for index, (position, sequences) in enumerate(zip(batch.positions, batch.sequences, strict=True)):
            for sequence in sequences:
                if sequence >= self.n_seq_max:
                    return SequenceRangeError(
                        f"token {index} belongs to sequence {sequence}; this context has the sequences 0 to "
                        f"{self.n_seq_max - 1} (n_seq_max={self.n_seq_max})",
                        code=code,
                        log=lines,
                    )
                if sequence not in last:
                    known = int(self._lib.llama_memory_seq_pos_max(memory, sequence))
                    if known >= 0 and position != known + 1:
                        return InvalidBatchError(
                            f"token {index} is at position {position} of sequence {sequence}, whose memory "
                            "ends at "
                            f"{known}: the next position is {known + 1} (memory.seq_rm takes tokens out)",
                            code=code,
                            log=lines,
                        )
                elif not last[sequence] <= position <= last[sequence] + 1:
                    return InvalidBatchError(
                        f"token {index} is at position {position} of sequence {sequence}, after position "
                        f"{last[sequence]}: "
                        f"positions must be consecutive",
                        code=code,
                        log=lines,
                    )
                last[sequence] = position
        return InvalidBatchError(f"llama.cpp refuses the batch: {_reason(lines)}", code=code, log=lines)

    # --- outputs ---

    def logits(self, i: SupportsIndex = -1) -> NDArray[np.float32]:
        """Return the logits of one token of the last batch.

        C: llama_get_logits_ith

        Arguments:
            i: the token's index in the batch, or -1 for the last output, -2 for the one before …

        Returns:
            (n_vocab,) float32, a copy.

        Raises:
            NoOutputsError: no outputs were asked for there, or the last decode failed.
            ClosedError, BusyError.
        """
        index = check.integer("i", i)
        with self._handle as ctx:
            return arrays.floats_to_numpy(self._ffi, self._row(ctx, index), self.model.vocab.n_tokens)

    def _row(self, ctx: Any, index: int) -> Any:
        """Return ``float *`` to a row of logits: borrowed, valid until the next decode."""
        if self._has_outputs:
            row = self._logits_ith(ctx, index)
            if row != self._ffi.NULL:
                return row
        raise self._no_outputs("logits", index)

    def embeddings(self, i: SupportsIndex = -1) -> NDArray[np.float32]:
        """Return the embedding of one token of the last batch.

        C: llama_get_embeddings_ith

        Arguments:
            i: the token's index in the batch, or -1 for the last output, -2 for the one before …

        Returns:
            (n_embd_out,) float32, a copy.

        Raises:
            UnsupportedError: the context pools; use :meth:`embeddings_seq`.
            NoOutputsError: the context makes no embeddings, or the last decode failed.
            ClosedError, BusyError.
        """
        index = check.integer("i", i)
        if self._pooled != "NONE":
            raise UnsupportedError(f"this context pools ({self._pooled.lower()}); use embeddings_seq(seq_id)")
        with self._handle as ctx:
            if self._has_outputs:
                row = self._lib.llama_get_embeddings_ith(ctx, index)
                if row != self._ffi.NULL:
                    return arrays.floats_to_numpy(self._ffi, row, self.model.n_embd_out)
            raise self._no_outputs("embeddings", index)

    def embeddings_seq(self, seq_id: SupportsIndex = 0) -> NDArray[np.float32]:
        """Return the pooled embedding of a sequence of the last batch.

        C: llama_get_embeddings_seq

        Returns:
            (n_embd_out,) float32, with pooling "rank" (n_cls_out,): the scores; a copy.

        Raises:
            UnsupportedError: the context doesn't pool; use :meth:`embeddings`.
            NoOutputsError: the sequence was not in the last batch, or the context makes no embeddings.
            SequenceRangeError, ClosedError, BusyError.
        """
        sequence = check.sequence(seq_id, self.n_seq_max)
        if self._pooled == "NONE":
            raise UnsupportedError("this context doesn't pool; use embeddings(i), or pooling_type='mean'")
        with self._handle as ctx:
            row = self._lib.llama_get_embeddings_seq(ctx, sequence) if self._has_outputs else self._ffi.NULL
            if row == self._ffi.NULL:
                raise self._no_outputs("embeddings", sequence)
            ranked = self._pooled == "RANK"
            width = int(self._lib.llama_model_n_cls_out(self.model.ptr)) if ranked else self.model.n_embd_out
            return arrays.floats_to_numpy(self._ffi, row, width)

    def _no_outputs(self, what: str, index: int) -> NoOutputsError:
        if not self._has_outputs:
            return NoOutputsError(f"there are no {what}: nothing was decoded yet, or the last decode failed")
        if what == "embeddings" and not self.embeddings_enabled:
            return NoOutputsError(
                "there are no embeddings: make the context with embeddings=True, or set_embeddings(True)"
            )
        return NoOutputsError(
            f"there are no {what} at {index}: mark the token with logits=True in the batch (an index counts "
            "the batch's "
            f"tokens; -1 is the last output)"
        )

    # --- settings ---

    @property
    def n_threads(self) -> int:
        """Return the threads for one token. C: llama_n_threads"""
        with self._handle as ctx:
            return int(self._lib.llama_n_threads(ctx))

    @property
    def n_threads_batch(self) -> int:
        """Return the threads for several tokens. C: llama_n_threads_batch"""
        with self._handle as ctx:
            return int(self._lib.llama_n_threads_batch(ctx))

    def set_n_threads(self, n_threads: SupportsIndex, n_threads_batch: SupportsIndex | None = None) -> None:
        """Set the number of threads, 1 to 512, for one token and for several (None = the same).

        C: llama_set_n_threads

        Raises:
            InvalidArgumentError, ClosedError, BusyError.
        """
        most = getattr(self._lib, "GGML_MAX_N_THREADS", 512)
        one = check.integer("n_threads", n_threads, 1, most)
        several = (
            one if n_threads_batch is None else check.integer("n_threads_batch", n_threads_batch, 1, most)
        )
        with self._handle as ctx:
            self._lib.llama_set_n_threads(ctx, one, several)

    @property
    def pooling_type(self) -> Any:
        """Return how embeddings are pooled, a ``PoolingType``. C: llama_pooling_type"""
        with self._handle as ctx:
            return binding.active().enums.CLASSES["llama_pooling_type"](self._lib.llama_pooling_type(ctx))

    @property
    def causal_attn(self) -> bool:
        """Whether a token sees only what comes before it. C: llama_get_causal_attn"""
        return self._causal

    def set_causal_attn(self, causal: bool) -> None:
        """Let tokens see only what comes before them, or everything in their batch.

        C: llama_set_causal_attn

        Raises:
            ClosedError, BusyError.
        """
        with self._handle as ctx:
            self._lib.llama_set_causal_attn(ctx, bool(causal))
            self._causal = bool(causal)

    def set_embeddings(self, embeddings: bool) -> None:
        """Make embeddings from the next decode on, or no longer.

        C: llama_set_embeddings

        Raises:
            ClosedError, BusyError.
        """
        with self._handle as ctx:
            self._lib.llama_set_embeddings(ctx, bool(embeddings))
            self.embeddings_enabled = bool(embeddings)

    def synchronize(self) -> None:
        """Wait until everything is computed; reading outputs does it by itself.

        C: llama_synchronize

        Raises:
            ClosedError, BusyError.
        """
        with self._handle as ctx:
            self._lib.llama_synchronize(ctx)


def _facts(model: Model) -> ModelFacts:
    arch, metadata, n_head = model.arch, model.metadata, model.n_head
    usual = model.n_embd // n_head if n_head else 0
    kv_heads = model.n_head_kv
    plain = not (
        model.is_recurrent
        or model.is_hybrid
        or model.n_swa
        or f"{arch}.attention.kv_lora_rank" in metadata
        or f"{arch}.attention.shared_kv_layers" in metadata
        or metadata.get(f"{arch}.attention.causal") == "false"
    )
    return ModelFacts(
        n_ctx_train=model.n_ctx_train,
        n_layer=model.n_layer,
        head_dim_k=_number(metadata.get(f"{arch}.attention.key_length"), usual),
        head_dim_v=_number(metadata.get(f"{arch}.attention.value_length"), usual),
        n_head_kv=kv_heads,
        plain_cache=plain
        and arch in ("llama", "qwen2", "qwen3", "phi3", "gemma", "mistral3", "starcoder2", "gpt2"),
        has_encoder=model.has_encoder,
        size=model.size,
    )


def _position_limit(model: Model) -> int:
    """Return where positions end for models that have learned an embedding of each; beyond it C asserts."""
    arch = model.arch
    if arch == "mpt" and _number(model.metadata.get("mpt.attention.max_alibi_bias"), 0):
        return _NO_LIMIT
    return model.n_ctx_train if arch in ("bert", "gpt2", "mpt", "starcoder") else _NO_LIMIT


def _number(text: str | None, default: int) -> int:
    try:
        return default if text is None else int(float(text))
    except ValueError:
        return default


def _reason(lines: list[str]) -> str:
    """Return the lines of llama.cpp's log that say why, in one."""
    said = [line.partition(": ")[2].strip() or line.strip() for line in lines]
    telling = [
        line
        for line in said
        if not line.startswith(
            ("failed to decode, ret", "failed to encode, ret", "failed to initialize batch")
        )
    ]
    errors = [
        line
        for line in telling
        if any(word in line for word in ("fail", "error", "invalid", "cannot", "require", "not "))
    ]
    return "; ".join(dict.fromkeys((errors or telling)[-3:])) or "llama.cpp gave no reason"
