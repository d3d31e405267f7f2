"""Embeddings as input of a batch: rows of floats in place of tokens.

Where a token goes in, a model first looks up its row of the token embedding matrix. Such rows, or what a
projector has made of an image or a sound, can go in directly. Some kinds scale the row of a token (gemma by
the root of its width), and don't scale an embedding: whoever puts in rows of the matrix does it himself.

Rows must be finite: one NaN would go on to every later token of its sequence, and sorting by NaN, which
models with experts do, may go beyond the array.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypeVar

from ._core import check
from ._core.busy import BusyLock
from .errors import ArgumentTypeError, InvalidArgumentError, InvalidBatchError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SEQ = 256
"""LLAMA_MAX_SEQ: more sequences than that no context has."""

LAST_POSITION = 2**31 - 2
"""Positions are int32, and libllama computes the next one."""

Flags = Literal["last", "all"] | None | Sequence[Any] | bytes
_Self = TypeVar("_Self", bound="TakesEmbeddings")


class TakesEmbeddings:
    """The methods of a batch that was made for embeddings."""

    __slots__ = ("_end", "_four", "_more", "_n_embd", "_n_outputs", "_rows")

    if TYPE_CHECKING:  # the batch has them
        _c: tuple[Any, ...]
        _capacity: int
        _count: int
        _end: int
        _ffi: Any
        _four: bool
        _lock: BusyLock
        _more: Any
        _n_embd: int
        _n_outputs: int
        _n_seq_max: int
        _rows: Any
        _seqs: Any

        def __init__(self, capacity: int, n_seq_max: int = 1, n_embd: int = 0) -> None: ...
        def _resize(self, count: int) -> None: ...

    @property
    def n_embd(self) -> int:
        """Return the width of its embeddings; 0 = it takes tokens."""
        return self._n_embd

    @classmethod
    def from_embeddings(
        cls: type[_Self],
        embeddings: Any,
        pos0: int = 0,
        seq_id: int = 0,
        logits: Flags = "last",
        capacity: int | None = None,
        positions: Any = None,
    ) -> _Self:
        """Return a batch of consecutive embeddings of one sequence.

        C: llama_batch.embd

        Arguments:
            embeddings: (n, model.n_embd_inp) floats, at least one row, all finite: an array or nested lists.
            pos0: the position of the first one.
            seq_id: the sequence they belong to.
            logits: which of them shall have outputs: "last", "all", None, or one flag per row.
            capacity: room for more rows than these.
            positions: in place of ``pos0``: (n,) integers, or (n, 4) for models with M-RoPE (time, height,
                width, other). With one position, such a model takes a row as text.

        Returns:
            the batch, with a copy of the rows.

        Raises:
            InvalidArgumentError, ArgumentTypeError: something in the arguments can't be.

        Threads: any.
        """
        rows = floats(embeddings)
        count, width = rows.shape
        if not count or not width:
            raise InvalidArgumentError(f"a batch needs at least one embedding, not an array of {rows.shape}")
        batch = cls(count if capacity is None else capacity, 1, width)
        batch.set_embeddings(rows, pos0, seq_id, logits, positions)
        return batch

    def set_embeddings(
        self,
        embeddings: Any,
        pos0: int = 0,
        seq_id: int = 0,
        logits: Flags = "last",
        positions: Any = None,
    ) -> None:
        """Replace the content by embeddings of one sequence; arguments as for :meth:`from_embeddings`.

        Raises:
            InvalidArgumentError: the batch takes tokens, or rows of another width, or fewer rows; or as for
                :meth:`from_embeddings`.

        Threads: one at a time.
        """
        rows = self._checked(floats(embeddings))
        count = len(rows)
        if count > self._capacity:
            raise InvalidArgumentError(f"{count} embeddings don't fit into a batch of {self._capacity}")
        sequence = check.integer("seq_id", seq_id, 0, MAX_SEQ - 1)
        outputs = flags(logits, count)
        if positions is None:
            first = check.integer("pos0", pos0, 0, LAST_POSITION - count)
            table, four = _as_text(array("i", range(first, first + count))), False
        else:
            table, four = _positions(positions, count)
        ffi, capacity = self._ffi, self._capacity
        self._lock.enter("batch")
        try:
            self._resize(0)
            if count:
                ffi.memmove(self._rows, ffi.from_buffer(rows), rows.nbytes)
                ffi.memmove(self._c[1], table[0], 4 * count)
                for section in range(3):
                    ffi.memmove(self._more + section * capacity, table[section + 1], 4 * count)
                ffi.memmove(self._c[2], array("i", [1]) * count, 4 * count)
                row = array("i", [sequence] + [0] * (self._n_seq_max - 1)) * count
                ffi.memmove(self._seqs, row, 4 * count * self._n_seq_max)
                ffi.memmove(self._c[4], outputs, count)
            self._n_outputs = count - outputs.count(0)
            self._end = max(table[0]) + 1 if count else 0
            self._four = four
            self._resize(count)
        finally:
            self._lock.leave()

    def add_embedding(
        self: _Self,
        embedding: Any,
        pos: SupportsIndex | Sequence[SupportsIndex],
        seq_ids: Iterable[SupportsIndex] = (0,),
        logits: bool = False,
    ) -> _Self:
        """Append one embedding; return the batch, so that calls can be chained.

        Arguments:
            embedding: (n_embd,) floats, all finite.
            pos: its position, 0 or more; for models with M-RoPE also four of them.
            seq_ids: the sequences it belongs to, 1 to ``n_seq_max`` of them.
            logits: whether it shall have outputs.

        Raises:
            InvalidArgumentError: the batch is full or takes tokens, or a value can't be.

        Threads: one at a time.
        """
        row = self._checked(floats(embedding, 1).reshape(1, -1))
        place, four = position(pos)
        sequences = sequence_ids(seq_ids, self._n_seq_max)
        wanted = check.truth("logits", logits)
        ffi = self._ffi
        self._lock.enter("batch")
        try:
            index = self._count
            if index >= self._capacity:
                raise InvalidArgumentError(f"the batch is full: its capacity is {self._capacity} embeddings")
            ffi.memmove(self._rows + index * self._n_embd, ffi.from_buffer(row), row.nbytes)
            self._c[1][index] = place[0]
            for section in range(3):
                self._more[section * self._capacity + index] = place[section + 1]
            self._c[2][index] = len(sequences)
            for offset, each in enumerate(sequences):
                self._c[3][index][offset] = each
            self._c[4][index] = wanted
            self._n_outputs += wanted
            self._end = max(self._end, place[0] + 1)
            self._four = four or (self._four and index > 0)
            self._resize(index + 1)
        finally:
            self._lock.leave()
        return self

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """Return the embeddings, (n, n_embd) float32, a copy; a batch of tokens has (n, 0)."""
        import numpy as np

        count, width = self._count, self._n_embd
        if not width or not count:
            return np.zeros((count, width), np.float32)
        whole = self._ffi.buffer(self._rows, 4 * count * width)
        rows: NDArray[np.float32] = np.frombuffer(whole, np.float32).reshape(count, width).copy()
        return rows

    def _checked(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self._n_embd:
            raise InvalidArgumentError(
                "this batch takes tokens; Batch(capacity, n_embd=model.n_embd_inp) takes embeddings"
            )
        if rows.shape[1] != self._n_embd:
            raise InvalidArgumentError(
                f"the embeddings are {rows.shape[1]} wide, those of this batch {self._n_embd}"
            )
        return rows

    def _four_positions(self, first: int, count: int) -> Any:
        """Return the positions of some rows as C reads them with M-RoPE: one section after the other."""
        table = self._ffi.new("llama_pos[]", 4 * count)
        for section in range(4):
            source = self._more + (section - 1) * self._capacity if section else self._c[1]
            self._ffi.memmove(table + section * count, source + first, 4 * count)
        return table


def parts(batch: Any, n_pos: int, step: int) -> tuple[list[tuple[int, Any]], list[Any]]:
    """Return (index of the first row, ``struct llama_batch``) for each call, and what they point to.

    Arguments:
        batch: a batch of embeddings.
        n_pos: positions that C reads per row.
        step: rows per call.
    """
    ffi, struct, count, width = batch._ffi, batch._struct, batch._count, batch._n_embd
    found, kept = [], []
    for first in range(0, count, step):
        part = ffi.new("struct llama_batch *")
        part.n_tokens = length = min(step, count - first)
        part.embd = batch._rows + first * width
        for name in ("pos", "n_seq_id", "seq_id", "logits"):
            setattr(part, name, getattr(struct, name) + first)
        if n_pos > 1:
            table = batch._four_positions(first, length)
            part.pos = table
            kept.append(table)
        found.append((first, part[0]))
    return found, kept


def check_embeddings(limits: Any, batch: Any, last: dict[int, int], *, encoding: bool) -> None:
    """Raise for embeddings that a context can't take.

    Arguments:
        limits: of the context.
        batch: a batch of embeddings.
        last: the last position of each of its sequences in the memory; with M-RoPE only.
        encoding: the encoder shall take them.
    """
    if batch.n_embd != limits.n_embd_inp:
        raise InvalidBatchError(
            f"the embeddings are {batch.n_embd} wide, the model takes {limits.n_embd_inp} (model.n_embd_inp)"
        )
    if batch._four and limits.n_pos == 1:
        raise InvalidBatchError("only models with M-RoPE take four positions per embedding")
    if not limits.couples_embeddings and batch._coupled():
        raise InvalidBatchError("models of this kind take embeddings of one sequence each")
    if encoding:
        return
    for place, sequences in zip(batch.positions, batch.sequences, strict=True):
        for sequence in sequences:
            # C would take the same position once more, but it couldn't be undone without what is there
            if sequence in last and place <= last[sequence]:
                raise InvalidBatchError(
                    f"an embedding is at position {place} of sequence {sequence}, whose memory ends at "
                    f"{last[sequence]}; what shares a position must go in one batch (n_batch)"
                )


# --- arguments ---


def flags(logits: Flags, count: int) -> bytes:
    """Return which of ``count`` tokens shall have outputs, a byte for each."""
    if logits is None:
        return bytes(count)
    if isinstance(logits, str):
        if logits == "all":
            return b"\1" * count
        if logits == "last":
            return (bytes(count - 1) + b"\1") if count else b""
        raise InvalidArgumentError(f"logits is {logits!r}; choose 'last', 'all', None or one flag per token")
    try:
        found = bytes(map(bool, logits))
    except (TypeError, ValueError) as error:  # no iterable, or one of arrays
        shape = getattr(logits, "shape", ())
        given = f"an array of shape {shape}" if shape else type(logits).__name__
        raise ArgumentTypeError(
            f"logits must be 'last', 'all', None or one flag per token, not {given} ({error})"
        ) from error
    if len(found) != count:
        raise InvalidArgumentError(f"logits has {len(found)} flags for {count} tokens")
    return found


def sequence_ids(seq_ids: Iterable[SupportsIndex], n_seq_max: int) -> list[int]:
    """Return the sequences of one token."""
    try:
        sequences = [check.integer("seq_id", each, 0, MAX_SEQ - 1) for each in seq_ids]
    except TypeError:
        raise ArgumentTypeError(
            f"seq_ids must be a list of sequence ids, not {type(seq_ids).__name__}"
        ) from None
    if not 1 <= len(sequences) <= n_seq_max:
        raise InvalidArgumentError(
            f"a token must belong to 1 to {n_seq_max} sequences (n_seq_max of the batch), not "
            f"{len(sequences)}"
        )
    return sequences


def position(pos: SupportsIndex | Sequence[SupportsIndex]) -> tuple[list[int], bool]:
    """Return (four positions, whether four were given) of one token; of one, as C makes them for text."""
    try:
        given = list(pos)  # type: ignore[arg-type]
    except TypeError:
        one = check.integer("pos", pos, 0, LAST_POSITION)  # type: ignore[arg-type]
        return [one, one, one, 0], False
    if len(given) != 4:
        raise InvalidArgumentError(f"pos must be one position or four, not {len(given)}")
    return [check.integer("pos", each, 0, LAST_POSITION) for each in given], True


def floats(values: Any, dimensions: int = 2) -> NDArray[np.float32]:
    """Return ``values`` as a contiguous array of float32."""
    import numpy as np

    try:
        given = np.asarray(values)
    except ValueError:
        raise ArgumentTypeError("embeddings must have rows of one length") from None
    if given.dtype.kind not in "fiu":
        raise ArgumentTypeError(f"embeddings must be floats, not {given.dtype}")
    if given.ndim != dimensions:
        shape = "(n, n_embd)" if dimensions == 2 else "(n_embd,)"
        raise InvalidArgumentError(f"embeddings must have the shape {shape}, not {given.shape}")
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(given, np.float32)
    if not np.isfinite(rows).all():
        where = np.argwhere(~np.isfinite(given if given.dtype.kind == "f" else rows))
        place = tuple(int(each) for each in (where[0] if len(where) else np.argwhere(~np.isfinite(rows))[0]))
        raise InvalidArgumentError(
            f"embeddings must be finite in float32: the value at {list(place)} is {given[place]}"
        )
    return rows


def _positions(positions: Any, count: int) -> tuple[list[array[int]], bool]:
    """Return (four sections of positions, whether four were given)."""
    import numpy as np

    try:
        given = np.asarray(positions)
    except ValueError:
        raise ArgumentTypeError("positions must be integers, one or four for each embedding") from None
    if given.dtype.kind not in "iu":
        raise ArgumentTypeError(f"positions must be integers, not {given.dtype}")
    if given.shape not in ((count,), (count, 4)):
        raise InvalidArgumentError(
            f"positions must have the shape ({count},) or ({count}, 4), not {given.shape}"
        )
    if count and not 0 <= int(given.min()) <= int(given.max()) <= LAST_POSITION:
        raise InvalidArgumentError(f"positions must lie in [0, {LAST_POSITION}]")
    if given.ndim == 1:
        return _as_text(array("i", given.tolist())), False
    return [array("i", section) for section in given.T.tolist()] if count else [array("i")] * 4, True


def _as_text(places: array[int]) -> list[array[int]]:
    return [places, places, places, array("i", [0]) * len(places)]
