"""What a context remembers: the KV cache, or the state of a recurrent model.

Each operation that libllama asserts on is checked first, and what it would do wrongly without a word
(``seq_keep`` on separate streams, a part of a recurrent state) is done right or refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, SupportsIndex

from ._core import binding, check
from ._core.handle import Handle
from .errors import InvalidArgumentError, MemoryOperationError

_LAST_POSITION = 2**31 - 2


@dataclass(frozen=True)
class Shape:
    """The facts about a context that its memory's operations depend on."""

    n_seq_max: int
    separate_streams: bool
    """each sequence has cells of its own (``kv_unified=False`` and several sequences)"""
    whole_copies: bool
    """this kind of memory copies whole sequences only"""
    recurrent: bool
    """the model keeps a state instead of, or besides, the tokens' keys and values"""
    shifts: bool
    """keys of this type can be rotated to other positions (``type_k`` "f16" or "f32")"""


class Memory:
    """The memory of a :class:`Context`; obtained as ``ctx.memory``.

    C: llama_memory_t, borrowed from the context.

    A sequence, ``seq_id``, is one of 0 to n_seq_max - 1. A position range is [p0, p1): p0 = -1 (or None) is
    the beginning, p1 = -1 (or None) the end.

    Threads: one call at a time on a context and its memory together (BusyError otherwise).
    """

    __slots__ = ("_decoder", "_handle", "_lib", "_ptr", "_shape")

    def __init__(self, context: Handle, pointer: Any, shape: Shape, decoder: Any) -> None:
        """Made by :class:`Context`."""
        self._decoder = decoder
        self._handle = context
        self._ptr = pointer
        self._shape = shape
        self._lib: Any = binding.active().lib

    def __repr__(self) -> str:
        return f"<llama_ffi.Memory of {self._shape.n_seq_max} sequences{', closed' * self._handle.closed}>"

    @property
    def ptr(self) -> Any:
        """Return the ``llama_memory_t`` for raw calls: borrowed, valid while the context lives.

        Raises:
            ClosedError: the context is closed.
        """
        _ = self._handle.ptr
        return self._ptr

    @property
    def copy_pending(self) -> bool:
        """Whether a :meth:`seq_cp` waits for the next decode, as copies between streams do.

        Until then the memory can't be saved: C would write what the sequence was before.
        """
        return bool(self._decoder.copy_pending)

    @property
    def can_shift(self) -> bool:
        """Whether positions can be changed (:meth:`seq_add`, :meth:`seq_div`). C: llama_memory_can_shift"""
        with self._handle:
            return self._shape.shifts and bool(self._lib.llama_memory_can_shift(self._ptr))

    def seq_pos_min(self, seq_id: SupportsIndex = 0) -> int:
        """Return the smallest position of a sequence that is in memory, -1 if the sequence is empty.

        C: llama_memory_seq_pos_min

        Raises:
            SequenceRangeError: no such sequence.
            ClosedError, BusyError: the context is closed or in use.
        """
        sequence = self._sequence(seq_id)
        with self._handle:
            return int(self._lib.llama_memory_seq_pos_min(self._ptr, sequence))

    def seq_pos_max(self, seq_id: SupportsIndex = 0) -> int:
        """Return the largest position of a sequence, -1 if the sequence is empty.

        C: llama_memory_seq_pos_max

        Raises: as :meth:`seq_pos_min`.
        """
        sequence = self._sequence(seq_id)
        with self._handle:
            return int(self._lib.llama_memory_seq_pos_max(self._ptr, sequence))

    def clear(self, data: bool = True) -> None:
        """Forget everything.

        C: llama_memory_clear

        Arguments:
            data: zero the buffers as well, not only the bookkeeping.

        Raises:
            ClosedError, BusyError: the context is closed or in use.
        """
        data = check.truth("data", data)
        with self._handle:
            self._lib.llama_memory_clear(self._ptr, data)

    def seq_rm(
        self, seq_id: SupportsIndex, p0: SupportsIndex | None = -1, p1: SupportsIndex | None = -1
    ) -> bool:
        """Forget the tokens of a sequence in [p0, p1).

        C: llama_memory_seq_rm

        Arguments:
            seq_id: the sequence, -1 for all of them.

        Returns:
            False if this kind of memory can't forget a part (recurrent and hybrid models); nothing has
            changed then. Forgetting a whole sequence always works.

        Raises: as :meth:`seq_pos_min`.
        """
        sequence = self._sequence(seq_id, any_below_zero=True)
        first, end = check.position("p0", p0), check.position("p1", p1)
        with self._handle:
            if sequence < 0 and first <= 0 and end < 0:
                self._lib.llama_memory_clear(
                    self._ptr, False
                )  # recurrent memory refuses -1 even for everything
                return True
            return bool(self._lib.llama_memory_seq_rm(self._ptr, sequence, first, end))

    def seq_cp(
        self,
        seq_id_src: SupportsIndex,
        seq_id_dst: SupportsIndex,
        p0: SupportsIndex | None = -1,
        p1: SupportsIndex | None = -1,
    ) -> None:
        """Copy the tokens of the sequence ``seq_id_src`` in [p0, p1) to the sequence ``seq_id_dst``.

        C: llama_memory_seq_cp

        With ``kv_unified=True`` the cells are shared and nothing is moved. Otherwise each sequence has a
        stream of its own; then only a whole sequence can be copied, and it replaces the other one.

        Raises:
            MemoryOperationError: a part, where only whole sequences can be copied.
            SequenceRangeError, ClosedError, BusyError: as :meth:`seq_pos_min`.
        """
        source = self._sequence(seq_id_src, "seq_id_src")
        target = self._sequence(seq_id_dst, "seq_id_dst")
        first, end = check.position("p0", p0), check.position("p1", p1)
        if source == target:
            return
        lib, memory = self._lib, self._ptr
        with self._handle:
            low = lib.llama_memory_seq_pos_min(memory, source)
            high = lib.llama_memory_seq_pos_max(memory, source)
            if first <= max(low, 0) and (end < 0 or end > high):  # of an empty sequence both are -1
                first = end = -1  # the whole sequence, in the words that every kind of memory takes
            elif self._shape.separate_streams or self._shape.whole_copies or self._shape.recurrent:
                raise MemoryOperationError(
                    f"positions [{first}, {end}) are a part of sequence {source}, which holds {low} to "
                    f"{high}; this "
                    f"memory copies whole sequences only"
                    + (
                        " (a context made with kv_unified=True copies parts)"
                        if self._shape.separate_streams
                        else ""
                    )
                )
            lib.llama_memory_seq_cp(memory, source, target, first, end)
            if self._shape.separate_streams and high >= 0:
                self._decoder.note_copy()

    def seq_keep(self, seq_id: SupportsIndex) -> None:
        """Forget every other sequence.

        C: llama_memory_seq_keep

        Raises: as :meth:`seq_pos_min`.
        """
        sequence = self._sequence(seq_id)
        with self._handle:
            self._lib.llama_memory_seq_keep(self._ptr, sequence)
            if self._shape.separate_streams:
                # the C function looks at the sequence's own stream only and leaves the others as they are
                for other in range(self._shape.n_seq_max):
                    if other != sequence:
                        self._lib.llama_memory_seq_rm(self._ptr, other, -1, -1)

    def seq_add(
        self, seq_id: SupportsIndex, p0: SupportsIndex | None, p1: SupportsIndex | None, delta: SupportsIndex
    ) -> None:
        """Add ``delta`` to the positions of a sequence in [p0, p1); what falls below 0 is forgotten.

        C: llama_memory_seq_add

        Raises:
            MemoryOperationError: this memory can't shift positions.
            InvalidArgumentError: a position would leave the range of 32 bits.
            SequenceRangeError, ClosedError, BusyError: as :meth:`seq_pos_min`.
        """
        sequence = self._sequence(seq_id)
        first, end = check.position("p0", p0), check.position("p1", p1)
        by = check.integer("delta", delta)
        lib, memory = self._lib, self._ptr
        with self._handle:
            self._check_shift("seq_add")
            high = lib.llama_memory_seq_pos_max(memory, sequence)
            if high >= 0 and high + by > _LAST_POSITION:
                raise InvalidArgumentError(f"delta is {by}; position {high} would leave the range of 32 bits")
            lib.llama_memory_seq_add(memory, sequence, first, end, by)

    def seq_div(
        self, seq_id: SupportsIndex, p0: SupportsIndex | None, p1: SupportsIndex | None, d: SupportsIndex
    ) -> None:
        """Divide the positions of a sequence in [p0, p1) by ``d``, rounding down.

        C: llama_memory_seq_div

        Raises:
            InvalidArgumentError: ``d`` is below 1.
            MemoryOperationError: this memory can't shift positions.
            SequenceRangeError, ClosedError, BusyError: as :meth:`seq_pos_min`.
        """
        sequence = self._sequence(seq_id)
        first, end = check.position("p0", p0), check.position("p1", p1)
        divisor = check.integer("d", d, 1)
        with self._handle:
            self._check_shift("seq_div")
            self._lib.llama_memory_seq_div(self._ptr, sequence, first, end, divisor)

    def _check_shift(self, name: str) -> None:
        # the call itself succeeds everywhere; the next decode would abort, or die rotating quantized keys,
        # which build_rope_shift does with a matrix that exists for some head sizes only
        if not self._shape.shifts:
            raise MemoryOperationError(
                f"{name}: keys of this context's type_k can't be moved to other positions (can_shift is "
                f"False); make the context with type_k 'f16' or 'f32'"
            )
        if not self._lib.llama_memory_can_shift(self._ptr):
            raise MemoryOperationError(
                f"{name}: this model's memory can't shift positions (can_shift is False)"
            )

    def _sequence(self, value: SupportsIndex, name: str = "seq_id", any_below_zero: bool = False) -> int:
        return check.sequence(value, self._shape.n_seq_max, name, any_below_zero=any_below_zero)
