"""What llama.cpp prints.

Every line goes to ``logging.getLogger("llama_ffi")`` at its own level and nowhere else: nothing appears
unless the program configures :mod:`logging` or calls :func:`to_file`. Errors carry the lines that
belong to them in ``.log`` in any case.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import IO

from ._core import check, logs
from ._core import text as text_
from .errors import LogFileError

_NAMES = {10: "DEBUG", 20: "INFO", 30: "WARN", 40: "ERROR"}


def pause() -> None:
    """Drop llama.cpp's lines until :func:`resume`; errors still carry theirs.

    Threads: any, at any time; affects the whole process.
    """
    logs.pause()


def resume() -> None:
    """Deliver llama.cpp's lines again.

    Threads: any, at any time.
    """
    logs.resume()


def forward(function: Callable[[int, bytes], None] | None) -> None:
    """Hand out llama.cpp's log to one function as C does: pieces of lines, levels in ggml's numbers.

    For programs that were written for C's log callback; what else gets the lines is not affected.

    Arguments:
        function: called with the level (``GGML_LOG_LEVEL_*``) and the piece; None = no longer. There is one
            at a time: the last that was given.

    Raises:
        ArgumentTypeError: ``function`` can't be called.

    Threads: any; it is called on the thread that logs.
    """
    if function is not None:
        check.function("function", function)
    logs.forward(function)


class LogFile:
    """A file that llama.cpp's lines are appended to, until it is closed.

    Arguments:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fsdecode(text_.encode_path(path))
        self._lock = threading.Lock()
        try:
            file = open(self.path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115
        except OSError as error:
            raise LogFileError(
                f"nothing can be appended to {self.path!r}: {error.strerror or error}"
            ) from error
        self._file: IO[str] | None = file
        logs.add_sink(self._write)

    def _write(self, level: int, line: str) -> None:
        with self._lock:
            if self._file is not None:
                self._file.write(f"{_NAMES.get(level, level)} {line}\n")

    def close(self) -> None:
        """Stop writing and close the file; a second call does nothing."""
        logs.remove_sink(self._write)
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def __enter__(self) -> LogFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


def to_file(path: str | os.PathLike[str]) -> LogFile:
    """Append llama.cpp's lines to the file ``path`` as well, one line each with its level in front.

    Returns:
        the open file; ``close()`` it, use it in a ``with``, or leave it open to the end of the process.

    Raises:
        LogFileError: the file can't be opened for appending.
        InvalidArgumentError, ArgumentTypeError: no such path can be.

    Threads: any; lines of several threads don't mix.
    """
    return LogFile(path)
