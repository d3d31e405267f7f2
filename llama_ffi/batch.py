"""Batches: the tokens of one decode, with their positions, sequences and wishes for output.

The arrays belong to us, not to ``llama_batch_init``: they are filled by block copies (a list of 2,000
tokens becomes an int32 block in one call), and freed with the Python object. A batch is well-formed by
construction: every token has a position ≥ 0 and at least one sequence, so that what is left to go wrong
(an id outside of the vocabulary, a gap in the positions) is refused by libllama before it does anything.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any, SupportsIndex

from ._core import arrays, binding, check
from ._core.busy import BusyLock
from .batch_embeddings import LAST_POSITION, MAX_SEQ, Flags, TakesEmbeddings, flags, sequence_ids
from .errors import InvalidArgumentError

_WIDEST = 2**20
"""Floats in an embedding: wider than any model's."""


class Batch(TakesEmbeddings):
    """Room for ``capacity`` tokens, or for as many embeddings.

    C: struct llama_batch; the buffers are ours.

    Arguments:
        capacity: tokens that fit, 1 or more.
        n_seq_max: sequences that one token can belong to, 1 to 256.
        n_embd: 0 = the batch takes tokens; else embeddings of this width (``model.n_embd_inp``), by
            ``set_embeddings`` and ``add_embedding``.

    Raises:
        InvalidArgumentError: a number outside of its range, or no memory for so many tokens.

    Threads: one at a time.
    """

    __slots__ = (
        "__weakref__",
        "_c",
        "_capacity",
        "_count",
        "_ffi",
        "_lock",
        "_n_seq_max",
        "_plain",
        "_seqs",
        "_struct",
        "_value",
    )

    def __init__(self, capacity: int, n_seq_max: int = 1, n_embd: int = 0) -> None:
        ffi = binding.active().ffi
        self._ffi: Any = ffi
        self._capacity = capacity = check.integer("capacity", capacity, 1)
        self._n_seq_max = n_seq_max = check.integer("n_seq_max", n_seq_max, 1, MAX_SEQ)
        self._n_embd = n_embd = check.integer("n_embd", n_embd, 0, _WIDEST)
        self._lock = BusyLock()
        # counted while filling: nothing per token is left to the decode
        self._count = self._n_outputs = self._end = 0
        self._plain = False  # it has tokens, each of one sequence
        self._four = False  # an embedding has four positions
        try:
            tokens = ffi.NULL if n_embd else ffi.new("llama_token[]", capacity)
            self._rows = ffi.new("float[]", capacity * n_embd) if n_embd else ffi.NULL
            self._more = ffi.new("llama_pos[]", 3 * capacity) if n_embd else ffi.NULL
            positions = ffi.new("llama_pos[]", capacity)
            counts = ffi.new("int32_t[]", capacity)
            self._seqs = ffi.new("llama_seq_id[]", capacity * n_seq_max)
            pointers = ffi.new("llama_seq_id *[]", capacity + 1)
            outputs = ffi.new("int8_t[]", capacity)
        except (MemoryError, OverflowError) as error:
            what = f"embeddings of {n_embd} floats" if n_embd else "tokens"
            raise InvalidArgumentError(f"there is no memory for a batch of {capacity} {what}") from error
        base, step = int(ffi.cast("uintptr_t", self._seqs)), 4 * n_seq_max
        rows = array("Q" if ffi.sizeof("void *") == 8 else "I", range(base, base + capacity * step, step))
        ffi.memmove(pointers, rows, rows.itemsize * capacity)
        # the struct must not outlive its arrays, nor the other way round: __slots__ keep both
        self._c = (tokens, positions, counts, pointers, outputs)
        struct = ffi.new("struct llama_batch *")
        struct.token, struct.pos, struct.n_seq_id, struct.seq_id, struct.logits = self._c
        struct.embd = self._rows
        self._struct = struct
        self._value = struct[0]

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        what = "embeddings" if self._n_embd else "tokens"
        return f"<llama_ffi.Batch {len(self)} of {self._capacity} {what}>"

    @property
    def capacity(self) -> int:
        """Return how many tokens fit."""
        return self._capacity

    @property
    def n_seq_max(self) -> int:
        """Return how many sequences one token can belong to."""
        return self._n_seq_max

    @property
    def n_outputs(self) -> int:
        """Return how many of the tokens will have logits."""
        return self._n_outputs

    @property
    def ptr(self) -> Any:
        """Return the ``struct llama_batch *`` for raw calls; its arrays live as long as this object.

        Read it there, but fill it by the methods: what they count, the safe calls go by. Embeddings have one
        position each in it; decode() adds what models with M-RoPE read besides.
        """
        return self._struct

    # --- filling ---

    @classmethod
    def from_tokens(
        cls,
        tokens: arrays.Int32s,
        pos0: int = 0,
        seq_id: int = 0,
        logits: Flags = "last",
        capacity: int | None = None,
    ) -> Batch:
        """Return a batch of consecutive tokens of one sequence.

        Arguments:
            tokens: token ids: a list, ``array('i')``, numpy array or anything with a buffer of int32; at
                least one.
            pos0: the position of the first one.
            seq_id: the sequence they belong to.
            logits: which tokens shall have outputs: "last", "all", None, or one flag per token.
            capacity: room for more tokens than these.

        Returns:
            the batch, with a copy of the tokens.

        Raises:
            InvalidArgumentError, ArgumentTypeError: something in the arguments can't be.

        Threads: any.
        """
        view = arrays.int32_view(tokens)
        if not len(view):
            raise InvalidArgumentError("a batch needs at least one token")
        batch = cls(len(view) if capacity is None else capacity)
        batch.set(view, pos0, seq_id, logits)
        return batch

    def set(self, tokens: arrays.Int32s, pos0: int = 0, seq_id: int = 0, logits: Flags = "last") -> None:
        """Replace the content by consecutive tokens of one sequence; arguments as for :meth:`from_tokens`.

        Raises:
            InvalidArgumentError: more tokens than the capacity, or as for :meth:`from_tokens`.

        Threads: one at a time.
        """
        view = arrays.int32_view(tokens)
        count = len(view)
        if self._n_embd:
            raise self._no_tokens()
        if count > self._capacity:
            raise InvalidArgumentError(f"{count} tokens don't fit into a batch of {self._capacity}")
        first = check.integer("pos0", pos0, 0, LAST_POSITION - count)
        sequence = check.integer("seq_id", seq_id, 0, MAX_SEQ - 1)
        marks = flags(logits, count)
        ffi, step = self._ffi, self._n_seq_max
        self._lock.enter("batch")
        try:
            ids, positions, counts, _pointers, outputs = self._c
            self._resize(0)
            if count:
                ffi.memmove(ids, view, 4 * count)
                ffi.memmove(positions, array("i", range(first, first + count)), 4 * count)
                ffi.memmove(counts, array("i", [1]) * count, 4 * count)
                row = array("i", [sequence] + [0] * (step - 1)) * count
                ffi.memmove(self._seqs, row, 4 * count * step)
                ffi.memmove(outputs, marks, count)
            self._plain = count > 0
            self._n_outputs = count - marks.count(0)
            self._end = first + count
            self._resize(count)
        finally:
            self._lock.leave()

    def add(
        self,
        token: SupportsIndex,
        pos: SupportsIndex,
        seq_ids: Iterable[SupportsIndex] = (0,),
        logits: bool = False,
    ) -> Batch:
        """Append one token; return the batch, so that calls can be chained.

        Arguments:
            token: a token id.
            pos: its position, 0 or more.
            seq_ids: the sequences it belongs to, 1 to ``n_seq_max`` of them.
            logits: whether it shall have outputs.

        Raises:
            InvalidArgumentError: the batch is full, or a value can't be.

        Threads: one at a time.
        """
        number = check.integer("token", token)
        position = check.integer("pos", pos, 0, LAST_POSITION)
        sequences = sequence_ids(seq_ids, self._n_seq_max)
        wanted = check.truth("logits", logits)
        if self._n_embd:
            raise self._no_tokens()
        self._lock.enter("batch")
        try:
            index = self._count
            if index >= self._capacity:
                raise InvalidArgumentError(f"the batch is full: its capacity is {self._capacity} tokens")
            ids, positions, counts, pointers, outputs = self._c
            ids[index] = number
            positions[index] = position
            counts[index] = len(sequences)
            row = pointers[index]
            for offset, each in enumerate(sequences):
                row[offset] = each
            outputs[index] = wanted
            self._plain = (self._plain or not index) and len(set(sequences)) == 1
            self._n_outputs += wanted
            self._end = max(self._end, position + 1)
            self._resize(index + 1)
        finally:
            self._lock.leave()
        return self

    def clear(self) -> None:
        """Forget the content; the room stays.

        Threads: one at a time.
        """
        self._lock.enter("batch")
        self._resize(0)
        self._n_outputs = self._end = 0
        self._plain = self._four = False
        self._lock.leave()

    def _resize(self, count: int) -> None:
        self._count = self._struct.n_tokens = count

    def _no_tokens(self) -> InvalidArgumentError:
        return InvalidArgumentError(
            "this batch takes embeddings (n_embd); use set_embeddings or add_embedding, or Batch(capacity)"
        )

    def _coupled(self) -> bool:
        """Return whether a token belongs to several sequences."""
        return self._n_seq_max > 1 and any(len(set(each)) > 1 for each in self.sequences)

    # --- looking ---

    @property
    def tokens(self) -> list[int]:
        """Return the token ids, a copy; embeddings have none."""
        return [] if self._n_embd else self._ints(self._c[0])

    @property
    def positions(self) -> list[int]:
        """Return the positions, a copy."""
        return self._ints(self._c[1])

    @property
    def sequences(self) -> list[list[int]]:
        """Return the sequences of each token, a copy."""
        counts, pointers, unpack = self._c[2], self._c[3], self._ffi.unpack
        return [unpack(pointers[index], counts[index]) for index in range(len(self))]

    @property
    def outputs(self) -> list[bool]:
        """Return for each token whether it shall have outputs, a copy."""
        return [bool(flag) for flag in self._ints(self._c[4])]

    def _ints(self, pointer: Any) -> list[int]:
        count = len(self)
        values: list[int] = self._ffi.unpack(pointer, count) if count else []
        return values
