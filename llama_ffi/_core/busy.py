"""One call at a time: the lock of a mutable handle.

libllama's contexts, sampler chains and batches are not thread-safe. A second thread gets a
:class:`BusyError` at once instead of a place in a queue: two threads on one context are a mistake of
the program, and waiting would only hide it. The lock is a real one, so nothing leans on the GIL.
"""

from __future__ import annotations

import threading

from ..errors import BusyError

_get_ident = threading.get_ident


class BusyLock:
    """A lock that knows its holder, refuses a second caller, and lets ``close()`` wait."""

    __slots__ = ("_holder", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder = 0

    def enter(self, name: str) -> None:
        """Begin a call, or raise :class:`BusyError` if one is running."""
        if not self._lock.acquire(False):
            raise BusyError(self._message(name))
        self._holder = _get_ident()

    def leave(self) -> None:
        """End the call that ``enter`` began."""
        self._holder = 0
        self._lock.release()

    def wait(self, name: str, timeout: float = -1) -> bool:
        """Begin a call as soon as the running one has ended; False if ``timeout`` seconds were not enough.

        Raises:
            BusyError: the running call is this thread's own (we are inside one of its callbacks).
        """
        if self._holder == _get_ident():
            raise BusyError(self._message(name))
        if not self._lock.acquire(True, timeout):
            return False
        self._holder = _get_ident()
        return True

    @property
    def busy(self) -> bool:
        """Whether a call is running."""
        return self._lock.locked()

    def _message(self, name: str) -> str:
        if self._holder == _get_ident():
            return f"this {name} is inside a call of this very thread; a callback can't use what called it"
        return f"another thread is inside a call on this {name}; give each thread its own, or take turns"
