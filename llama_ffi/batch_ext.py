"""Batches of libllama's own kind (``llama_batch_ext``): entries with tokens, embeddings or both.

C fills such a batch entry by entry and tells nothing about it afterwards, so the Python object remembers
what it has put in (:mod:`.batch_entries`). What C gets wrong is checked before: an entry that it refuses
stays in its batch, and embeddings are read in the order in which they were set, whatever they were set for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsIndex

from ._core import binding, check
from ._core.handle import Handle
from .batch_embeddings import floats, position
from .batch_entries import Entries
from .context_resources import ContextResources
from .errors import ArgumentTypeError, InvalidArgumentError, InvalidBatchError, UnsupportedError

Position = SupportsIndex | Sequence[SupportsIndex] | None


class BatchExt(Entries):
    """A batch of a context, of at most its n_batch entries; :meth:`Context.process` computes it.

    C: struct llama_batch_ext, owned; llama_batch_ext_init, llama_batch_ext_free

    Arguments:
        context: whose batch it is; no other takes it. It lives at least as long as the batch.

    Raises:
        ClosedError: the context is closed.

    Threads: one call at a time; a second thread gets BusyError.
    """

    __slots__ = ("_ffi", "_lib", "context")

    context: Any
    """the context that it belongs to"""

    def __init__(self, context: ContextResources) -> None:
        if not isinstance(context, ContextResources):
            raise ArgumentTypeError(f"context must be a Context, not {type(context).__name__}")
        active = binding.active()
        self._ffi, self._lib = active.ffi, active.lib
        with context._handle as parent:
            pointer = self._lib.llama_batch_ext_init(parent)
        self._handle = Handle(
            active.ffi, pointer, self._lib.llama_batch_ext_free, "batch", keep=[parent], exclusive=True
        )
        self.context = context
        self._limits = context._limits  # type: ignore[attr-defined]
        self._forget()

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ""
        return f"<llama_ffi.BatchExt {len(self)} of {self.capacity} entries{state}>"

    @property
    def capacity(self) -> int:
        """Return how many entries fit: n_batch of the context."""
        return int(self._limits.n_batch)

    # --- filling ---

    def add(self, seq_id: SupportsIndex = 0, pos: Position = None, *, output: bool = False) -> int:
        """Append an entry without content, for an embedding that :meth:`set_embd_token` sets.

        C: llama_batch_ext_add, llama_batch_ext_set_pos

        Arguments:
            seq_id: the sequence it belongs to, 0 to n_seq_max - 1; ``add_seq`` adds others.
            pos: its position, 0 or more; four for an embedding of a model with M-RoPE (time, height, width,
                other); None = ``set_pos`` will set it.
            output: whether it shall have outputs.

        Returns:
            the entry's index, 0 for the first.

        Raises:
            InvalidBatchError: the batch is full.
            SequenceRangeError, InvalidArgumentError, ArgumentTypeError: a value can't be.
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        return self._append(seq_id, pos, output, None, self._lib.llama_batch_ext_add)

    def add_token(
        self, token: SupportsIndex, seq_id: SupportsIndex = 0, pos: Position = None, *, output: bool = False
    ) -> int:
        """Append a token; arguments and errors else as for :meth:`add`.

        C: llama_batch_ext_add_token, llama_batch_ext_set_pos

        Arguments:
            token: a token id.
            seq_id, pos, output: as for :meth:`add`; a token has one position.

        Returns:
            the entry's index.

        Raises:
            TokenRangeError: there is no such token.
            InvalidBatchError, SequenceRangeError, ClosedError, BusyError: as :meth:`add`.

        Threads: one call at a time.
        """
        number, lib = check.token(token, self._limits.n_vocab), self._lib
        return self._append(
            seq_id, pos, output, number, lambda batch, seq: lib.llama_batch_ext_add_token(batch, seq, number)
        )

    def add_embd(
        self, embedding: Any, seq_id: SupportsIndex = 0, pos: Position = None, *, output: bool = False
    ) -> int:
        """Append an embedding; arguments and errors else as for :meth:`add`.

        C: llama_batch_ext_add_embd, llama_batch_ext_set_pos

        Arguments:
            embedding: (model.n_embd_inp,) floats, all finite; copied.
            seq_id, pos, output: as for :meth:`add`.

        Returns:
            the entry's index.

        Raises:
            UnsupportedError: the context takes no embeddings.
            InvalidArgumentError: another width, or a value that isn't finite.
            InvalidBatchError, SequenceRangeError, ClosedError, BusyError: as :meth:`add`.

        Threads: one call at a time.
        """
        row, value = self._row(embedding)
        lib = self._lib
        index = self._append(
            seq_id, pos, output, None, lambda batch, seq: lib.llama_batch_ext_add_embd(batch, seq, value)
        )
        del row  # until here C reads it
        self._rows.add(index)
        self._last_row = index
        return index

    def add_seq(self, index: SupportsIndex, seq_id: SupportsIndex) -> None:
        """Let an entry belong to another sequence as well.

        C: llama_batch_ext_add_seq

        Arguments:
            index: the entry.
            seq_id: the sequence, 0 to n_seq_max - 1.

        Raises:
            InvalidArgumentError: there is no such entry.
            SequenceRangeError, ClosedError, BusyError.

        Threads: one call at a time.
        """
        sequence = check.sequence(seq_id, self._limits.n_seq_max)
        with self._handle as batch:
            place = self._index(index)
            self._done(self._lib.llama_batch_ext_add_seq(batch, place, sequence), "add_seq")
            if sequence not in self._who[place]:
                self._who[place].append(sequence)

    def set_pos(self, index: SupportsIndex, pos: SupportsIndex | Sequence[SupportsIndex]) -> None:
        """Set the position of an entry.

        C: llama_batch_ext_set_pos

        Arguments:
            index: the entry.
            pos: 0 or more; four for an embedding of a model with M-RoPE.

        Raises:
            InvalidArgumentError: there is no such entry, or it can't have such positions.
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        given = position(pos)
        with self._handle as batch:
            place = self._index(index)
            self._check_four(given[1], self._tokens[place] is not None)
            self._put(batch, place, given[0])

    def set_embd_token(self, index: SupportsIndex, embedding: Any) -> None:
        """Give an entry an embedding: one that is empty, or one with a token, which then has both.

        A model computes from the token then; the embedding is for those that take both.

        C: llama_batch_ext_set_embd_token

        Arguments:
            index: the entry; above every other that has an embedding.
            embedding: (model.n_embd_inp,) floats, all finite; copied.

        Raises:
            InvalidArgumentError: no such entry, it has an embedding, or one after it has.
            UnsupportedError, ClosedError, BusyError: as :meth:`add_embd`.

        Threads: one call at a time.
        """
        row, value = self._row(embedding)
        with self._handle as batch:
            place = self._index(index)
            if place <= self._last_row:
                has = "has an embedding already" if place in self._rows else f"is before {self._last_row}"
                raise InvalidArgumentError(
                    f"entry {place} {has}: embeddings are set once, in the order of the entries"
                )
            self._done(self._lib.llama_batch_ext_set_embd_token(batch, place, value), "set_embd_token")
            self._rows.add(place)
            self._last_row = place
        del row

    def set_embd_state(self, index: SupportsIndex, state: Any) -> None:
        """Give an entry hidden states of an earlier stage; the pinned llama.cpp takes none yet.

        C: llama_batch_ext_set_embd_state

        Arguments:
            index: the entry.
            state: (n, width) floats, all finite.

        Raises:
            UnsupportedError: libllama doesn't take them.
            InvalidArgumentError, ArgumentTypeError, ClosedError, BusyError.

        Threads: one call at a time.
        """
        rows = floats(state)
        value = self._embd(rows)
        with self._handle as batch:
            if not self._lib.llama_batch_ext_set_embd_state(batch, self._index(index), value):
                raise UnsupportedError("this libllama takes no states (llama_batch_ext_set_embd_state)")

    def set_output_logits(self, index: SupportsIndex, value: bool = True) -> None:
        """Say whether an entry shall have logits; C makes no difference to :meth:`set_output_embd` so far.

        C: llama_batch_ext_set_output_logits

        Arguments:
            index: the entry.
            value: whether it shall.

        Raises:
            InvalidArgumentError: there is no such entry.
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        self._set_output(self._lib.llama_batch_ext_set_output_logits, index, value)

    def set_output_embd(self, index: SupportsIndex, value: bool = True) -> None:
        """Say whether an entry shall have an embedding as output; as :meth:`set_output_logits` so far.

        C: llama_batch_ext_set_output_embd

        Arguments:
            index: the entry.
            value: whether it shall.

        Raises:
            InvalidArgumentError: there is no such entry.
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        self._set_output(self._lib.llama_batch_ext_set_output_embd, index, value)

    def _set_output(self, call: Any, index: SupportsIndex, value: bool) -> None:
        wanted = check.truth("value", value)
        with self._handle as batch:
            place = self._index(index)
            self._done(call(batch, place, wanted), "set_output")
            self._outputs[place] = wanted

    def clear(self) -> None:
        """Forget all entries.

        C: llama_batch_ext_clear

        Raises:
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        with self._handle as batch:
            self._lib.llama_batch_ext_clear(batch)
            self._forget()

    # --- inside ---

    def _append(
        self, seq_id: SupportsIndex, pos: Position, output: bool, token: int | None, call: Any
    ) -> int:
        sequence = check.sequence(seq_id, self._limits.n_seq_max)
        wanted = check.truth("output", output)
        given = None if pos is None else position(pos)
        if given is not None:
            self._check_four(given[1], token is not None)
        with self._handle as batch:
            index = len(self._who)
            if index >= self.capacity:
                raise InvalidBatchError(f"the batch is full: the context takes n_batch={index} at a time")
            if call(batch, sequence) != index:
                raise InvalidBatchError(f"libllama refuses an entry of sequence {sequence}")
            self._tokens.append(token)
            self._who.append([sequence])
            self._where.append(None)
            self._outputs.append(False)
            if given is not None:
                self._put(batch, index, given[0])
            if wanted:
                self._done(self._lib.llama_batch_ext_set_output_logits(batch, index, True), "set_output")
                self._outputs[index] = True
            return index

    def _put(self, batch: Any, index: int, places: list[int]) -> None:
        done = self._lib.llama_batch_ext_set_pos(batch, index, self._ffi.new("llama_pos[4]", places))
        self._done(done, "set_pos")
        self._where[index] = places[0]

    def _check_four(self, four: bool, token: bool) -> None:
        if four and (token or self._limits.n_pos == 1):
            what = "a token has" if token else "embeddings of models without M-RoPE have"
            raise InvalidArgumentError(f"four positions were given, but {what} one")

    def _index(self, index: SupportsIndex) -> int:
        if not self._who:
            raise InvalidArgumentError("the batch has no entries yet")
        return check.integer("index", index, 0, len(self._who) - 1)

    def _row(self, embedding: Any) -> tuple[Any, Any]:
        """Return (an embedding, ``struct llama_embd`` that points to it)."""
        limits = self._limits
        if limits.no_embeddings:
            raise UnsupportedError(f"no embeddings as input: {limits.no_embeddings}")
        row = floats(embedding, 1)
        if len(row) != limits.n_embd_inp:
            raise InvalidArgumentError(
                f"the embedding has {len(row)} values, the model takes {limits.n_embd_inp} (model.n_embd_inp)"
            )
        return row, self._embd(row.reshape(1, -1))

    def _embd(self, rows: Any) -> Any:
        pointer = self._ffi.cast("float *", self._ffi.from_buffer(rows)) if rows.size else self._ffi.NULL
        return self._ffi.new(
            "struct llama_embd *", {"data": pointer, "n_rows": rows.shape[0], "n_embd": rows.shape[1]}
        )[0]

    def _done(self, done: Any, what: str) -> None:
        if not done:
            raise InvalidBatchError(f"libllama refuses this {what}")
