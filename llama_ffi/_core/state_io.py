"""States on their way out of a context and into one: the calls of C, for a context or for one sequence.

All are made inside the context's handle. ``sequence`` is None for the whole context.
"""

from __future__ import annotations

from typing import Any

from ..errors import StateError, StateMismatchError, UnsupportedError
from . import logs, state_payload

_ALL_SEQUENCES = 256
PREFIX = 8
"""bytes before the state of a sequence: a magic number and the sequence it was taken from"""


def size(lib: Any, ctx: Any, sequence: int | None) -> int:
    """Return how many bytes :func:`get` will write; right as long as nothing is decoded in between."""
    if sequence is None:
        return int(lib.llama_state_get_size(ctx))
    return int(lib.llama_state_seq_get_size_ext(ctx, sequence, 0))


def get(lib: Any, ctx: Any, sequence: int | None, target: Any, room: int) -> int:
    """Let C write the state to ``target`` (``uint8_t *``), ``room`` bytes; return how many it wrote.

    Raises:
        StateError: C has refused.
    """
    with logs.capture() as lines:
        if sequence is None:
            written = int(lib.llama_state_get_data(ctx, target, room))
        else:
            written = int(lib.llama_state_seq_get_data_ext(ctx, target, room, sequence, 0))
    if not written:
        raise StateError(
            f"llama.cpp wrote no state: {'; '.join(lines[-2:]) or 'it gives no reason'}", log=lines
        )
    return written


def put(lib: Any, ctx: Any, sequence: int | None, source: Any, length: int) -> None:
    """Let C read a state from ``source`` (``uint8_t *``) that was checked before.

    Raises:
        StateError: C has refused it; what it was meant to replace is empty now.
    """
    with logs.capture() as lines:
        if sequence is None:
            read = int(lib.llama_state_set_data(ctx, source, length))
        else:
            read = int(lib.llama_state_seq_set_data_ext(ctx, source, length, sequence, 0))
    if read == length:
        return
    memory = lib.llama_get_memory(ctx)
    if sequence is None:
        lib.llama_memory_clear(memory, True)
    else:
        lib.llama_memory_seq_rm(memory, sequence, -1, -1)
    what = "the memory" if sequence is None else f"sequence {sequence}"
    if any("V transposition" in line for line in lines):
        raise StateMismatchError(
            f"flash_attn: the state's context was made with another value; {what} is empty now",
            code=read,
            log=lines,
        )
    why = "; ".join(lines[-3:]) or f"it read {read} of {length} bytes"
    raise StateError(f"llama.cpp refuses the state, and {what} is empty now: {why}", code=read, log=lines)


def form(ffi: Any, lib: Any, ctx: Any, n_seq_max: int) -> state_payload.Form:
    """Return how the states of this context are put together.

    Raises:
        UnsupportedError: in a way that isn't known here, or no sequence is empty.
    """
    sequence = n_seq_max if n_seq_max < _ALL_SEQUENCES else _empty_sequence(lib, ctx)
    length = size(lib, ctx, sequence)
    buffer = ffi.new("uint8_t[]", length)
    try:
        written = get(lib, ctx, sequence, buffer, length)
    except StateError as error:  # DeepSeek V4's says less than it writes
        raise UnsupportedError(f"the states of this model can't be checked: {error}", log=error.log) from None
    return state_payload.Form.of(bytes(ffi.buffer(buffer, written))[PREFIX:])


def _empty_sequence(lib: Any, ctx: Any) -> int:
    memory = lib.llama_get_memory(ctx)
    for sequence in range(_ALL_SEQUENCES):
        if lib.llama_memory_seq_pos_max(memory, sequence) < 0:
            return sequence
    raise UnsupportedError("all 256 sequences are in use; a state can be saved or loaded when one is empty")
