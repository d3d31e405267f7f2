"""Text in the making in another process: each piece is asked for, so that none is computed for nobody."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from typing import Any

from ._core.model_process import ModelProcess
from .errors import BusyError
from .generation_loop import Timings, Usage


class IsolatedGeneration:
    """Text in the making in another process: as :class:`Generation`.

    Threads: ``next()`` one at a time; ``cancel()`` any.
    """

    __slots__ = (
        "__weakref__",
        "_ended",
        "_finish",
        "_inside",
        "_made",
        "_number",
        "_process",
        "_timings",
        "_usage",
    )

    def __init__(self, process: ModelProcess, number: int, begun: Mapping[str, Any]) -> None:
        """Made by :meth:`IsolatedModel.generate`."""
        self._process = process
        self._number = number
        self._usage: Usage = begun["usage"]
        self._timings: Timings = begun["timings"]
        self._made: list[int] = []
        self._finish: str | None = None
        self._inside = threading.Lock()
        self._ended = weakref.finalize(self, process.dropped.append, number)

    @property
    def finish_reason(self) -> str | None:
        """Why it has ended: "stop", "length" or "cancelled"; None while it goes on."""
        return self._finish

    @property
    def usage(self) -> Usage:
        """Return the tokens it took so far, a copy."""
        return self._usage

    @property
    def timings(self) -> Timings:
        """Return the time it took so far, as the other process measured it, a copy."""
        return self._timings

    @property
    def tokens(self) -> list[int]:
        """Return the tokens that were chosen so far, a copy."""
        return self._made.copy()

    def __iter__(self) -> IsolatedGeneration:
        return self

    def __next__(self) -> str:
        if not self._inside.acquire(blocking=False):
            raise BusyError("another thread is inside next() of this generation")
        try:
            if self._finish is not None or not self._ended.alive:
                raise StopIteration
            answer = self._process.ask(
                "next", {"number": self._number, "seen": len(self._made)}, cancels=self._number
            )
            self._made += answer["made"]
            self._usage, self._timings, self._finish = answer["usage"], answer["timings"], answer["finish"]
            piece = answer["piece"]
            if piece is None:
                self._ended()
                raise StopIteration
            self._finish = None  # until the iteration has seen its end
            return str(piece)
        finally:
            self._inside.release()

    def cancel(self) -> None:
        """Make the running ``next()`` raise CancelledError, or the following one.

        Threads: any; returns at once.
        """
        self._process.cancel(self._number)

    def close(self) -> None:
        """End it; what it holds is freed before the next request. A second call does nothing.

        Raises:
            BusyError: another thread is inside ``next()``; ``cancel()`` it first.
        """
        if not self._inside.acquire(blocking=False):
            raise BusyError("another thread is inside next() of this generation; cancel() it first")
        self._ended()
        self._inside.release()

    def __enter__(self) -> IsolatedGeneration:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
