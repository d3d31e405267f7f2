"""State files: what a context remembers, on disk, for another process or another day.

libllama takes almost any state for its own: it doesn't look at the weights, the vocabulary, LoRA adapters or
the context's RoPE settings, and believes damaged bytes. A :class:`StateFile` says whom it belongs to and
carries a SHA-256; both are checked, and the payload's form is read by us, before a byte reaches C. It is
written beside the old file and takes its place in one step, so that a kill, a full disk or Ctrl-C leaves the
old one whole.

After a load there are no logits: decode at least one token before sampling. The usual way: store n tokens,
take the last one out of the memory (``ctx.memory.seq_rm(seq, n - 1, -1)``) and decode it again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, SupportsIndex

from . import state_load, state_save
from ._core import check
from ._core import text as text_
from ._core.state_header import Header
from ._core.state_payload_file import Progress
from .context import Context
from .errors import ArgumentTypeError, StateError, StateSaveError
from .state_load import Source
from .state_save import Target, Tokens


@dataclass(frozen=True)
class StateFile:
    """A state file: what it holds and whom it belongs to.

    Threads: any; saving and loading are calls on the context.
    """

    path: str
    """where it is; empty for a stream"""
    header: Header
    """everything that it says about itself"""
    tokens: Mapping[int, list[int]]
    """sequence → the tokens that were stored with it"""
    size: int
    """bytes of the whole file"""

    @classmethod
    def save(
        cls,
        ctx: Context,
        target: Target,
        tokens: Tokens = None,
        *,
        seq_id: SupportsIndex | None = None,
        extra: Mapping[str, Any] | None = None,
        compress: int | None = None,
        progress: Progress | None = None,
    ) -> StateFile:
        """Save what ``ctx`` remembers.

        Memory for the state is not needed, whatever its size: C writes into a mapping of the new file.

        C: llama_state_get_size, llama_state_get_data; for a sequence llama_state_seq_get_size_ext,
        llama_state_seq_get_data_ext

        Arguments:
            ctx: the context.
            target: the file's path (an existing file is replaced when the new one is whole), or a binary
                stream to write to.
            tokens: the tokens that the memory holds, to be found again: a list for sequence 0 (or
                ``seq_id``), or a mapping from sequences to lists. None: none are stored.
            seq_id: save this sequence alone; None = the whole context.
            extra: whatever the program wants to find again; must be JSON.
            compress: level of zstd, 1 to 22; None = not compressed. Keys and values hardly shrink.
            progress: called with (bytes, bytes in all) while the digest is computed; False cancels.

        Returns:
            the file.

        Raises:
            StateSaveError: it can't be written (no room, no permission …); the old file is as it was.
            InvalidArgumentError: the tokens are not as many as the memory holds, extra is not JSON …
            UnsupportedError: contexts of this model have no memory, or a form that can't be checked.
            SequenceRangeError, ClosedError, BusyError.

        Threads: one call at a time on a context.
        """
        check.instance("ctx", ctx, Context)
        plan = state_save.plan(ctx, tokens, seq_id, extra, compress)
        path = (
            os.fsdecode(text_.encode_path(target, "target")) if isinstance(target, str | os.PathLike) else ""
        )
        try:
            if isinstance(target, str | os.PathLike):
                header, size = state_save.write(ctx, path, plan, progress)
            else:
                if not hasattr(target, "write"):
                    raise ArgumentTypeError(f"target must be a path or a stream, not {type(target).__name__}")
                with tempfile.TemporaryDirectory() as folder:
                    whole = os.path.join(folder, "state")
                    header, size = state_save.write(ctx, whole, plan, progress)
                    with open(whole, "rb") as source:
                        _copy(source, target)
        except OSError as error:
            if isinstance(error, StateError):
                raise
            raise StateSaveError(
                f"the state can't be saved to {path or 'the stream'!r}: {error.strerror or error}; what was "
                f"there before is as it was"
            ) from error
        return cls(path, header, {sequence: list(ids) for sequence, ids in plan.tokens.items()}, size)

    @classmethod
    def inspect(cls, source: Source) -> StateFile:
        """Read what a state file says about itself; no model is needed, and the payload isn't read.

        Arguments:
            source: the file's path, or a binary stream to read from.

        Raises:
            StateNotFoundError: there is no such file.
            StateDamagedError: it isn't a state file, or it was cut off or changed.
            StateMismatchError: a newer llama_ffi wrote it.
            StateError: it can't be read.
        """
        with state_load.opened(source) as file:
            return cls._of(file)

    @classmethod
    def verify(cls, source: Source, *, progress: Progress | None = None) -> StateFile:
        """Read all of a state file and check its digest; no model is needed.

        Arguments:
            source: the file's path, or a binary stream to read from.
            progress: called with (bytes, bytes in all); False cancels.

        Raises:
            StateNotFoundError, StateDamagedError, StateMismatchError, StateError: as :meth:`inspect`.
        """
        with state_load.opened(source) as file, state_load.payload(file) as view:
            state_load.check_digest(file.header, view, progress)
            return cls._of(file)

    @classmethod
    def load(
        cls,
        ctx: Context,
        source: Source,
        *,
        seq_id: SupportsIndex | None = None,
        progress: Progress | None = None,
    ) -> StateFile:
        """Put a state into ``ctx``: in place of everything it holds, or of one sequence.

        Everything that can be checked is, before the context is touched. The outputs of the last decode are
        no longer valid afterwards.

        C: llama_state_set_data, llama_state_seq_set_data_ext

        Arguments:
            ctx: a context of the same model, made with the same parameters where they matter.
            source: the file's path, or a binary stream to read from.
            seq_id: where the state of a sequence goes; None = 0. For a whole context leave it out.
            progress: called with (bytes, bytes in all) while the digest is computed; False cancels.

        Returns:
            the file, with its tokens.

        Raises:
            StateNotFoundError: there is no such file.
            StateDamagedError: it isn't a state file, or it was cut off or changed; the context is as before.
            StateMismatchError: it belongs to another model, context or version; the message names what
                differs; the context is as before.
            StateError: llama.cpp refuses it; what it was to replace is empty now (the message says so).
            SequenceRangeError, ClosedError, BusyError.

        Threads: one call at a time on a context.
        """
        check.instance("ctx", ctx, Context)
        with state_load.opened(source) as file:
            sequence = state_load.destination(ctx, file.header, seq_id)
            state_load.check_context(ctx, file.header)
            with state_load.payload(file) as view:
                state_load.check_digest(file.header, view, progress)
                state_load.restore(ctx, file.header, view, sequence)
            return cls._of(file)

    @classmethod
    def _of(cls, file: state_load.Opened) -> StateFile:
        return cls(file.path, file.header, {key: list(ids) for key, ids in file.tokens.items()}, file.size)


def _copy(source: BinaryIO, target: Any) -> None:
    try:
        shutil.copyfileobj(source, target, 1 << 20)
    except TypeError as error:  # a text stream, or something else that has a write()
        raise ArgumentTypeError(f"target must be a path or a binary stream: {error}") from error
