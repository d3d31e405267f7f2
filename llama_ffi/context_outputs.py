"""What can be read of a context's last decode: copies, and views that are borrowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, SupportsIndex

from ._core import check
from ._core.handle import Handle
from .errors import UnsupportedError
from .outputs import ClassScore, Outputs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .model import Model


class ReadsOutputs:
    """The methods of a context that read its outputs."""

    __slots__ = ()

    if TYPE_CHECKING:  # the context has them
        _handle: Handle
        _outputs: Outputs
        model: Model
        n_seq_max: int

    def logits(self, i: SupportsIndex = -1) -> NDArray[np.float32]:
        """Return the logits of one token of the last batch.

        C: llama_get_logits_ith

        Arguments:
            i: the token's index in the batch, or -1 for the last output, -2 for the one before …

        Returns:
            (n_vocab,) float32, a copy.

        Raises:
            NoOutputsError: no outputs were asked for there, or the last decode failed.
            UnsupportedError: the model has no output layer for tokens (BERT and its kin).
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        index = check.integer("i", i)
        with self._handle as ctx:
            return self._outputs.logits(ctx, index)

    def borrow_logits(self) -> AbstractContextManager[NDArray[np.float32]]:
        """Show all logits of the last batch without copying them: ``with ctx.borrow_logits() as rows:``.

        Inside the ``with`` the context can't decode. An array that is kept beyond it stays readable for ever,
        but its values are unspecified after the next decode.

        C: llama_get_logits

        Returns:
            (n_outputs, n_vocab) float32, read-only, borrowed: one row per token that was marked with
            logits=True, in the order of the batch.

        Raises:
            NoOutputsError: no outputs were asked for, or the last decode failed.
            UnsupportedError: the model has no output layer for tokens (BERT and its kin).
            ClosedError, BusyError.

        Threads: one call at a time; the arrays may be read by any.
        """
        return self._shown(self._outputs.borrow)

    def borrow_embeddings(self) -> AbstractContextManager[NDArray[np.float32]]:
        """Show the embeddings of all outputs without copying: ``with ctx.borrow_embeddings() as rows:``.

        What :meth:`borrow_logits` says of its arrays holds for these.

        C: llama_get_embeddings

        Returns:
            (n_outputs, n_embd_out) float32, read-only, borrowed: one row per token, in the batch's
            order; with embeddings every token is an output.

        Raises:
            UnsupportedError: the context pools; use :meth:`embeddings_seq`.
            NoOutputsError: the context makes no embeddings, or the last decode failed.
            ClosedError, BusyError.

        Threads: one call at a time; the arrays may be read by any.
        """
        return self._shown(self._outputs.borrow_embeddings)

    @contextmanager
    def _shown(
        self, borrow: Callable[[Any], AbstractContextManager[NDArray[np.float32]]]
    ) -> Iterator[NDArray[np.float32]]:
        with self._handle as ctx:
            borrowed = borrow(ctx)
            rows = borrowed.__enter__()
        del ctx
        try:
            yield rows
        finally:
            del rows
            borrowed.__exit__(None, None, None)

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

        Threads: one call at a time.
        """
        index = check.integer("i", i)
        with self._handle as ctx:
            return self._outputs.embeddings(ctx, index)

    def embeddings_seq(self, seq_id: SupportsIndex = 0) -> NDArray[np.float32]:
        """Return the pooled embedding of a sequence of the last batch.

        C: llama_get_embeddings_seq

        Arguments:
            seq_id: the sequence, 0 to n_seq_max - 1.

        Returns:
            (n_embd_out,) float32, with pooling "rank" (n_cls_out,): the scores; a copy.

        Raises:
            UnsupportedError: the context doesn't pool; use :meth:`embeddings`.
            NoOutputsError: the sequence was not in the last batch, or the context makes no embeddings.
            SequenceRangeError, ClosedError, BusyError.

        Threads: one call at a time.
        """
        sequence = check.sequence(seq_id, self.n_seq_max)
        with self._handle as ctx:
            return self._outputs.embeddings_seq(ctx, sequence)

    def class_scores(self, seq_id: SupportsIndex = 0) -> list[ClassScore]:
        """Return what a classifier head says of a sequence of the last batch, each number with its label.

        C: llama_get_embeddings_seq, llama_model_cls_label

        Arguments:
            seq_id: the sequence, 0 to n_seq_max - 1.

        Returns:
            one entry per output of the head, in its order; a copy.

        Raises:
            UnsupportedError: the context doesn't classify: its model has no head, or it pools otherwise.
            NoOutputsError: the sequence was not in the last batch, or the context makes no embeddings.
            SequenceRangeError, ClosedError, BusyError.

        Threads: one call at a time.
        """
        if self._outputs.pooled != "RANK":
            raise UnsupportedError(
                "this context doesn't classify; it takes a model with a classifier head, and "
                "pooling_type='rank'"
            )
        scores = self.embeddings_seq(seq_id).tolist()
        return [ClassScore(*pair) for pair in zip(self.model.cls_labels, scores, strict=True)]
