"""One call at a time: the lock of a mutable handle.

libllama's contexts, sampler chains and batches are not thread-safe. A second thread gets a
:class:`BusyError` at once instead of a place in a queue: two threads on one context are a mistake of
the program, and waiting would only hide it. The lock is a real one, so nothing leans on the GIL.
"""

from __future__ import annotations

import threading
from typing import Any

from ..errors import BusyError
from . import callbacks


class BusyLock:
    """A lock that refuses a second caller and lets ``close()`` wait.

    Ctrl-C can strike between any two of our lines and leave the lock taken. An RLock knows its owner by
    itself, so a thread that finds it in its own hands, and isn't inside a callback, knows that it was left
    over: no call of C is running on this thread while Python runs.

    ``rlock`` is for what runs once per token, where two frames of Python would be a large part of the call:
    ``if rlock._is_owned() or not rlock.acquire(False): busy.enter(name)`` is ``busy.enter(name)``.
    """

    __slots__ = ("rlock",)

    def __init__(self) -> None:
        self.rlock: Any = threading.RLock()

    def enter(self, name: str) -> None:
        """Begin a call, or raise :class:`BusyError` if one is running."""
        lock = self.rlock
        if lock._is_owned():
            if callbacks.inside():
                raise BusyError(_inside(name))
        elif not lock.acquire(False):
            raise BusyError(
                f"another thread is inside a call on this {name}; give each thread its own, or take turns"
            )

    def leave(self) -> None:
        """End the call that ``enter`` began."""
        try:
            self.rlock.release()
        except RuntimeError:  # a signal handler has closed the object meanwhile, and so ended the call
            pass

    def wait(self, name: str) -> None:
        """Begin a call as soon as the running one has ended.

        Raises:
            BusyError: the running call is this thread's own (we are inside one of its callbacks).
        """
        if not self.rlock._is_owned():
            self.rlock.acquire()
        elif callbacks.inside():
            raise BusyError(_inside(name))

    @property
    def busy(self) -> bool:
        """Whether a call is running."""
        if self.rlock._is_owned():
            return callbacks.inside()
        if not self.rlock.acquire(False):
            return True
        self.rlock.release()
        return False


class SharedLock(BusyLock):
    """The lock of a handle that shares something with others: its own, then those of what it shares."""

    __slots__ = ("__weakref__", "_others", "_own")

    def __init__(self, own: BusyLock) -> None:
        self._own = own
        self._others: list[tuple[BusyLock, str]] = []
        self.rlock = _Slowly(own, self._others)

    def share(self, other: BusyLock, name: str) -> None:
        """Hold ``other``, the lock of a ``name``, during each call from now on."""
        self._others.append((other, name))

    def enter(self, name: str) -> None:
        """Begin a call, or raise :class:`BusyError` if one is running on anything that it needs."""
        self._own.enter(name)
        held = 0
        try:
            for other, what in self._others:
                other.enter(what)
                held += 1
        except BaseException:
            for other, _ in self._others[:held]:
                other.leave()
            self._own.leave()
            raise

    def leave(self) -> None:
        """End the call that ``enter`` began."""
        self.rlock.release()

    def wait(self, name: str) -> None:
        """Begin a call as soon as the running one of this handle has ended; what it shares isn't needed."""
        self._own.wait(name)

    @property
    def busy(self) -> bool:
        """Whether a call is running on this handle."""
        return self._own.busy


class _Slowly:
    """The ``rlock`` of a shared lock: whoever asks it must ``enter``; it releases all of them."""

    __slots__ = ("_others", "_own")

    def __init__(self, own: BusyLock, others: list[tuple[BusyLock, str]]) -> None:
        self._own = own
        self._others = others

    def _is_owned(self) -> bool:
        return True

    def release(self) -> None:
        for other, _ in reversed(self._others):
            other.leave()
        self._own.leave()


def _inside(name: str) -> str:
    return f"this {name} is inside a call of this very thread; a callback can't use what called it"
