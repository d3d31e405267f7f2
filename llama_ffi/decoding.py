"""One call of ``llama_decode``, and everything around it.

- *Before:* what would abort is checked, with a handful of comparisons and none per token.
- *During:* a long prompt goes in slices of n_ubatch, between which Ctrl-C and ``cancel()`` are noticed.
- *After a failure:* what the call has left in the memory is taken out again.

What libllama refuses cleanly by itself (an id outside of the vocabulary, a gap in the positions) is left to
it, and explained afterwards: its refusal changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._core import arrays, logs
from ._core.gate import Gate
from .batch import Batch
from .batch_embeddings import check_embeddings, parts
from .batch_ext import BatchExt
from .decode_failures import ABORTED, AnyBatch, failure, undo
from .errors import CancelledError, InvalidBatchError, LlamaError, UnsupportedError
from .limits import NO_LIMIT, Limits
from .outputs import Outputs
from .tensor_watch import Watch


class Decoder:
    """Makes the calls for one context. Its methods are called inside the context's handle.

    Arguments:
        cancel: the byte that ``cancel()`` sets.
        gate: of the model's adapters, which C looks at when it plans its buffers.
        watch: calls the function that sees tensors; None = there is none.
    """

    __slots__ = (
        "_cancel",
        "_decode",
        "_encode",
        "_encoded",
        "_ffi",
        "_gate",
        "_lib",
        "_limits",
        "_outputs",
        "_room",
        "_settled",
        "_watch",
        "copy_pending",
    )

    copy_pending: bool
    """a sequence was copied to a stream of its own, which C does when it decodes next"""

    def __init__(
        self,
        ffi: Any,
        lib: Any,
        limits: Limits,
        outputs: Outputs,
        cancel: bytearray,
        gate: Gate,
        watch: Watch | None,
    ) -> None:
        self._ffi = ffi
        self._lib = lib
        self._decode: Any = lib.llama_decode
        self._encode: Any = lib.llama_encode
        self._limits = limits
        self._outputs = outputs
        self._cancel = cancel
        self._gate = gate
        self._watch = watch
        self._encoded = False
        self._settled = True
        self.copy_pending = False
        self._measure()

    def _measure(self) -> None:
        """Find how many tokens a batch may have in which nothing is left to look at; 0 = look at each."""
        limits = self._limits
        usual = limits.has_memory and limits.position_limit == NO_LIMIT
        if not self._settled or self.copy_pending or self._watch is not None:
            usual = False
        if limits.encodes_first and not self._encoded:
            usual = False
        self._room = min(limits.n_batch, limits.n_ubatch, limits.n_outputs_max) if usual else 0

    def unsettle(self) -> None:
        """Note that a setting has changed: C plans its buffers anew when it decodes next."""
        self._settled = False
        self._room = 0

    def note_copy(self) -> None:
        """Note that C will copy a sequence when it decodes next."""
        self.copy_pending = True
        self._room = 0

    def decode(self, ctx: Any, batch: Batch) -> None:
        """Decode a batch.

        Programs do it once per token. So what is usual takes the short way: a batch so small that no check
        applies to it and one call takes it, nothing borrowed, nobody who wants to cancel. ``_compute`` is the
        long way for everything.
        """
        count, outputs, decode = batch._count, self._outputs, self._decode
        rows = count if outputs.embeddings_enabled else batch._n_outputs
        if count > self._room or not batch._plain or rows > outputs.calm or self._cancel[0]:
            self._compute(ctx, batch)
            return
        outputs.rows = -1
        mark = logs.written
        try:
            code = decode(ctx, batch._value)
            if code or logs.struck:
                self._look(ctx, batch, code, mark, "decode", changed=False)
            outputs.first = 0
            outputs.rows = rows
        except LlamaError:
            raise
        except BaseException:
            self._undo_all(ctx, batch, True)
            raise

    def encode(self, ctx: Any, batch: Batch) -> None:
        """Run the encoder over a batch."""
        count, limits = batch._count, self._limits
        check(limits, batch, count, count, encoding=True, encoded=True, embedding=True)
        self._outputs.begin(count)
        parts = [(0, batch._value)]
        if batch._n_embd:
            parts, _kept = self._embeddings(ctx, batch, count, encoding=True)
        self._plan_and_run(ctx, batch, parts, count, "encode")
        self._encoded = True
        self._measure()

    def _compute(self, ctx: Any, batch: Batch) -> None:
        limits, count = self._limits, batch._count
        embedding = self._outputs.embeddings_enabled or not limits.has_memory
        rows = count if embedding else batch._n_outputs
        check(limits, batch, count, rows, encoding=False, encoded=self._encoded, embedding=embedding)
        parts = [(0, batch._value)]
        if batch._n_embd:
            step = limits.n_ubatch
            if count <= step or embedding or wants_before(self._ffi, batch, (count - 1) // step * step):
                step = count
            parts, _kept = self._embeddings(ctx, batch, step, encoding=False)
        self._outputs.begin(rows)
        if count > limits.n_ubatch and not batch._n_embd:
            parts = slices(self._ffi, limits, batch, count, embedding)
        self._plan_and_run(ctx, batch, parts, rows, "decode")
        if self.copy_pending:
            self.copy_pending = False
            self._measure()

    def process(self, ctx: Any, batch: BatchExt, *, encoding: bool) -> None:
        """Make a call with a batch of C's own kind, which C cuts at n_ubatch by itself."""
        limits, count = self._limits, len(batch)
        embedding = encoding or self._outputs.embeddings_enabled or not limits.has_memory
        rows = count if embedding else batch._n_outputs
        check(limits, batch, count, rows, encoding=encoding, encoded=self._encoded, embedding=embedding)
        batch.check()
        if batch.n_embd:
            self._check_embeddings(ctx, batch, encoding=encoding, tokens=batch._has_tokens)
        self._outputs.begin(rows)
        self._plan_and_run(
            ctx, batch, [(0, batch._value)], rows, "process(encode)" if encoding else "process"
        )
        if encoding:
            self._encoded = True
        else:
            self.copy_pending = False
        self._measure()

    def _embeddings(
        self, ctx: Any, batch: Batch, step: int, *, encoding: bool
    ) -> tuple[list[tuple[int, Any]], list[Any]]:
        """Check a batch of embeddings; return its parts of ``step`` rows, and what they point to."""
        self._check_embeddings(ctx, batch, encoding=encoding, tokens=False)
        return parts(batch, self._limits.n_pos, step)

    def _check_embeddings(self, ctx: Any, batch: Batch | BatchExt, *, encoding: bool, tokens: bool) -> None:
        limits, last = self._limits, {}
        if limits.no_embeddings:
            raise UnsupportedError(f"no embeddings as input: {limits.no_embeddings}")
        if tokens and limits.no_both:
            raise UnsupportedError("models of this kind take a token or an embedding, not both in one entry")
        if limits.n_pos > 1 and limits.has_memory and not tokens:
            memory = self._lib.llama_get_memory(ctx)
            used = sorted({sequence for each in batch.sequences for sequence in each})
            for sequence in used:
                if sequence < limits.n_seq_max:
                    last[sequence] = int(self._lib.llama_memory_seq_pos_max(memory, sequence))
        check_embeddings(limits, batch, last, encoding=encoding)

    def _plan_and_run(
        self, ctx: Any, batch: AnyBatch, parts: list[tuple[int, Any]], rows: int, name: str
    ) -> None:
        if self._settled:
            self._run(ctx, batch, parts, rows, name)
            return
        with self._gate.reading(f"{name}()"):
            self._run(ctx, batch, parts, rows, name)
        self._settled = True
        self._measure()

    def _run(self, ctx: Any, batch: AnyBatch, parts: list[tuple[int, Any]], rows: int, name: str) -> None:
        """Make the calls of one decode; undo all of them if one fails or a signal arrives between them."""
        call = self._call(name)
        has_memory = self._limits.has_memory and "encode" not in name
        changed = False
        logs.reraise()
        try:
            for _first, part in parts:
                if self._cancel[0]:
                    self._cancel[0] = 0
                    rest = undo(self._lib, ctx, batch, changed and has_memory)
                    raise CancelledError(f"{name} was cancelled; {rest}", code=ABORTED)
                mark = logs.written
                if self._watch is not None:
                    self._watch.begin()
                code = call(ctx, part)
                if self._watch is not None and self._watch.ended:
                    self._end_watched(ctx, batch, name)
                if code or logs.struck:
                    self._look(ctx, batch, code, mark, name, changed=changed)
                changed = True
            self._outputs.end(parts[-1][0], rows)
        except LlamaError:
            raise
        except BaseException:
            self._undo_all(ctx, batch, has_memory)
            raise

    def _call(self, name: str) -> Callable[[Any, Any], int]:
        if name == "decode":
            return self._decode  # type: ignore[no-any-return]
        if name == "encode":
            return self._encode  # type: ignore[no-any-return]
        lib = self._lib
        kind = lib.LLAMA_PROCESS_TYPE_DECODE if name == "process" else lib.LLAMA_PROCESS_TYPE_ENCODE
        return lambda ctx, part: lib.llama_process(ctx, kind, part)

    def _look(self, ctx: Any, batch: AnyBatch, code: int, mark: int, name: str, *, changed: bool) -> None:
        """Raise what a call of C ended with: its failure, or what a log handler raised meanwhile."""
        if code:
            self._cancel[0] = 0
            lines = logs.since(mark)
            raise failure(self._lib, ctx, self._limits, batch, code, lines, changed=changed, name=name)
        logs.reraise()

    def _end_watched(self, ctx: Any, batch: AnyBatch, name: str) -> None:
        """Raise what a function that sees tensors has ended the call with, whatever C thinks of it."""
        assert self._watch is not None
        self._cancel[0] = 0
        self._outputs.invalidate()
        rest = undo(self._lib, ctx, batch, self._limits.has_memory and "encode" not in name)
        self._watch.reraise()
        raise CancelledError(f"{name} was cancelled by on_tensor; {rest}", code=ABORTED)

    def _undo_all(self, ctx: Any, batch: AnyBatch, has_memory: bool) -> None:
        """After Ctrl-C, or what a log handler raised: make it as if the call had not been made."""
        self._outputs.invalidate()
        undo(self._lib, ctx, batch, has_memory)


def check(
    limits: Limits, batch: AnyBatch, count: int, rows: int, *, encoding: bool, encoded: bool, embedding: bool
) -> None:
    """Raise what would abort in C."""
    if not 0 < count <= limits.n_batch:
        if not count:
            raise InvalidBatchError("the batch is empty")
        raise InvalidBatchError(
            f"the batch has {count} tokens, the context takes n_batch={limits.n_batch} at a time; "
            f"decode it in parts"
        )
    if count > limits.n_ubatch and (encoding or not limits.causal or not limits.has_memory):
        raise InvalidBatchError(
            f"the batch has {count} tokens, and without causal attention all of it is computed at once: "
            f"n_ubatch={limits.n_ubatch} must be at least that"
        )
    if rows > limits.n_outputs_max:
        raise InvalidBatchError(
            f"the batch wants {rows} outputs, the context makes {limits.n_outputs_max} (n_outputs_max)"
        )
    if not batch._plain and limits.separate_streams and batch._coupled():
        raise InvalidBatchError("a token of several sequences needs a context made with kv_unified=True")
    if batch._end > limits.position_limit:
        raise InvalidBatchError(
            f"position {batch._end - 1}: this model has learned the positions 0 to "
            f"{limits.position_limit - 1} only"
        )
    if limits.encodes_first and not encoding and not encoded:
        raise InvalidBatchError("an encoder–decoder model needs encode() before the first decode()")
    if embedding and count > limits.n_ubatch and limits.pooled in ("MEAN", "CLS", "RANK"):
        raise InvalidBatchError(
            f"the batch has {count} tokens, and pooling ({limits.pooled.lower()}) looks at "
            f"n_ubatch={limits.n_ubatch} at a time"
        )


def slices(ffi: Any, limits: Limits, batch: Batch, count: int, embedding: bool) -> list[tuple[int, Any]]:
    """Return (index of the first token, ``struct llama_batch``) for each call that decodes ``batch``.

    A prompt is cut at n_ubatch, where C would cut it too, if only its last slice has outputs: each call
    overwrites those of the one before.
    """
    struct, step = batch._struct, limits.n_ubatch
    last = (count - 1) // step * step
    if embedding or wants_before(ffi, batch, last):
        return [(0, struct[0])]
    if not limits.keeps_all:
        # A token that C refuses in a later slice couldn't be undone in a recurrent state.
        ids = arrays.int32_view(memoryview(ffi.buffer(struct.token, 4 * count)).cast("B").cast("i"))
        if min(ids) < 0 or max(ids) >= limits.n_vocab:
            return [(0, struct[0])]
    parts = []
    for first in range(0, count, step):
        part = ffi.new("struct llama_batch *")
        part.n_tokens = min(step, count - first)
        for name in ("token", "pos", "n_seq_id", "seq_id", "logits"):
            setattr(part, name, getattr(struct, name) + first)
        parts.append((first, part))
    return [(first, part[0]) for first, part in parts]


def wants_before(ffi: Any, batch: Batch, index: int) -> bool:
    """Return whether a token before ``index`` shall have outputs."""
    return bool(bytes(ffi.buffer(batch._struct.logits, index)).strip(b"\0"))
