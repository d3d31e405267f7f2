"""Files that are replaced whole or not at all.

The new content goes into a file beside the old one, reaches the disk, and takes the old one's name in a
single step: a kill at any moment leaves the one or the other. What a killed writer leaves behind is removed
by the next writer of the same name, which knows it by the lock that a living writer would hold.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from . import text as text_

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows: a file that is open can't be removed, which serves as well
    fcntl = None

SUFFIX = ".llama_ffi-part"
_SECONDS_TO_LOCK = 60


class Replacement:
    """A new content for the file at ``path``: write to ``fd``, then :meth:`commit`.

    ``mode`` are the permissions of a new file, less the process's umask; those of an old one stay. Leaving
    the ``with`` without a commit removes what was written; the old file is as it was.

    Raises:
        InvalidArgumentError, ArgumentTypeError: no file can have this name.
        OSError: the folder can't be written to, or what has the name is no file: it would be gone.
    """

    def __init__(self, path: str | bytes | os.PathLike[str] | os.PathLike[bytes], mode: int = 0o600) -> None:
        target = os.path.realpath(
            os.fsdecode(text_.encode_path(path))
        )  # the file that a link points to, not the link
        if os.path.isdir(target):
            raise IsADirectoryError(21, os.strerror(21), target)
        if os.path.exists(target) and not os.path.isfile(target):  # /dev/null, as root
            raise FileExistsError(errno.EEXIST, "It is a device, a pipe or a socket, no file", target)
        self.path = target
        self._folder, name = os.path.split(target)
        self._prefix = f".{name}."
        _remove_left_over(self._folder, self._prefix)
        self._part = os.path.join(self._folder, f"{self._prefix}{secrets.token_hex(6)}{SUFFIX}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        self.fd = os.open(self._part, flags, mode)
        try:
            if fcntl is not None:
                with contextlib.suppress(OSError):  # not every network file system has locks
                    fcntl.flock(self.fd, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError, PermissionError):
                os.chmod(self._part, os.stat(target).st_mode & 0o777)
        except BaseException:
            self._discard()
            raise

    @property
    def part(self) -> str:
        """Return the path of the new content, for writers that want one."""
        return self._part

    def reserve(self, size: int) -> None:
        """Make the file ``size`` bytes long with room for all of them on the disk.

        Raises:
            OSError: there isn't that much room.
        """
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self.fd, 0, size)
            return
        os.ftruncate(self.fd, 0)
        zeros = bytes(1 << 20)
        for begin in range(0, size, len(zeros)):
            write_all(self.fd, zeros[: size - begin])
        os.lseek(self.fd, 0, os.SEEK_SET)

    def commit(self) -> None:
        """Bring the content to the disk and put it in the old one's place."""
        os.fsync(self.fd)
        if fcntl is None:
            os.close(self.fd)
            self.fd = -1
        os.replace(self._part, self.path)
        sync_folder(self._folder)
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Replacement:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self.fd >= 0:
            self._discard()

    def _discard(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._part)
        os.close(self.fd)
        self.fd = -1


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of ``data``: one ``write`` may take only a part."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_folder(folder: str) -> None:
    """Bring the names in ``folder`` to the disk, where the system has a call for it."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    fd = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _remove_left_over(folder: str, prefix: str) -> None:
    """Remove what writers of the same name have left that were killed."""
    for part in _parts(folder, prefix):
        with contextlib.suppress(OSError):
            if fcntl is None:
                os.unlink(part)
                continue
            fd = os.open(part, os.O_RDWR)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Between a living writer's open and its lock the file is empty, and new.
                facts = os.fstat(fd)
                if facts.st_size or facts.st_mtime < time.time() - _SECONDS_TO_LOCK:
                    os.unlink(part)
            finally:
                os.close(fd)


def _parts(folder: str, prefix: str) -> Iterator[str]:
    with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.name.endswith(SUFFIX):
                yield entry.path
