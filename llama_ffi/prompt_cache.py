"""llama.cpp's own state files: what ``llama-completion --prompt-cache`` writes and reads.

They say little about whom they belong to (the architecture, and that is all) and carry no checksum; a
:class:`~llama_ffi.StateFile` is the better choice where both ends are ours. What can be checked is: lengths
and the payload's form, before C sees a byte. They are written in one step like all our files.

``llama-completion`` may store one token more than the memory holds: the last one, not yet decoded. A file
that it shall go on from without another prompt must be like that, because it decodes the last token itself:
``PromptCache.save(session.context, path, session.tokens)`` of a :class:`~llama_ffi.Session` is.
"""

from __future__ import annotations

import array
import mmap
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsIndex

from . import state_facts
from ._core import arrays, binding, check, durable, state_header, state_io, state_payload
from ._core import state_payload_file as payload_file
from ._core import text as text_
from .context import Context
from .errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    StateDamagedError,
    StateError,
    StateMismatchError,
    StateNotFoundError,
    StateSaveError,
    TokenRangeError,
)

_HEAD = struct.Struct("<4sII")
_KINDS = {b"nsgg": "context", b"qsgg": "sequence"}
_MAGICS = {kind: magic for magic, kind in _KINDS.items()}
_SEQUENCE_MAGIC = 0xAF143CD8
"""What llama_state_seq_get_data puts before a sequence's state, and llama_state_seq_save_file doesn't."""


@dataclass(frozen=True)
class PromptCache:
    """One of llama.cpp's state files.

    Threads: any; saving and loading are calls on the context.
    """

    path: str
    """where it is"""
    kind: str
    """context or sequence"""
    version: int
    """llama.cpp's number for the format"""
    tokens: list[int]
    """the tokens that were stored"""
    size: int
    """bytes of the whole file"""

    @classmethod
    def inspect(cls, path: str | os.PathLike[str]) -> PromptCache:
        """Read the beginning of a file: its kind and its tokens; no model is needed.

        Arguments:
            path: the file.

        Raises:
            StateNotFoundError: there is no such file.
            StateDamagedError: it isn't one of these files, or is shorter than it says.
            StateError: it can't be read.
        """
        name = _path(path)
        try:
            with open(name, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                head = file.read(_HEAD.size)
                kind, version, count = _read_head(head, size)
                tokens = array.array("i", file.read(4 * count))
        except FileNotFoundError:
            raise StateNotFoundError(f"there is no prompt cache at {name!r}") from None
        except OSError as error:
            raise StateError(f"the prompt cache can't be read: {error}") from error
        return cls(name, kind, version, state_header.little(tokens).tolist(), size)

    @classmethod
    def save(
        cls,
        ctx: Context,
        path: str | os.PathLike[str],
        tokens: Sequence[int],
        *,
        seq_id: SupportsIndex | None = None,
    ) -> PromptCache:
        """Save what ``ctx`` remembers as llama.cpp does.

        The file has the bytes that ``llama_state_save_file`` or ``llama_state_seq_save_file`` would write.

        C: llama_state_get_data, llama_state_seq_get_data_ext

        Arguments:
            ctx: the context.
            path: the file; an existing one is replaced when the new one is whole.
            tokens: the tokens that the memory holds, and at most one that is yet to be decoded.
            seq_id: save this sequence alone; None = the whole context.

        Returns:
            the file.

        Raises:
            StateSaveError: it can't be written; the old file is as it was.
            InvalidArgumentError, TokenRangeError: tokens that can't be.
            UnsupportedError: contexts of this model have no memory, or a form that can't be checked.
            SequenceRangeError, ClosedError, BusyError.

        Threads: one call at a time on a context.
        """
        check.instance("ctx", ctx, Context)
        name = _path(path)
        sequence = None if seq_id is None else check.sequence(seq_id, ctx.n_seq_max)
        state_facts.of(ctx)
        ids = array.array("i", arrays.int32_view(tokens, "tokens"))
        for each in (min(ids), max(ids)) if ids else ():
            check.token(each, ctx._limits.n_vocab)
        kind = "context" if sequence is None else "sequence"
        version = _version(kind)
        prefix = 0 if sequence is None else state_io.PREFIX
        head = _HEAD.pack(_MAGICS[kind], version, len(ids)) + state_header.little(ids).tobytes()
        try:
            with durable.Replacement(name) as new:
                with ctx._handle as pointer:
                    state_facts.check_settled(ctx)
                    _check_count(ctx, pointer, sequence, len(ids))
                    size = len(head) - prefix + state_io.size(ctx._lib, pointer, sequence)
                    new.reserve(size)
                    with payload_file.mapped(new.fd, size, writable=True) as area:
                        with payload_file.pointer(ctx._ffi, area, len(head) - prefix) as target:
                            state_io.get(ctx._lib, pointer, sequence, target, size - len(head) + prefix)
                        area[: len(head)] = head  # over the prefix of a sequence's state
                        with memoryview(area) as view, view[len(head) :] as part:
                            _read_payload(ctx, pointer, part, kind)
                new.commit()
        except OSError as error:
            if isinstance(error, StateError):
                raise
            raise StateSaveError(
                f"the prompt cache can't be saved to {name!r}: {error.strerror or error}; what was there "
                f"before is as it was"
            ) from error
        return cls(name, kind, version, ids.tolist(), size)

    @classmethod
    def load(
        cls, ctx: Context, path: str | os.PathLike[str], *, seq_id: SupportsIndex | None = None
    ) -> PromptCache:
        """Put the state of a file into ``ctx``: in place of everything it holds, or of one sequence.

        Whether it was made with this model is for the caller to know. What ``llama_state_load_file`` and
        ``llama_state_seq_load_file`` would believe is checked.

        C: llama_state_set_data, llama_state_seq_set_data_ext

        Arguments:
            ctx: a context of the same model.
            path: the file.
            seq_id: where the state of a sequence goes; None = 0. For a whole context leave it out.

        Returns:
            the file, with its tokens: as many as the memory holds now, or one more, yet to be decoded.

        Raises:
            StateNotFoundError, StateDamagedError: no such file; it isn't one of these or was cut off or
                changed where that can be seen; the context is as before.
            StateMismatchError: another version of llama.cpp wrote it, or the context's flash_attn differs.
            StateError: llama.cpp refuses it; what it was to replace is empty now (the message says so).
            TokenRangeError: one of its tokens isn't in the vocabulary; the context is as before.
            InvalidArgumentError, SequenceRangeError, ClosedError, BusyError.

        Threads: one call at a time on a context.
        """
        check.instance("ctx", ctx, Context)
        found = cls.inspect(path)
        state_facts.of(ctx)
        sequence = _destination(ctx, found, seq_id)
        if found.version != _version(found.kind):
            raise StateMismatchError(
                f"version: the file is of {found.version}, this llama.cpp reads {_version(found.kind)}"
            )
        for token in found.tokens:
            if not 0 <= token < ctx._limits.n_vocab:
                raise TokenRangeError(f"the file holds a token {token}; the model has {ctx._limits.n_vocab}")
        begin = _HEAD.size + 4 * len(found.tokens)
        with open(found.path, "rb") as file, _private(file.fileno()) as area, ctx._handle as pointer:
            with memoryview(area) as view, view[begin:] as part:
                parts = _read_payload(ctx, pointer, part, found.kind)
            cells = state_facts.summary(parts, None if sequence is None else 0)
            last = cells[0][1] if 0 in cells else -1
            if len(found.tokens) not in (last + 1, last + 2) and found.tokens:
                raise StateDamagedError(
                    f"the file holds {len(found.tokens)} tokens and a memory that ends at position {last}"
                )
            prefix = 0
            if sequence is not None:  # the file leaves out what C wants to read first
                prefix = state_io.PREFIX
                area[begin - prefix : begin] = struct.pack("<Ii", _SEQUENCE_MAGIC, sequence)
            ctx._outputs.borrows.refuse_move("loading a state")
            ctx._outputs.invalidate()
            with payload_file.pointer(ctx._ffi, area, begin - prefix) as source:
                state_io.put(ctx._lib, pointer, sequence, source, len(area) - begin + prefix)
        return found


def _path(path: object) -> str:
    if not isinstance(path, str | os.PathLike):
        raise ArgumentTypeError(f"path must be a path, not {type(path).__name__}")
    return os.fsdecode(text_.encode_path(path))


def _version(kind: str) -> int:
    lib = binding.active().lib
    return int(lib.LLAMA_SESSION_VERSION if kind == "context" else lib.LLAMA_STATE_SEQ_VERSION)


def _read_head(head: bytes, size: int) -> tuple[str, int, int]:
    if len(head) < _HEAD.size or head[:4] not in _KINDS:
        raise StateDamagedError(f"not a prompt cache of llama.cpp (it begins with {head[:4]!r})")
    magic, version, count = _HEAD.unpack(head)
    if _HEAD.size + 4 * count > size:
        raise StateDamagedError(f"the file says that it holds {count} tokens, and has {size} bytes")
    return _KINDS[magic], version, count


def _private(fd: int) -> mmap.mmap:
    """Map a file so that what is written to the mapping stays in this process."""
    return mmap.mmap(fd, 0, access=mmap.ACCESS_COPY)


def _read_payload(
    ctx: Context, pointer: object, part: memoryview, kind: str
) -> tuple[state_payload.Part, ...]:
    form = state_io.form(ctx._ffi, ctx._lib, pointer, ctx.n_seq_max)
    arch = ctx.model.arch if kind == "context" else None
    return state_payload.read(part, form, state_facts.limits(ctx, form), arch=arch)


def _check_count(ctx: Context, pointer: object, sequence: int | None, count: int) -> None:
    memory = ctx._lib.llama_get_memory(pointer)
    held = int(ctx._lib.llama_memory_seq_pos_max(memory, sequence or 0)) + 1
    if count and count not in (held, held + 1):
        raise InvalidArgumentError(
            f"{count} tokens are given, the memory of sequence {sequence or 0} ends at position {held - 1}; "
            f"give the {held} tokens that were decoded, and at most one that will be"
        )


def _destination(ctx: Context, found: PromptCache, seq_id: SupportsIndex | None) -> int | None:
    if found.kind == "sequence":
        return check.sequence(0 if seq_id is None else seq_id, ctx.n_seq_max)
    if seq_id is not None:
        raise InvalidArgumentError(
            "the file holds the state of a whole context, which can't go into one sequence; leave seq_id out"
        )
    return None
