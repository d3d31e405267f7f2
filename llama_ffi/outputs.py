"""What the last decode computed: rows of logits and embeddings, as copies or as borrowed views.

libllama keeps the outputs of one decode in one buffer, which the next decode overwrites, and which it
reallocates when a decode has more rows than any before it. So rows are copied out, or shown by a view that
forbids both for as long as it must.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ._core import arrays
from ._core.borrow import Borrows
from .errors import NoOutputsError, UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ClassScore(NamedTuple):
    """One output of a classifier head."""

    label: str | None
    """what it stands for; None = the model doesn't say"""
    score: float
    """as the head gives it, before any softmax or sigmoid of the caller's"""


class Outputs:
    """The outputs of one context. Its methods are called inside the context's handle."""

    __slots__ = (
        "_capacity",
        "_ffi",
        "_lib",
        "_logits_ith",
        "borrows",
        "calm",
        "embeddings_enabled",
        "first",
        "n_embd",
        "n_scores",
        "n_vocab",
        "no_logits",
        "pooled",
        "rows",
        "sampling",
    )

    rows: int
    """how many the last decode made; -1 = there are none to read"""
    first: int
    """index of the token, in the last batch, from which on its tokens have outputs"""
    calm: int
    """a decode of at most so many rows touches nothing that is borrowed; any other must ``begin``"""

    def __init__(
        self,
        ffi: Any,
        lib: Any,
        *,
        n_vocab: int,
        n_embd: int,
        n_scores: int,
        n_seq_max: int,
        pooled: str,
        no_logits: bool,
    ) -> None:
        self._ffi = ffi
        self._lib = lib
        self._logits_ith: Callable[[Any, int], Any] = lib.llama_get_logits_ith
        self._capacity = self.calm = n_seq_max  # what libllama reserves at first
        self.first = 0
        self.rows = -1
        self.borrows = Borrows()
        self.embeddings_enabled = False
        self.n_vocab = n_vocab
        self.n_embd = n_embd
        self.n_scores = n_scores
        self.pooled = pooled
        self.no_logits = no_logits
        self.sampling: Any = None  # BackendSampling, once a chain is attached

    @property
    def valid(self) -> bool:
        """Whether the outputs of the last decode can be read."""
        return self.rows >= 0

    def invalidate(self) -> None:
        """Note that what C holds is not, or no longer, the outcome of a decode."""
        self.rows = -1

    def begin(self, rows: int) -> None:
        """Prepare for a decode of ``rows`` outputs; what was there is no longer valid.

        Raises:
            BorrowedError: a view forbids it.
        """
        if self.borrows.open:
            self.borrows.refuse_call("decode()")
        if rows > self._capacity:
            self.borrows.refuse_move(f"a decode with {rows} outputs, more than any before,")
            self._capacity = self.calm = rows
        self.rows = -1

    def end(self, first: int, rows: int) -> None:
        """Note that a decode succeeded: its outputs belong to the tokens from index ``first`` on."""
        self.first = first
        self.rows = rows

    def switch_embeddings(self, enabled: bool) -> None:
        """Note that embeddings are made from now on, or no longer.

        Raises:
            BorrowedError: a view exists; the buffer would be laid out anew.
        """
        self.borrows.refuse_move("switching embeddings")
        self._capacity = self.calm = 0
        self.embeddings_enabled = enabled

    def row(self, ctx: Any, index: int) -> tuple[Any, int]:
        """Return (``float *`` to a row of logits, valid until the next decode; the row's index for C).

        Raises:
            NoOutputsError: there is none at ``index``.
            UnsupportedError: the model computes none.
        """
        if self.no_logits:
            self._check_logits()
        if self.rows >= 0:
            place = index if index < 0 else index - self.first
            if place < 0 <= index:  # a token of an earlier slice of the batch
                raise self._none("logits", index)
            if self.sampling is not None:
                self.sampling.check_raw(index)
            row = self._logits_ith(ctx, place)
            if row:
                return row, place
        raise self._none("logits", index)

    def _check_logits(self) -> None:
        if self.no_logits:
            raise UnsupportedError(
                "models of this kind compute embeddings and no logits (C gives zeros); make the context with "
                "embeddings=True and use embeddings(i), embeddings_seq(seq_id) or class_scores(seq_id)"
            )

    def logits(self, ctx: Any, index: int) -> NDArray[np.float32]:
        """Return a copy of a row of logits."""
        return arrays.floats_to_numpy(self._ffi, self.row(ctx, index)[0], self.n_vocab)

    @contextmanager
    def borrow(self, ctx: Any) -> Iterator[NDArray[np.float32]]:
        """Show all rows of logits, (n_outputs, n_vocab); decoding is forbidden inside."""
        self._check_logits()
        if self.rows <= 0:
            raise self._none("logits", -1)
        if self.sampling is not None:
            self.sampling.check_all_raw()
        rows = self.borrows.floats(self._ffi, ctx, self._lib.llama_get_logits(ctx), self.rows, self.n_vocab)
        with self._open():
            yield rows

    @contextmanager
    def borrow_embeddings(self, ctx: Any) -> Iterator[NDArray[np.float32]]:
        """Show the embeddings of all outputs, (n_outputs, n_embd_out); decoding is forbidden inside."""
        self._check_unpooled()
        row = self._lib.llama_get_embeddings(ctx) if self.rows > 0 else self._ffi.NULL
        if row == self._ffi.NULL:
            raise self._none("embeddings", -1)
        with self._open():
            yield self.borrows.floats(self._ffi, ctx, row, self.rows, self.n_embd)

    @contextmanager
    def _open(self) -> Iterator[None]:
        self.borrows.open += 1
        self.calm = -1
        try:
            yield
        finally:
            self.borrows.open -= 1
            if not self.borrows.open:
                self.calm = self._capacity

    def _check_unpooled(self) -> None:
        if self.pooled != "NONE":
            raise UnsupportedError(f"this context pools ({self.pooled.lower()}); use embeddings_seq(seq_id)")

    def embeddings(self, ctx: Any, index: int) -> NDArray[np.float32]:
        """Return a copy of the embedding of one token."""
        self._check_unpooled()
        if self.valid and (index < 0 or index >= self.first):
            row = self._lib.llama_get_embeddings_ith(ctx, index if index < 0 else index - self.first)
            if row != self._ffi.NULL:
                return arrays.floats_to_numpy(self._ffi, row, self.n_embd)
        raise self._none("embeddings", index)

    def embeddings_seq(self, ctx: Any, sequence: int) -> NDArray[np.float32]:
        """Return a copy of the pooled embedding, or of the scores, of one sequence."""
        if self.pooled == "NONE":
            raise UnsupportedError("this context doesn't pool; use embeddings(i), or pooling_type='mean'")
        row = self._lib.llama_get_embeddings_seq(ctx, sequence) if self.valid else self._ffi.NULL
        if row == self._ffi.NULL:
            raise self._none("embeddings", sequence)
        return arrays.floats_to_numpy(self._ffi, row, self.n_scores if self.pooled == "RANK" else self.n_embd)

    def _none(self, what: str, index: int) -> NoOutputsError:
        if not self.valid:
            return NoOutputsError(f"there are no {what}: nothing was decoded yet, or the last decode failed")
        if what == "embeddings" and not self.embeddings_enabled:
            return NoOutputsError(
                "there are no embeddings: make the context with embeddings=True, or set_embeddings(True)"
            )
        return NoOutputsError(
            f"there are no {what} at {index}: mark the token with logits=True in the batch (an index counts "
            f"the batch's tokens; -1 is the last output)"
        )
