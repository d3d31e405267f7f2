"""cyllama's methods that keep and bring back what a context remembers."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

from ...context import Context
from ...errors import ArgumentTypeError, StateError, UnsupportedError
from ...prompt_cache import PromptCache
from ...statefile import StateFile


class KeepsStates:
    """The part of :class:`LlamaContext` that deals with states.

    The files are llama.cpp's own (:class:`llama_ffi.PromptCache`). The bytes are those of a
    :class:`llama_ffi.StateFile`, which says whose state it is and is checked before C sees it: opaque to a
    program, and not what cyllama's ``get_state_data`` returns.
    """

    __slots__ = ()

    safe: Context

    # --- bytes ---

    def get_state_data(self) -> bytes:
        """Return what the context remembers; errors as :meth:`llama_ffi.StateFile.save`."""
        return _bytes(self.safe, None)

    def get_state_size(self) -> int:
        """Return the length of :meth:`get_state_data`, in bytes."""
        return len(_bytes(self.safe, None))

    def set_state_data(self, data: bytes) -> int:
        """Restore ``data`` and return its length; errors as :meth:`llama_ffi.StateFile.load`."""
        return _load(self.safe, data, None)

    def get_state_seq_data(self, seq_id: int) -> bytes:
        """Return what the context remembers of the sequence ``seq_id``."""
        return _bytes(self.safe, seq_id)

    def get_state_seq_size(self, seq_id: int) -> int:
        """Return the length of :meth:`get_state_seq_data` for ``seq_id``, in bytes."""
        return len(_bytes(self.safe, seq_id))

    def set_state_seq_data(self, src: bytes, dest_seq_id: int) -> None:
        """Make the sequence ``dest_seq_id`` what ``src`` remembers."""
        _load(self.safe, src, dest_seq_id)

    def get_state_seq_data_with_flags(self, seq_id: int, flags: int) -> bytes:
        """Return :meth:`get_state_seq_data` of ``seq_id``.

        Raises:
            UnsupportedError: ``flags`` isn't 0; ``ctx.safe.snapshot()`` keeps partial states, on devices too.
        """
        _no_flags(flags)
        return _bytes(self.safe, seq_id)

    def get_state_seq_size_with_flags(self, seq_id: int, flags: int) -> int:
        """Return the length of :meth:`get_state_seq_data_with_flags` for ``seq_id`` and ``flags``."""
        return len(self.get_state_seq_data_with_flags(seq_id, flags))

    def set_state_seq_data_with_flags(self, src: bytes, dest_seq_id: int, flags: int) -> None:
        """Do :meth:`set_state_seq_data` with ``src`` and ``dest_seq_id``.

        Raises:
            UnsupportedError: ``flags`` isn't 0.
        """
        _no_flags(flags)
        _load(self.safe, src, dest_seq_id)

    # --- files ---

    def save_state_file(self, path_session: str | os.PathLike[str], tokens: Sequence[int]) -> bool:
        """Save what the context remembers.

        Arguments:
            path_session: the file.
            tokens: the tokens that it holds, or none.

        Returns:
            True; what fails is an error, as :meth:`llama_ffi.PromptCache.save` has it.
        """
        PromptCache.save(self.safe, path_session, tokens)
        return True

    def load_state_file(self, path_session: str | os.PathLike[str], max_n_tokens: int = 256) -> list[int]:
        """Take over what a file remembers; errors as :meth:`llama_ffi.PromptCache.load`.

        Arguments:
            path_session: the file.
            max_n_tokens: more tokens than these are a StateError.

        Returns:
            the tokens that were stored.
        """
        _check_count(path_session, max_n_tokens)
        return PromptCache.load(self.safe, path_session).tokens

    def save_state_seq_file(
        self, filepath: str | os.PathLike[str], seq_id: int, tokens: Sequence[int]
    ) -> None:
        """Save what the context remembers of a sequence; errors as :meth:`llama_ffi.PromptCache.save`.

        Arguments:
            filepath: the file.
            seq_id: the sequence.
            tokens: the tokens that it holds, or none.
        """
        PromptCache.save(self.safe, filepath, tokens, seq_id=seq_id)

    def load_state_seq_file(
        self, filepath: str | os.PathLike[str], dest_seq_id: int, max_n_tokens: int = 256
    ) -> list[int]:
        """Make a sequence what a file remembers; errors as :meth:`llama_ffi.PromptCache.load`.

        Arguments:
            filepath: the file.
            dest_seq_id: the sequence.
            max_n_tokens: more tokens than these are a StateError.

        Returns:
            the tokens that were stored.
        """
        _check_count(filepath, max_n_tokens)
        return PromptCache.load(self.safe, filepath, seq_id=dest_seq_id).tokens


def _bytes(ctx: Context, seq_id: int | None) -> bytes:
    stream = io.BytesIO()
    StateFile.save(ctx, stream, seq_id=seq_id)
    return stream.getvalue()


def _load(ctx: Context, data: bytes, seq_id: int | None) -> int:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ArgumentTypeError(f"a state is bytes, not {type(data).__name__}")
    StateFile.load(ctx, io.BytesIO(data), seq_id=seq_id)
    return len(data)


def _no_flags(flags: int) -> None:
    if flags:
        raise UnsupportedError(
            f"flags is {flags!r}; bytes hold whole states. ctx.safe.snapshot(seq_id, partial=…, on_device=…) "
            f"keeps the others"
        )


def _check_count(path: str | os.PathLike[str], most: int) -> None:
    count = len(PromptCache.inspect(path).tokens)
    if count > most:
        raise StateError(f"{os.fspath(path)!r} holds {count} tokens, more than max_n_tokens ({most})")
