"""The project's folder in the user's cache, and a lock that holds between processes.

Everything below that folder can be deleted at any time; it is only ever filled by renaming finished things
into place, so a reader needs no lock and never sees half of anything.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path


def cache_folder() -> Path:
    """Return the cache folder: `LLAMA_FFI_CACHE`, else `llama_ffi` in the platform's own place for caches."""
    chosen = os.environ.get("LLAMA_FFI_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
        return Path(base) / "llama_ffi" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "llama_ffi"
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification says to ignore a relative XDG_CACHE_HOME.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "llama_ffi"


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _unlock(descriptor: int) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def locked(path: Path, waiting_for: str = "") -> Iterator[int]:
    """Hold an exclusive lock on `path` while the body runs; other processes wait. Give its descriptor.

    The operating system drops the lock when its holder dies, so a killed build leaves nothing to clean up. On
    POSIX a child that inherits the descriptor is a holder too, until the body ends.
    The file stays: removing it would let two processes lock two different files of the same name.
    `waiting_for` is said once on stderr if somebody else holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        said = False
        while not _try_lock(descriptor):
            if waiting_for and not said:
                print(f"llama_ffi: waiting for another process: {waiting_for}", file=sys.stderr, flush=True)
                said = True
            time.sleep(0.1)
        try:
            yield descriptor
        finally:
            _unlock(descriptor)  # closing wouldn't: a compiler's cache server may have inherited it
    finally:
        os.close(descriptor)
