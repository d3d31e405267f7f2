"""Messages between a program and the process that runs a model for it: JSON with a length in front.

What JSON doesn't know is wrapped: bytes, arrays, tuples, and the few result classes that both ends know.
Nothing is pickled, so a process that has gone wrong can send nonsense and nothing worse.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import struct
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

from ..errors import ArgumentTypeError

LONGEST = 1 << 30
_WHOLE = 512
"""Bytes that POSIX promises to write to a pipe at once."""
_LENGTH = struct.Struct(">I")


class Frames:
    """The two ends of a conversation over pipes; the writer has no buffer.

    Threads: one reads; any write, one after another.
    """

    def __init__(self, reader: IO[bytes], writer: IO[bytes]) -> None:
        self._reader = reader
        self._writer = writer
        self._lock = threading.Lock()
        self.torn = False
        """Whether a message may have been written in part; short ones go through whole or not at all."""

    def send(self, message: Mapping[str, Any]) -> None:
        """Write a message.

        An exception of a signal handler may come before or after the whole of it, see ``torn``.

        Raises:
            OSError, ValueError: the other end, or ours, is closed.
        """
        data = json.dumps(message).encode("ascii")
        left = memoryview(_LENGTH.pack(len(data)) + data)
        with self._lock:
            self.torn = len(left) > _WHOLE
            while left:
                left = left[self._writer.write(left) :]
            self.torn = False

    def receive(self) -> dict[str, Any] | None:
        """Return the next message, None at the end or if what comes is none."""
        try:
            head = self._reader.read(_LENGTH.size)
            if len(head) < _LENGTH.size:
                return None
            (length,) = _LENGTH.unpack(head)
            data = self._reader.read(length) if length <= LONGEST else b""
            message = json.loads(data) if len(data) == length else None
        except (OSError, ValueError):
            return None
        return message if isinstance(message, dict) else None

    def close(self) -> None:
        """Close our ends of both pipes."""
        for file in (self._writer, self._reader):
            try:
                file.close()
            except OSError:  # what was not written yet can't be written any more
                pass


def encode(name: str, value: Any) -> Any:
    """Return ``value`` as JSON has it.

    Raises:
        ArgumentTypeError: something that only lives in its own process; ``name`` is what it is called.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes | bytearray):
        return {"$": "bytes", "v": base64.b64encode(value).decode("ascii")}
    if isinstance(value, os.PathLike):
        return encode(name, os.fspath(value))
    fields = _fields(value)
    if fields is not None:
        return {"$": type(value).__name__, "v": {key: encode(name, each) for key, each in fields.items()}}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ArgumentTypeError(f"{name} has keys that aren't text")
        plain = {key: encode(f"{name}[{key!r}]", each) for key, each in value.items()}
        return {"$": "dict", "v": plain} if "$" in plain else plain
    if isinstance(value, list | tuple | set | frozenset):
        items = [encode(name, each) for each in value]
        return {"$": "tuple", "v": items} if isinstance(value, tuple) else items
    if hasattr(value, "dtype") and hasattr(value, "tobytes"):
        data = base64.b64encode(value.tobytes()).decode("ascii")
        return {"$": "array", "type": value.dtype.str, "shape": list(value.shape), "v": data}
    raise ArgumentTypeError(
        f"{name}: a {type(value).__name__} lives in its own process; an isolated model takes text, "
        f"numbers and lists of them"
    )


def decode(value: Any, classes: Callable[[str], Any]) -> Any:
    """Return what :func:`encode` was given; ``classes`` finds a result class by its name."""
    if isinstance(value, list):
        return [decode(each, classes) for each in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("$")
    if kind is None:
        return {key: decode(each, classes) for key, each in value.items()}
    inner = value["v"]
    if kind == "bytes":
        return base64.b64decode(inner)
    if kind == "tuple":
        return tuple(decode(each, classes) for each in inner)
    if kind == "array":
        import numpy as np

        array = np.frombuffer(base64.b64decode(inner), dtype=np.dtype(value["type"]))
        return array.reshape(value["shape"]).copy()
    fields = {key: decode(each, classes) for key, each in inner.items()}
    return fields if kind == "dict" else classes(kind)(**fields)


def _fields(value: Any) -> dict[str, Any] | None:
    """Return the fields of a named tuple or a data class."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return dict(value._asdict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None
