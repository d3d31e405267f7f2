"""Who may look at the adapters of a model: many readers, or one who changes them.

libllama keeps the list of a model's adapters without a lock, and walks over it whenever it plans its
buffers: while a context is made, and in the first decode after certain settings have changed. Loading and
freeing an adapter change that list. So whoever makes a call of either kind goes through the model's gate.
Nobody waits there: the second one gets BusyError, and a finalizer leaves the object for later.
"""

from __future__ import annotations

import threading

from ..errors import BusyError
from . import callbacks


class Gate:
    """The gate of one model.

    A thread is known by its number, so what Ctrl-C leaves behind between two of our lines is recognised: no
    call of C is running on a thread that is here again, unless it is inside of a callback.
    """

    __slots__ = ("_lock", "_readers", "_writer")

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a finalizer can come in between on the thread that has it
        self._readers: set[int] = set()
        self._writer = 0

    def reading(self, what: str) -> _Reading:
        """Return a context manager for a call that looks at the adapters.

        Raises, on entering:
            BusyError: another thread is loading an adapter.
        """
        return _Reading(self, what)

    def writing(self, what: str) -> _Writing:
        """Return a context manager for a call that changes them.

        Raises, on entering:
            BusyError: another thread is inside of a call that looks at them, or changes them.
        """
        return _Writing(self, what)

    def open(self, also_for: int = 0) -> bool:
        """Begin a change, or return False if that can't be now; ``shut`` ends it.

        Arguments:
            also_for: the thread whose own unfinished change is one that Ctrl-C left behind.
        """
        with self._lock:
            if self._writer not in (0, also_for) or self._readers - {threading.get_ident()}:
                return False
            if callbacks.inside():
                return False
            self._writer = threading.get_ident()
            return True

    def shut(self) -> None:
        """End the change that ``open`` began."""
        self._writer = 0


class _Reading:
    __slots__ = ("_gate", "_mine", "_what")

    def __init__(self, gate: Gate, what: str) -> None:
        self._gate = gate
        self._what = what
        self._mine = False

    def __enter__(self) -> None:
        gate, me = self._gate, threading.get_ident()
        with gate._lock:
            if gate._writer not in (0, me):
                raise BusyError(
                    f"{self._what}: another thread is loading or freeing an adapter of this model; try again "
                    f"when it is done"
                )
            self._mine = me not in gate._readers or not callbacks.inside()
            gate._readers.add(me)

    def __exit__(self, *_exc: object) -> None:
        if self._mine:
            self._gate._readers.discard(threading.get_ident())


class _Writing:
    __slots__ = ("_gate", "_what")

    def __init__(self, gate: Gate, what: str) -> None:
        self._gate = gate
        self._what = what

    def __enter__(self) -> None:
        if not self._gate.open(also_for=threading.get_ident()):
            raise BusyError(
                f"{self._what}: another thread is making a context of this model, planning one anew, "
                f"or loading another adapter; try again when it is done"
            )

    def __exit__(self, *_exc: object) -> None:
        self._gate.shut()
