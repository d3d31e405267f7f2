"""A state's payload on its way to the disk and back, without a second copy in memory.

C writes into a mapping of the file that will be the state file, and reads from one: neither direction takes
memory of its own, however large the state is. The digest is computed while the disk is written to.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import mmap
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import StateDamagedError, StateError
from . import check

Progress = Callable[[int, int], object]
"""called with (bytes done, bytes in all); returning False cancels"""

_CHUNK = 4 << 20
_SMALL = 1 << 20
_MADV_POPULATE_WRITE = 23  # Linux; mmap names it from Python 3.14 on


def digest(view: memoryview, progress: Progress | None) -> str:
    """Return the SHA-256 of ``view`` as hex digits."""
    if progress is not None:
        check.function("progress", progress)
    sha = hashlib.sha256()
    for begin in range(0, len(view), _CHUNK):
        sha.update(view[begin : begin + _CHUNK])
        if progress is not None and progress(min(begin + _CHUNK, len(view)), len(view)) is False:
            raise StateError("cancelled by progress")
    return sha.hexdigest()


@contextlib.contextmanager
def writing_out(fd: int) -> Iterator[None]:
    """Let the disk take what ``fd`` holds while the body goes on; wait for it at the end.

    Raises:
        OSError: the disk has refused.
    """
    problems: list[BaseException] = []

    def sync() -> None:
        try:
            os.fsync(fd)
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=sync, name="llama_ffi-fsync")
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if problems:
        raise problems[0]


@contextlib.contextmanager
def mapped(fd: int, length: int, *, writable: bool) -> Iterator[mmap.mmap]:
    """Map the first ``length`` bytes of a file: shared when writable, else private to this process."""
    area = mmap.mmap(fd, length, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
    try:
        if writable and sys.platform == "linux":
            # All pages at once: three times as fast as one fault for each while C copies.
            with contextlib.suppress(OSError, ValueError):  # a kernel before 5.14
                area.madvise(_MADV_POPULATE_WRITE)
        yield area
    finally:
        area.close()


@contextlib.contextmanager
def pointer(ffi: Any, area: Any, begin: int) -> Iterator[Any]:
    """Show memory to C as ``uint8_t *``, from byte ``begin`` on; nothing is left behind."""
    whole = ffi.from_buffer("uint8_t[]", area)
    try:
        yield whole + begin
    finally:
        ffi.release(whole)


@contextlib.contextmanager
def stored(file: Any, begin: int, length: int) -> Iterator[memoryview]:
    """Show ``length`` bytes of a file from ``begin`` on: a private mapping, or a copy if they are few."""
    if length <= _SMALL:
        file.seek(begin)
        data = file.read(length)
        if len(data) != length:
            raise StateDamagedError(f"the file ends {length - len(data)} bytes too early")
        yield memoryview(data)
        return
    with mapped(file.fileno(), begin + length, writable=False) as area:
        view = memoryview(area)
        part = view[begin:]
        try:
            yield part
        finally:
            part.release()
            view.release()


# --- compressed, with the zstd of Python 3.14 or of the package zstandard ---------------------------


def compress(view: memoryview, file: Any, level: int) -> None:
    """Write ``view`` compressed to ``file``."""
    std, package = _zstd()
    if std is not None:
        writer = std.ZstdFile(file, "w", level=level)
    else:
        writer = package.ZstdCompressor(level=level).stream_writer(file, closefd=False)
    with writer:
        for begin in range(0, len(view), _CHUNK):
            writer.write(view[begin : begin + _CHUNK])


@contextlib.contextmanager
def expanded(file: Any, begin: int, length: int) -> Iterator[memoryview]:
    """Show what ``file`` from ``begin`` on expands to, in a temporary file; it must be ``length`` bytes."""
    std, package = _zstd()
    file.seek(begin)
    if std is not None:
        reader, failure = std.ZstdFile(file), std.ZstdError
    else:
        reader, failure = package.ZstdDecompressor().stream_reader(file, closefd=False), package.ZstdError
    with tempfile.TemporaryFile() as whole:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(whole.fileno(), 0, max(length, 1))
        try:
            count = _copy(reader, whole, length)
        except (failure, EOFError, MemoryError) as error:
            raise StateDamagedError(f"the payload doesn't expand: {error}") from None
        if count != length:
            raise StateDamagedError(f"the payload expands to {count} bytes or more, not to {length}")
        whole.flush()
        with stored(whole, 0, length) as view:
            yield view


def _copy(reader: Any, target: Any, most: int) -> int:
    """Copy from ``reader`` to ``target``, not much more than ``most`` bytes; return how many."""
    count = 0
    while count <= most:
        data = reader.read(_SMALL)
        if not data:
            break
        target.write(data)
        count += len(data)
    return count


def _zstd() -> tuple[Any, Any]:
    """Return (Python's own module or None, the package or None)."""
    for name in ("compression.zstd", "zstandard"):
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            return (module, None) if name == "compression.zstd" else (None, module)
    raise StateError("compression needs Python 3.14 or the package zstandard: pip install 'llama-ffi[zstd]'")
