"""Taking a state in, piece by piece, from somewhere else."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import threading
from collections.abc import Callable
from typing import Any

from ._core import check, durable
from ._core.store_registry import StoredState
from .errors import ArgumentTypeError, ClosedError, InvalidArgumentError, StateDamagedError, StateError
from .statefile import StateFile

_Enter = Callable[[Callable[[str], StateFile]], StoredState]


class Upload:
    """A state on its way into a store; made by :meth:`StateStore.upload`.

    Pieces come in order. Offset 0 begins again, and the piece that came last may come once more: a sender
    that has missed the answer simply repeats itself. What is abandoned leaves nothing.

    Threads: one call at a time, any thread.
    """

    __slots__ = (
        "__weakref__",
        "_begin",
        "_digest",
        "_enter",
        "_fd",
        "_lock",
        "_path",
        "_sha256",
        "received",
        "size",
    )

    size: int
    """bytes of the whole file"""
    received: int
    """bytes that have come"""

    def __init__(self, folder: str, size: int, sha256: str, enter: _Enter) -> None:
        """Made by :meth:`StateStore.upload`."""
        if not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise InvalidArgumentError(f"sha256 is {check.shown(sha256)}; it must be 64 hex digits")
        self.size, self._sha256, self._enter = size, sha256, enter
        self._path = os.path.join(folder, f".{secrets.token_hex(8)}{durable.SUFFIX}")
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._lock = threading.Lock()
        self._begin, self.received = 0, 0
        self._digest: Any = hashlib.sha256()

    def write(self, offset: int, piece: bytes) -> StoredState | None:
        """Take a piece.

        Arguments:
            offset: where it belongs: where the last one ended, where the last one began (it is taken as a
                repetition), or 0 (everything begins again).
            piece: its bytes.

        Returns:
            the state, when the last piece has come and everything was right; None before that.

        Raises:
            InvalidArgumentError: a piece is missing before this one, or it goes beyond the end.
            StateDamagedError: the whole has another SHA-256, or isn't a state file; nothing was stored.
            ClosedError: it has ended.
        """
        check.integer("offset", offset, 0, self.size)
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise ArgumentTypeError(f"piece must be bytes, not {type(piece).__name__}")
        data = bytes(piece)
        with self._lock:
            if self._fd < 0:
                raise ClosedError("this upload has ended")
            if offset == 0:
                self._begin, self.received, self._digest = 0, 0, hashlib.sha256()
            elif offset == self._begin and offset + len(data) == self.received:
                return None  # once more
            elif offset != self.received:
                raise InvalidArgumentError(f"offset is {offset}; {self.received} bytes have come so far")
            if offset + len(data) > self.size:
                raise InvalidArgumentError(f"the piece ends at {offset + len(data)}, the file at {self.size}")
            os.lseek(self._fd, offset, os.SEEK_SET)
            durable.write_all(self._fd, data)
            self._digest.update(data)
            self._begin, self.received = offset, offset + len(data)
            return self._finish() if self.received == self.size else None

    def _finish(self) -> StoredState:
        try:
            if self._digest.hexdigest() != self._sha256:
                raise StateDamagedError(
                    f"the file that came has the SHA-256 {self._digest.hexdigest()}, not {self._sha256}"
                )
            os.ftruncate(self._fd, self.size)
            os.fsync(self._fd)
            return self._enter(self._become)
        finally:
            self._end()

    def _become(self, path: str) -> StateFile:
        try:
            found = StateFile.verify(self._path)
        except StateError as error:
            raise StateDamagedError(f"what came is not a state file: {error}") from None
        os.replace(self._path, path)
        durable.sync_folder(os.path.dirname(path))
        return found

    def close(self) -> None:
        """Abandon it; what has come is removed. A second call does nothing."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
