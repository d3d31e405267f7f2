"""The life that every public object with a C object behind it leads: used, closed once, a context manager."""

from __future__ import annotations

from types import TracebackType
from typing import Any, TypeVar

from .handle import Handle

_Self = TypeVar("_Self", bound="Owned")


class Owned:
    """An object that owns a C object; a subclass sets ``_handle`` when it has made one."""

    __slots__ = ("__weakref__", "_handle")

    _handle: Handle

    @property
    def ptr(self) -> Any:
        """Return the C pointer for raw calls; while you hold it, the C object isn't freed.

        Raises:
            ClosedError: closed (ConsumedError: a sampler that a chain owns now).
        """
        return self._handle.ptr

    @property
    def closed(self) -> bool:
        """Return whether it can no longer be used: closed, or owned by another object."""
        return self._handle.closed

    def close(self) -> None:
        """Give the C object up: freed now, or with the last object that was made from it.

        Waits for a running call of another thread.

        Raises:
            BusyError: called from a callback of this very object.

        Threads: any; a second close does nothing.
        """
        self._handle.close()

    def __enter__(self: _Self) -> _Self:
        _ = self._handle.ptr
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()
