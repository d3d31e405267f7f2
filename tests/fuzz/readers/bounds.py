"""What one input may cost."""

from __future__ import annotations

import contextlib
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

SECONDS = 3.0
"""of CPU time, so that a busy machine makes no findings"""
MEMORY = 64 << 20
"""bytes, and twenty times the input"""


class TooLongError(BaseException):
    """One input took too long; not an Exception, so that no reader catches it."""


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """Raise TooLongError if the body computes for more than :data:`SECONDS`."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooLongError(f"more than {SECONDS} seconds of CPU time")

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def measured(one: Callable[[bytes, Path], bool], data: bytes, folder: Path) -> bool:
    """Read an input and look at the memory that Python took meanwhile."""
    tracemalloc.start()
    try:
        good = one(data, folder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if peak > MEMORY + 20 * len(data):
        raise AssertionError(f"{peak} bytes of memory for an input of {len(data)}")
    return good
