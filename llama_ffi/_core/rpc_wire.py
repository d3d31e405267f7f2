"""Ask an RPC worker who it is, without libllama: that would end the process if nobody answered.

A request is one byte with the command, eight with the length of what follows, and that; an answer is the
length and that. The greeting and the two questions asked here are what every connection begins with.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import NamedTuple

from ..errors import ArgumentTypeError, InvalidArgumentError, RpcConnectError

PORT = 50052
"""llama.cpp's own default."""

_HELLO, _DEVICE_COUNT, _DEVICE_MEMORY = 14, 15, 11
_CAPABILITIES = 24
"""Bytes; all zero: nothing but TCP."""


class Answer(NamedTuple):
    """What a worker said."""

    version: tuple[int, int, int]
    memory: tuple[tuple[int, int], ...]
    """(free, total) in bytes of each of its devices"""


def endpoint(name: str, value: object) -> tuple[str, int]:
    """Return host and port of ``"host:port"``, as libllama would read them.

    Raises:
        ArgumentTypeError: not text.
        InvalidArgumentError: no such pair, or one that libllama doesn't understand.
    """
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{name} must be text such as '127.0.0.1:{PORT}', not {type(value).__name__}")
    host, colon, port = value.partition(":")
    if not colon or not host or not host.isprintable() or " " in host or host.startswith("["):
        raise InvalidArgumentError(
            f"{name} is {value!r}; it must be HOST:PORT, '127.0.0.1:{PORT}' for example"
        )
    if ":" in port:
        raise InvalidArgumentError(f"{name} is {value!r}; workers are reached by IPv4 only: HOST:PORT")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidArgumentError(f"{name} is {value!r}; its port must be a number from 1 to 65535")
    return host, int(port)


def ask(where: str, seconds: float, protocol: tuple[int, int] | None) -> Answer:
    """Greet the worker at ``where`` ("host:port") and ask for its devices.

    Arguments:
        where: checked by :func:`endpoint`.
        seconds: how long all of it may take.
        protocol: the version that this library speaks, None = any.

    Raises:
        RpcConnectError: nobody there, somebody else there, a busy worker, or another version.
    """
    host, port = endpoint("the worker", where)
    deadline = time.monotonic() + seconds
    try:
        address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    except (OSError, UnicodeError) as error:
        raise RpcConnectError(
            f"RPC worker {where}: the host {host!r} can't be found ({_words(error)}); use its IPv4 address"
        ) from error
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(address)
        except TimeoutError:
            raise RpcConnectError(
                f"RPC worker {where}: no answer within {seconds:g} seconds; is its machine on, its port open?"
            ) from None
        except OSError as error:
            raise RpcConnectError(
                f"RPC worker {where}: can't connect ({_words(error)}); start it there with "
                f"`llama-ffi rpc-worker --port {port}`"
            ) from error
        try:
            return _converse(connection, where, deadline, protocol)
        except TimeoutError:
            raise RpcConnectError(
                f"RPC worker {where}: it let us connect and said nothing for {seconds:g} seconds: a worker "
                f"serves one process at a time, so it may be busy with another one; or it is no RPC worker"
            ) from None
        except OSError as error:
            raise RpcConnectError(
                f"RPC worker {where}: the connection broke in the greeting ({_words(error)}); is it one?"
            ) from error


def _converse(
    connection: socket.socket, where: str, deadline: float, protocol: tuple[int, int] | None
) -> Answer:
    def request(command: int, data: bytes, expected: int) -> bytes:
        connection.sendall(struct.pack("<BQ", command, len(data)) + data)
        (length,) = struct.unpack("<Q", read(8))
        if length != expected:
            raise RpcConnectError(f"RPC worker {where}: it doesn't speak llama.cpp's RPC protocol")
        return read(length)

    def read(size: int) -> bytes:
        data = b""
        while len(data) < size:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            piece = connection.recv(size - len(data))
            if not piece:
                raise RpcConnectError(
                    f"RPC worker {where}: it closed the connection in the greeting: it is no RPC worker, or "
                    f"one of another version of llama.cpp"
                )
            data += piece
        return data

    major, minor, patch, _ = struct.unpack(
        "<4B", request(_HELLO, bytes(_CAPABILITIES), 4 + _CAPABILITIES)[:4]
    )
    if protocol is not None and (major != protocol[0] or minor > protocol[1]):
        raise RpcConnectError(
            f"RPC worker {where}: it speaks version {major}.{minor} of the protocol and this library "
            f"{protocol[0]}.{protocol[1]}; run both ends from the same version of llama.cpp"
        )
    (count,) = struct.unpack("<I", request(_DEVICE_COUNT, b"", 4))
    memory = [
        struct.unpack("<QQ", request(_DEVICE_MEMORY, struct.pack("<I", device), 16))
        for device in range(count)
    ]
    return Answer((major, minor, patch), tuple((free, total) for free, total in memory))


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
