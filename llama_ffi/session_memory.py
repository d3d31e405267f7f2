"""What a session has in memory: one sequence of a context, which forks may share.

How much of the text is in there is asked of libllama each time, so that a cancelled decode or a failure
can't make the two disagree.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ._core import state_io
from .context import Context
from .errors import ClosedError, ContextFullError, MemoryOperationError
from .generation_loop import Progress, feed, pieces_of
from .sampler import SamplerChain


class SessionMemory:
    """One sequence of a context.

    Arguments:
        ctx: the context; closed with the last session that shares it.
        options: its parameters, for a context like it.
        sequence: the sequence.
        taken: the sequences of this context that are in use, shared by all that share it.
    """

    __slots__ = ("_options", "_taken", "closed", "ctx", "sequence")

    def __init__(
        self, ctx: Context, options: dict[str, Any], sequence: int = 0, taken: set[int] | None = None
    ) -> None:
        self.ctx = ctx
        self.sequence = sequence
        self.closed = False
        self._options = options
        self._taken = {sequence} if taken is None else taken
        try:
            _ = ctx.memory
        except BaseException:
            ctx.close()
            raise

    @property
    def held(self) -> int:
        """The number of tokens that are in memory.

        Raises:
            ClosedError.
        """
        if self.closed:
            raise ClosedError("this session is closed")
        return self.ctx.memory.seq_pos_max(self.sequence) + 1

    @property
    def size(self) -> int:
        """The number of tokens that fit."""
        return min(self.ctx.n_ctx_seq, self.ctx._limits.position_limit)

    def cut(self, tokens: list[int]) -> None:
        """Have ``tokens`` in memory, or less: what is behind them is taken out.

        Where a part can't be forgotten, everything is, and computed again.
        """
        held, count = self.held, len(tokens)
        if held <= count:
            return
        memory = self.ctx.memory
        try:
            done = memory.seq_rm(self.sequence, count, -1)
        except MemoryOperationError:  # a recurrent state has no parts
            done = False
        # A sliding window may have dropped what the new end needs to look back at.
        if done and (count == 0 or not self.ctx.model.n_swa or memory.seq_pos_min(self.sequence) <= 0):
            return
        memory.seq_rm(self.sequence, -1, -1)
        self.fill(tokens)

    def fill(self, tokens: list[int]) -> None:
        """Compute what of ``tokens`` isn't in memory yet."""
        held = self.held
        if held < len(tokens):
            feed(self.ctx, tokens, held, self.sequence)

    def shift(self, tokens: list[int], keep: int) -> list[int]:
        """Forget half of what is behind the first ``keep`` tokens; return the tokens that are left.

        The keys of what stays are rotated to their new positions; where that can't be done, what stays is
        computed again.
        """
        keep = min(keep, max(len(tokens) - 2, 0))
        discard = max((len(tokens) - keep) // 2, 1)
        left = tokens[:keep] + tokens[keep + discard :]
        memory = self.ctx.memory
        try:
            done = memory.can_shift and memory.seq_rm(self.sequence, keep, keep + discard)
            if done:
                memory.seq_add(self.sequence, keep + discard, -1, -discard)
        except MemoryOperationError:
            done = False
        if not done:
            memory.seq_rm(self.sequence, -1, -1)
            self.fill(left[:-1])
        return left

    def fork(self) -> SessionMemory:
        """Return another sequence with the same content: of this context if one is free, or of a new one."""
        held = self.held
        free = sorted(set(range(self.ctx.n_seq_max)) - self._taken)
        if free:
            if held:
                self.ctx.memory.seq_cp(self.sequence, free[0], 0, -1)
            self._taken.add(free[0])
            return SessionMemory(self.ctx, self._options, free[0], self._taken)
        other = SessionMemory(Context(self.ctx.model, **self._options), self._options)
        try:
            if held:
                _copy(self.ctx, self.sequence, other.ctx)
        except BaseException:
            other.close()
            raise
        return other

    def close(self) -> None:
        """Give the sequence up, and the context if it was the last one."""
        if self.closed:
            return
        self.closed = True
        self._taken.discard(self.sequence)
        if not self._taken:
            self.ctx.close()
        elif not self.ctx.closed:
            self.ctx.memory.seq_rm(self.sequence, -1, -1)


def _copy(source: Context, sequence: int, target: Context) -> None:
    """Copy a sequence to the first one of another context made with the same parameters."""
    lib, ffi = source._lib, source._ffi
    with source._handle as pointer:
        length = state_io.size(lib, pointer, sequence)
        buffer = ffi.new("uint8_t[]", length)
        state_io.get(lib, pointer, sequence, buffer, length)
    with target._handle as pointer:
        state_io.put(lib, pointer, 0, buffer, length)


class Growth(Progress):
    """What a session's generation has done so far."""

    __slots__ = ("text",)

    def __init__(self, tokens: list[int], memory: SessionMemory) -> None:
        super().__init__(tokens, memory.held, sequence=memory.sequence)
        self.text = tokens
        """the text as it is now: what was chosen is in it, what was shifted out isn't"""


def pieces(
    memory: SessionMemory, chain: SamplerChain, growth: Growth, most: int, keep: int | None, special: bool
) -> Generator[bytes, None, None]:
    """Yield the bytes of one token after the other; when the context is full, shift it or raise.

    Raises:
        ContextFullError: while tokens are still wanted, and nothing may be forgotten.
    """
    before = growth.made
    while True:
        part = Progress(growth.text, memory.held, sequence=memory.sequence)
        try:
            yield from pieces_of(memory.ctx, chain, part, most - len(before) if most >= 0 else -1, special)
        finally:
            growth.start, growth.first = growth.start or part.start, growth.first or part.first
            growth.last = part.last
            growth.made = before = before + part.made
            growth.text = growth.text + part.made
        full = part.finish_reason == "length" and (most < 0 or len(before) < most)
        if not full or (keep is None and most < 0):
            growth.finish_reason = part.finish_reason
            return
        if keep is None:
            raise ContextFullError(
                f"the context is full: the text has {len(growth.text)} tokens, and {most - len(before)} more "
                f"were wanted; use a larger n_ctx, or keep= to let its older half go"
            )
        growth.text = memory.shift(growth.text, keep)
