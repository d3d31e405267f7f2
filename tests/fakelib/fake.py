"""The fake library as the tests see it: its ledger, and the switches that make calls slow or fail."""

from __future__ import annotations

import ctypes
import struct
import time
from pathlib import Path

KINDS = ("model", "context", "sampler", "chain", "adapter", "pool", "batch")


class Fake:
    """The loaded fake library; ``folder`` is what ``build`` made."""

    def __init__(self, folder: Path) -> None:
        self._c = ctypes.CDLL(str(folder / "libfake.so"))  # the very file that llama_ffi opens
        self._c.fake_mistake.restype = ctypes.c_char_p

    def live(self, kind: str | None = None) -> int:
        """Return how many C objects of a kind, or of all kinds, are not freed."""
        return sum(self._c.fake_live(each.encode()) for each in ([kind] if kind else KINDS))

    def made(self, kind: str | None = None) -> int:
        """Return how many C objects were ever made."""
        return sum(self._c.fake_made(each.encode()) for each in ([kind] if kind else KINDS))

    def mistakes(self) -> list[str]:
        """Return what the callers did wrong, in words."""
        return [self._c.fake_mistake(i).decode() for i in range(self._c.fake_mistakes())]

    def fail(self, function: str, code: int = 0) -> None:
        """Make the next call of a C function fail."""
        self._c.fake_fail(function.encode(), code)

    def delay(self, seconds: float) -> None:
        """Make every computing call take so long."""
        self._c.fake_delay(int(seconds * 1e6))

    def wait_for_a_call(self, timeout: float = 10) -> bool:
        """Wait until a call runs; False if none came in time."""
        deadline = time.monotonic() + timeout
        while self._c.fake_running() == 0:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.0001)
        return True


def model_file(folder: Path) -> Path:
    """Write what passes for a GGUF file until C reads it."""
    path = folder / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<Iqq", 3, 0, 0) + bytes(64))
    return path
