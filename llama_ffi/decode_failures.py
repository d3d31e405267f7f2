"""After a decode that failed: what it has left in the memory is taken out, and its error explained.

What libllama refuses cleanly by itself (an id outside of the vocabulary, a gap in the positions) is left to
it, and looked at only then: its refusal changes nothing.
"""

from __future__ import annotations

from typing import Any

from .batch import Batch
from .batch_ext import BatchExt
from .errors import (
    CancelledError,
    DecodeError,
    InvalidBatchError,
    LlamaError,
    NoKvSlotError,
    SequenceRangeError,
    TokenRangeError,
)
from .limits import Limits

AnyBatch = Batch | BatchExt

ABORTED = 2
_NO_SLOT, _INVALID = 1, -1


def undo(lib: Any, ctx: Any, batch: AnyBatch, has_memory: bool) -> str:
    """Take out of the memory what a failed decode may have left there; return how that went."""
    if not has_memory:
        return "nothing has changed"
    begin: dict[int, int] = {}
    for position, sequences in zip(batch.positions, batch.sequences, strict=True):
        for sequence in sequences:
            begin[sequence] = min(position, begin.get(sequence, position))
    memory, cleared = lib.llama_get_memory(ctx), []
    for sequence, position in begin.items():
        if not lib.llama_memory_seq_rm(memory, sequence, position, -1):
            lib.llama_memory_seq_rm(memory, sequence, -1, -1)
            cleared.append(str(sequence))
    if cleared:
        return f"this kind of memory can't forget a part, so sequence {', '.join(cleared)} was emptied"
    return "the memory is as before"


def failure(
    lib: Any,
    ctx: Any,
    limits: Limits,
    batch: AnyBatch,
    code: int,
    lines: list[str],
    *,
    changed: bool,
    name: str,
) -> LlamaError:
    """Return the error for the return value ``code`` of ``name``, after undoing what it did."""
    if code == _INVALID and not changed:
        return explain(lib, ctx, limits, batch, lines)
    if code == _NO_SLOT and not changed:
        return NoKvSlotError(
            f"no room for {len(batch)} tokens in the memory ({limits.n_ctx} tokens in all); remove some with "
            f"memory.seq_rm, use a smaller batch or a larger n_ctx",
            code=code,
            log=lines,
        )
    rest = undo(lib, ctx, batch, limits.has_memory and "encode" not in name)
    if code == ABORTED:
        return CancelledError(f"{name} was cancelled; {rest}", code=code, log=lines)
    if code == _NO_SLOT:
        return NoKvSlotError(
            f"no room for {len(batch)} tokens in the memory ({limits.n_ctx} tokens in all); {rest}",
            code=code,
            log=lines,
        )
    if code == _INVALID:
        error = explain(lib, ctx, limits, batch, lines)
        return type(error)(f"{error}; {rest}", code=code, log=lines)
    return DecodeError(f"{name} failed with code {code}: {reason(lines)}; {rest}", code=code, log=lines)


def explain(lib: Any, ctx: Any, limits: Limits, batch: AnyBatch, lines: list[str]) -> LlamaError:
    """Return the error for a batch that libllama refused, having changed nothing."""
    for index, token in enumerate(batch.tokens):
        if not 0 <= token < limits.n_vocab:
            return TokenRangeError(
                f"token {index} of the batch is {token}; the ids are 0 to {limits.n_vocab - 1}",
                code=_INVALID,
                log=lines,
            )
    last: dict[int, int] = {}
    memory = lib.llama_get_memory(ctx)
    for index, (position, sequences) in enumerate(zip(batch.positions, batch.sequences, strict=True)):
        for sequence in sequences:
            if sequence >= limits.n_seq_max:
                return SequenceRangeError(
                    f"token {index} belongs to sequence {sequence}; this context has the sequences 0 to "
                    f"{limits.n_seq_max - 1} (n_seq_max={limits.n_seq_max})",
                    code=_INVALID,
                    log=lines,
                )
            problem = _gap(lib, memory, sequence, position, last) if limits.n_pos == 1 else ""
            if problem:
                return InvalidBatchError(
                    f"token {index} is at position {position} of sequence {sequence}, {problem}",
                    code=_INVALID,
                    log=lines,
                )
            last[sequence] = position
    return InvalidBatchError(f"llama.cpp refuses the batch: {reason(lines)}", code=_INVALID, log=lines)


def _gap(lib: Any, memory: Any, sequence: int, position: int, last: dict[int, int]) -> str:
    """Say what is wrong with a position, given the last one of its sequence in this batch; "" if nothing."""
    if sequence in last:
        if last[sequence] <= position <= last[sequence] + 1:
            return ""
        return f"after position {last[sequence]}: positions must be consecutive"
    known = int(lib.llama_memory_seq_pos_max(memory, sequence))
    if known < 0 or position == known + 1:
        return ""
    return f"whose memory ends at {known}: the next position is {known + 1} (memory.seq_rm takes tokens out)"


def reason(lines: list[str]) -> str:
    """Return, in one line, the lines of llama.cpp's log that say why."""
    said = [line.partition(": ")[2].strip() or line.strip() for line in lines]
    noise = ("failed to decode, ret", "failed to encode, ret", "failed to initialize batch")
    telling = [line for line in said if not line.startswith(noise)]
    words = ("fail", "error", "invalid", "cannot", "require", "not ")
    errors = [line for line in telling if any(word in line for word in words)]
    return "; ".join(dict.fromkeys((errors or telling)[-3:])) or "llama.cpp gave no reason"
