"""What contexts do with batches of libllama's own kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._core import check
from ._core.handle import Handle
from .batch_ext import BatchExt
from .errors import ArgumentTypeError, InvalidArgumentError, UnsupportedError

if TYPE_CHECKING:
    from .limits import Limits


class ProcessesBatches:
    """The method of a context that takes a :class:`BatchExt`."""

    __slots__ = ()

    if TYPE_CHECKING:  # the context has them
        _decoder: Any
        _handle: Handle
        _limits: Limits

    def process(self, batch: BatchExt, *, encode: bool = False) -> None:
        """Compute a batch of libllama's own kind, as ``decode`` (or ``encode``) computes a :class:`Batch`.

        It is one call of C, which cuts it at n_ubatch; :meth:`cancel` stops it on the CPU, Ctrl-C is noticed
        when it has ended. After either, and after a failure, the memory is as before the call.

        C: llama_process

        Arguments:
            batch: a batch of this context.
            encode: run the encoder.

        Raises:
            InvalidBatchError: empty, an entry without position or content, entries of different kinds,
                positions that don't continue their sequence …
            InvalidArgumentError: the batch belongs to another context.
            UnsupportedError: embeddings that the model doesn't take; no encoder.
            NoKvSlotError: no room; nothing has changed.
            CancelledError, DecodeError, BorrowedError, ClosedError, BusyError: as ``decode``.

        Threads: one call at a time. The GIL is released while C computes.
        """
        if not isinstance(batch, BatchExt):
            raise ArgumentTypeError(
                f"batch must be a BatchExt, not {type(batch).__name__}; decode() takes a Batch"
            )
        if batch.context is not self:
            raise InvalidArgumentError("the batch belongs to another context; BatchExt(context) makes one")
        if check.truth("encode", encode) and not self._limits.encodes and self._limits.has_memory:
            raise UnsupportedError("models of this kind have no encoder; use process(batch)")
        with self._handle as ctx, batch._handle:
            self._decoder.process(ctx, batch, encoding=bool(encode))
