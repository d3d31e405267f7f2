"""Who owns a C object, what must outlive it, and when it is freed.

The owner of a C object is the one cffi pointer that the C function returned: a ``weakref.finalize`` on
that pointer frees the object when the last reference to the pointer goes. Everything follows from it:

- A child's finalizer holds its parents' pointers as arguments, so a parent can't be freed first, not
  even when both die in one reference cycle; and ``close()`` on a parent only drops the parent's own
  reference, which defers the free to its last child.
- A running call holds the pointer in its frame, so ``close()`` in another thread can't free under it.
- Whoever keeps ``model.ptr`` for raw calls keeps the C object alive.
- At exit the handles drop their pointers. What a daemon thread is still using stays referenced by
  that thread's frame and is left to the operating system.

No ``__del__`` and no finalizer at exit: both can run when half of the interpreter is gone.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import ClosedError, ConsumedError, ForkedError, NativeAbortError, PoisonedError
from . import callbacks
from .busy import BusyLock, SharedLock
from .gate import Gate

_generation = 0
"""Which process this is, counted in forks: a handle of another generation is dead here."""

_exit_thread = 0
"""The thread that runs our exit hook, from its beginning on."""

_exited = False
_struck = False
"""Whether Ctrl-C struck inside a finalizer and waits for the next safe call."""

_records: dict[int, _Record] = {}
_queue: deque[_Record] = deque()


class _Record:
    """What the finalizer of a pointer needs; it must not reference that pointer itself."""

    __slots__ = ("address", "destroy", "gate", "generation", "handle", "keep", "leak", "process")

    def __init__(
        self,
        address: Any,
        destroy: Callable[[Any], object],
        keep: list[Any],
        handle: Handle,
        gate: Gate | None,
    ) -> None:
        self.address = address
        self.destroy = destroy
        self.keep = keep
        self.gate = gate
        self.generation = _generation
        self.process = os.getpid()
        self.leak = False
        self.handle = weakref.ref(handle)


class Handle:
    """One owned C object.

    Arguments:
        ffi: the ffi of the active bindings.
        pointer: what the C function returned; never NULL, owned from here on.
        destroy: the C function that frees it.
        name: what the user calls it ("model", "context"), for messages.
        keep: what must outlive it: pointers of parents, callbacks, buffers.
        exclusive: True if only one call may run at a time.
        cancel: one byte that makes a running call of C stop when it isn't zero.
        gate: what must be open while it is freed.

    ``with handle as pointer:`` makes an exclusive call; ``enter`` and ``leave`` do so in half as many
    instructions. ``handle.ptr`` is for objects that C lets several threads read.
    """

    __slots__ = (
        "__weakref__",
        "_cancel",
        "_finalizer",
        "_lock",
        "_pointer",
        "_record",
        "_state",
        "_why",
        "name",
    )

    def __init__(
        self,
        ffi: Any,
        pointer: Any,
        destroy: Callable[[Any], object],
        name: str,
        *,
        keep: Iterable[Any] = (),
        exclusive: bool = False,
        cancel: Any = None,
        gate: Gate | None = None,
    ) -> None:
        if _queue:
            drain()
        self.name = name
        self._pointer = pointer
        self._state: type[ClosedError] | None = None
        self._why = ""
        self._lock = BusyLock() if exclusive else None
        self._cancel = cancel
        kept = list(keep) if cancel is None else [*keep, cancel]
        self._record = _Record(ffi.cast(ffi.typeof(pointer), pointer), destroy, kept, self, gate)
        self._finalizer = weakref.finalize(pointer, _release, self._record)
        self._finalizer.atexit = False
        _records[id(self._record)] = self._record

    # --- using ---

    @property
    def ptr(self) -> Any:
        """Return the pointer; keep it in a local variable for as long as C uses it.

        Raises:
            ClosedError: closed (ConsumedError: given to another object; PoisonedError: aborted in C).
            ForkedError: made before ``fork()``, used after it in the child.
        """
        pointer = self._pointer
        if pointer is None or self._record.generation != _generation:
            raise self._unusable()
        return pointer

    def enter(self) -> Any:
        """Begin a call and return the pointer; ``leave`` must end it.

        Raises: as ``ptr``; BusyError: a call is running.
        """
        if _queue or _struck:
            drain()
        pointer = self._pointer
        if pointer is None or self._record.generation != _generation:
            raise self._unusable()
        lock = self._lock
        if lock is not None:
            rlock = lock.rlock
            if rlock._is_owned() or not rlock.acquire(False):
                lock.enter(self.name)
            if self._pointer is None:  # closed while we were at the door
                lock.leave()
                raise self._unusable()
        return pointer

    def leave(self, error: BaseException | None = None) -> None:
        """End the call that ``enter`` began; ``error`` is what it failed with."""
        lock = self._lock
        if lock is not None:
            if error is not None and isinstance(error, NativeAbortError):
                self.poison(str(error))
            try:
                lock.rlock.release()
            except RuntimeError:  # see BusyLock.leave
                pass
        if error is not None and _exit_thread:
            _leave_quietly()

    __enter__ = enter

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _tb: object) -> None:
        self.leave(error)

    @property
    def consumed(self) -> bool:
        """Whether it was handed to another object."""
        return self._state is ConsumedError

    @property
    def closed(self) -> bool:
        """Whether the object can no longer be used: closed, consumed or left behind by a fork."""
        return self._pointer is None or self._record.generation != _generation

    @property
    def busy(self) -> bool:
        """Whether a call is running on it."""
        return self._lock is not None and self._lock.busy

    def cancel(self) -> None:
        """Make the running call stop, or else the next one; from any thread, without waiting."""
        if self._cancel is not None:
            self._cancel[0] = 1

    def share_lock(self, other: Handle) -> None:
        """Let every call on this object be one on ``other`` as well; both are exclusive.

        The caller holds both.
        """
        lock, shared = self._lock, other._lock
        assert lock is not None and shared is not None
        if not isinstance(lock, SharedLock):
            lock = self._lock = SharedLock(lock)
        lock.share(shared, other.name)

    # --- what it keeps alive ---

    def keep(self, *objects: Any) -> None:
        """Keep ``objects`` alive for as long as the C object lives."""
        self._record.keep.extend(objects)

    def kept(self) -> tuple[Any, ...]:
        """Return what the C object keeps alive."""
        return tuple(self._record.keep)

    def release(self, *objects: Any) -> None:
        """Stop keeping ``objects`` alive, each once; what isn't kept is passed over."""
        keep = self._record.keep
        for object_ in objects:
            for index, kept in enumerate(keep):
                if kept is object_:
                    del keep[index]
                    break

    # --- ending ---

    def close(self) -> None:
        """Give the C object up: freed now, or when its last child and its last running user are gone.

        Waits for a running exclusive call. A second close does nothing.

        Raises:
            BusyError: called from a callback of this very object.
        """
        if self._pointer is None:
            return
        if self._record.generation != _generation:  # the parent process frees it; locks may be held for ever
            self._pointer = None
            return
        if self._lock is None:
            self._drop()
            return
        self._lock.wait(self.name)
        try:
            self._drop()
        finally:
            self._lock.leave()

    def _drop(self) -> None:
        self._end(ClosedError, f"this {self.name} is closed")
        if _queue or _struck:
            drain()

    def _end(self, state: type[ClosedError], why: str) -> None:
        if self._state is None:
            self._state, self._why = state, why
        self._pointer = None

    def consume(self, by: Handle) -> Any:
        """Hand ownership to ``by``, whose C object frees this one from now on; return the pointer.

        The caller holds this handle (``with``) if it is exclusive.
        """
        pointer = self.ptr
        self._finalizer.detach()
        _records.pop(id(self._record), None)
        by.keep(*self._record.keep)
        self._record.keep.clear()
        self._end(ConsumedError, f"this {self.name} belongs to a {by.name} now")
        return pointer

    def poison(self, why: str) -> None:
        """Mark the C object as unusable after an abort inside it: only ``close()`` works, and leaks."""
        self._record.leak = True
        self._end(PoisonedError, f"this {self.name} can't be used any more, only closed: {why}")

    def _unusable(self) -> ClosedError | ForkedError:
        if _exit_thread:
            _leave_quietly()
        if self._record.generation != _generation:
            return ForkedError(
                f"this {self.name} was made before fork(); make a new one in the child process "
                f"(or start processes with the 'spawn' method)"
            )
        return (self._state or ClosedError)(self._why or f"this {self.name} is closed")


_leaked: list[_Record] = []


def _release(record: _Record) -> None:
    """Free the C object of ``record``: the finalizer, on whatever thread dropped the last reference.

    A signal that arrives meanwhile raises in here, where Python would print and forget it: it is kept for the
    next safe call.
    """
    global _struck
    try:
        _free(record)
    except KeyboardInterrupt:
        _struck = True
        if record.address is None:
            record.keep.clear()
        else:
            _queue.append(record)


def _free(record: _Record) -> None:
    # other modules' fork hooks run Python before ours counts the fork, and a collection may come with them
    if record.process != os.getpid() or _exited:
        _records.pop(id(record), None)
        return
    gate = record.gate
    if callbacks.inside() or (gate is not None and not gate.open()):
        _queue.append(record)
        return
    try:
        _records.pop(id(record), None)
        if record.leak:
            _leaked.append(record)  # with all it refers to, which C may still reach
            return
        address, record.address = record.address, None  # whatever strikes now: never twice
        record.destroy(address)
    finally:
        if gate is not None:
            gate.shut()
    record.keep.clear()  # the parents, only after the child


def drain() -> None:
    """Free what finalizers had to queue, raise the Ctrl-C that struck in one; every safe call does this."""
    global _struck
    if callbacks.inside():
        return
    if _struck:
        _struck = False
        raise KeyboardInterrupt
    for _ in range(len(_queue)):  # what can't be freed now goes to the end again
        try:
            record = _queue.popleft()
        except IndexError:
            return
        _release(record)


def live() -> int:
    """Return how many C objects are owned and not yet freed."""
    return len(_records)


def owned(pointer: Any) -> bool:
    """Return whether a handle owns what ``pointer`` points to."""
    return any(record.address == pointer for record in list(_records.values()))


def handles() -> list[Handle]:
    """Return the handles that still exist."""
    return [handle for record in list(_records.values()) if (handle := record.handle()) is not None]


def close_all(timeout: float) -> None:
    """Drop every handle's pointer: frees what is idle, leaves what is in use after ``timeout`` s."""
    global _exited, _exit_thread, _struck
    _exit_thread = threading.get_ident()
    deadline = time.monotonic() + timeout
    for handle in handles():
        handle.cancel()
    for handle in handles():
        lock = handle._lock
        if lock is None:
            continue
        while lock.busy and time.monotonic() < deadline:
            time.sleep(0.002)
    for handle in handles():
        if not handle.busy:
            handle._end(ClosedError, "the interpreter is exiting")
    _struck = False  # too late to be of use
    drain()
    _exited = True


def _leave_quietly() -> None:
    """End a daemon thread that still calls while the interpreter exits: its errors would only be noise.

    SystemExit ends a thread without a word, and lets an exit hook that joins it go on.
    """
    if threading.get_ident() != _exit_thread:
        raise SystemExit


def _after_fork_in_child() -> None:
    global _generation
    _generation += 1
    _records.clear()
    _queue.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

# The first finalizer of a process makes weakref register an exit hook that disarms all finalizers. Exit hooks
# run last to first: with a first finalizer here, before our own hook is registered, close_all() still frees.
weakref.finalize(Handle, int).atexit = False
