"""Loading a state: everything that can be checked is, before the context is touched."""

from __future__ import annotations

import array
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, SupportsIndex

from . import state_facts
from ._core import check, state_header, state_io, state_payload
from ._core import state_payload_file as payload_file
from ._core.state_header import Header
from ._core.state_payload_file import Progress
from .context import Context
from .errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    StateDamagedError,
    StateError,
    StateMismatchError,
    StateNotFoundError,
)

Source = str | os.PathLike[str] | IO[bytes]


@dataclass(frozen=True)
class Opened:
    """A state file that is open, its header read and found whole."""

    file: IO[bytes]
    path: str
    header: Header
    tokens: dict[int, array.array[int]]
    begin: int
    """where the payload begins"""
    stored: int
    """its bytes in the file"""
    size: int


@contextlib.contextmanager
def opened(source: Source) -> Iterator[Opened]:
    """Open a state file, or take a stream into a temporary one, and read its header."""
    path = ""
    with contextlib.ExitStack() as stack:
        try:
            if isinstance(source, str | os.PathLike):
                path = os.fspath(source)
                file: IO[bytes] = stack.enter_context(open(path, "rb"))
            elif hasattr(source, "read"):
                file = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(source, file, 1 << 20)
                file.flush()
            else:
                raise ArgumentTypeError(f"source must be a path or a stream, not {type(source).__name__}")
            size = os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            raise StateNotFoundError(f"there is no state at {path!r}") from None
        except (OSError, ValueError, TypeError) as error:
            if isinstance(error, ArgumentTypeError):
                raise
            raise StateError(f"the state can't be read: {error}") from error

        def read(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        try:
            header, tokens, begin, stored = state_header.decode(read, size)
            yield Opened(file, path, header, tokens, begin, stored, size)
        except StateDamagedError as error:
            if not path:
                raise
            raise StateDamagedError(f"{os.fspath(path)}: {error}", code=error.code, log=error.log) from error


@contextlib.contextmanager
def payload(opened: Opened) -> Iterator[memoryview]:
    """Show the payload as C wrote it."""
    if opened.header.compression:
        manager = payload_file.expanded(opened.file, opened.begin, opened.header.length)
    elif opened.stored != opened.header.length:
        raise StateDamagedError(
            f"the payload has {opened.stored} bytes, the header says {opened.header.length}"
        )
    else:
        manager = payload_file.stored(opened.file, opened.begin, opened.stored)
    with manager as view:
        yield view


def check_digest(header: Header, view: memoryview, progress: Progress | None) -> None:
    """Raise unless the payload is what was written."""
    if payload_file.digest(view, progress) != header.sha256:
        raise StateDamagedError("the payload was changed: its SHA-256 is another")


def destination(ctx: Context, header: Header, seq_id: SupportsIndex | None) -> int | None:
    """Return the sequence that the state goes to, None for the whole context."""
    if header.kind == "sequence":
        return check.sequence(0 if seq_id is None else seq_id, ctx.n_seq_max)
    if seq_id is not None:
        raise InvalidArgumentError(
            "the file holds the state of a whole context, which can't go into one sequence; leave seq_id out"
        )
    return None


def check_context(ctx: Context, header: Header) -> None:
    """Raise unless the state belongs to this model and to contexts like this one."""
    here = state_facts.of(ctx)
    for name, what in _FIELDS.items():
        theirs, ours = getattr(header, name), here[name]
        if theirs != ours:
            raise StateMismatchError(f"{name}: the state is of {what} {theirs!r}, this is {ours!r}")
    for name in sorted(header.options.keys() | here["options"].keys()):
        theirs, ours = header.options.get(name), here["options"].get(name)
        if theirs != ours:
            raise StateMismatchError(
                f"{name}: the state's context was made with {theirs}, this one with {ours}"
            )
    if header.kind == "context" and max(header.cells, default=0) >= ctx.n_seq_max:
        raise StateMismatchError(
            f"n_seq_max: the state has a sequence {max(header.cells)}, this context {ctx.n_seq_max} of them"
        )
    if state_facts.depends_on_n_ctx(ctx) and header.n_ctx != ctx.n_ctx:
        raise StateMismatchError(
            f"n_ctx: the state's context had {header.n_ctx} tokens, this one has {ctx.n_ctx}, and the model "
            f"computes positions by it"
        )


_FIELDS = {
    "state_version": "version",
    "commit": "llama.cpp",
    "arch": "architecture",
    "fingerprint": "a model with fingerprint",
    "n_stream": "a context with this many streams:",
}


def restore(ctx: Context, header: Header, view: memoryview, sequence: int | None) -> None:
    """Read the payload's form, and hand it over to C."""
    lib, ffi = ctx._lib, ctx._ffi
    with ctx._handle as pointer:
        form = state_io.form(ffi, lib, pointer, ctx.n_seq_max)
        prefix = 0 if header.kind == "context" else state_io.PREFIX
        arch = ctx.model.arch if header.kind == "context" else None
        with view[prefix:] as part:
            found = state_payload.read(part, form, state_facts.limits(ctx, form), arch=arch)
        saved = None if header.kind == "context" else next(iter(header.cells), 0)
        cells = state_facts.summary(found, saved)
        if cells != header.cells:
            raise StateDamagedError(f"the payload holds {cells}, the header says {dict(header.cells)}")
        wrong = state_facts.wrong_count(ctx, cells, header.n_tokens)
        if wrong:
            raise StateDamagedError(f"the header's tokens don't fit: {wrong}")
        _check_prefix(view, prefix)
        ctx._outputs.borrows.refuse_move("loading a state")
        ctx._outputs.invalidate()
        with payload_file.pointer(ffi, view, 0) as source:
            state_io.put(lib, pointer, sequence, source, len(view))


def _check_prefix(view: memoryview, prefix: int) -> None:
    if prefix and bytes(view[:4]) != _SEQUENCE_MAGIC:
        raise StateDamagedError(f"the state of a sequence begins with {bytes(view[:4])!r}")


_SEQUENCE_MAGIC = (0xAF143CD8).to_bytes(4, "little")
"""What llama_state_seq_get_data writes first; no header names it."""
