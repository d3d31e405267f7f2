"""Python functions that C calls.

An exception can't travel through C frames. So it is stored, the C function is told to stop by the
return value that means "stop" to it, and whoever made the call raises the exception afterwards.
While a callback is on a thread's stack, nothing may be freed on that thread (the object that is
calling might be the one): finalizers ask :func:`inside` and queue instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..errors import UnsupportedError


class _Depth(threading.local):
    depth = 0


_thread = _Depth()


def _no_guard(_depth: int) -> int:
    return 0


set_guard_depth: Callable[[int], int] = _no_guard
"""Set by the guard: while Python runs, no assertion may unwind through the interpreter's frames."""


def enter() -> int:
    """Begin a callback on this thread; returns what ``leave`` needs."""
    _thread.depth += 1
    return set_guard_depth(0)


def leave(guard_depth: int) -> None:
    """End the callback that ``enter`` began."""
    set_guard_depth(guard_depth)
    _thread.depth -= 1


def inside() -> bool:
    """Return whether a callback of ours is on this thread's stack."""
    return _thread.depth > 0


class Callback:
    """A Python function as a C function pointer.

    ``pointer`` is owned: C must not call it after this object is gone, so whoever hands it to C keeps
    the object in the handle of what will call it. Any thread may call it.
    """

    __slots__ = ("__weakref__", "_error", "_function", "_on_error", "pointer")

    def __init__(self, ffi: Any, ctype: str, function: Callable[..., Any], on_error: Any = None) -> None:
        self._function = function
        self._on_error = on_error
        self._error: BaseException | None = None
        kwargs = {} if on_error is None else {"error": on_error}
        try:
            self.pointer = ffi.callback(ctype, self._call, onerror=self._strike, **kwargs)
        except ffi.error:
            raise UnsupportedError(
                f"the headers of the llama.cpp in use have no {ctype}: what it serves needs a newer one"
            ) from None

    def _call(self, *args: Any) -> Any:
        if self._error is not None:
            return self._on_error
        guard_depth = enter()
        try:
            return self._function(*args)
        except BaseException as error:  # KeyboardInterrupt included: it must not be lost inside C
            self._error = error
            return self._on_error
        finally:
            leave(guard_depth)

    def _strike(self, _kind: object, error: BaseException, _tb: object) -> None:
        """Keep what is raised before the first line of ``_call``: Ctrl-C can strike there."""
        self._error = error

    @property
    def failed(self) -> bool:
        """Whether the function has raised."""
        return self._error is not None

    def reraise(self) -> None:
        """Raise what the function raised, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error
