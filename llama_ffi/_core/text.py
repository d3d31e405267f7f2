"""Text on its way to C and back.

llama.cpp speaks UTF-8. Python text can hold lone surrogates, which have no UTF-8, and NUL characters,
which end a C string early: both are refused here by name rather than cut off silently over there.
Tokens don't respect character borders, so text that comes back is joined by :class:`Utf8Decoder`.
"""

from __future__ import annotations

import codecs
import os

from ..errors import ArgumentTypeError, InvalidArgumentError


def encode(text: str | bytes | bytearray | memoryview, what: str = "text") -> bytes:
    """Return ``text`` as UTF-8 bytes; bytes pass through unchanged.

    Raises:
        ArgumentTypeError: ``text`` is neither text nor bytes.
        InvalidArgumentError: ``text`` holds a lone surrogate.
    """
    if isinstance(text, str):
        try:
            return text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidArgumentError(
                f"{what} holds a lone surrogate (U+{ord(text[error.start]):04X} at index {error.start}), "
                f'which has no UTF-8; encode it yourself, e.g. with errors="replace", and pass bytes'
            ) from None
    if isinstance(text, bytes):
        return text
    if isinstance(text, bytearray | memoryview):
        return bytes(text)
    raise ArgumentTypeError(f"{what} must be str or bytes, not {type(text).__name__}")


def encode_c(text: str | bytes, what: str = "text") -> bytes:
    """Return ``text`` as UTF-8 for a NUL-terminated C string.

    Raises:
        ArgumentTypeError: ``text`` is neither text nor bytes.
        InvalidArgumentError: ``text`` holds a lone surrogate or a NUL.
    """
    data = encode(text, what)
    at = data.find(b"\0")
    if at >= 0:
        raise InvalidArgumentError(f"{what} holds a NUL at byte {at}; C would stop reading there")
    return data


def encode_path(path: str | bytes | os.PathLike[str] | os.PathLike[bytes], what: str = "path") -> bytes:
    """Return ``path`` as libllama wants it: UTF-8 on Windows, the file system's encoding elsewhere."""
    try:
        native = os.fspath(path)
    except TypeError:
        raise ArgumentTypeError(
            f"{what} must be a str, bytes or path object, not {type(path).__name__}"
        ) from None
    try:
        data = (
            native.encode("utf-8", "surrogatepass")
            if os.name == "nt" and isinstance(native, str)
            else os.fsencode(native)
        )
    except UnicodeEncodeError:
        raise InvalidArgumentError(
            f"{what} {native!r} holds a character that no file name can have"
        ) from None
    if b"\0" in data:
        raise InvalidArgumentError(f"{what} holds a NUL: {native!r}")
    if not data:
        raise InvalidArgumentError(f"{what} is empty")
    return data


class Utf8Decoder:
    """Join the byte pieces of tokens to text that is always valid.

    A character whose bytes are spread over tokens is held back until it is complete; bytes that can
    never become a character turn into U+FFFD. Not for use by two threads at once.
    """

    __slots__ = ("_decode", "_reset")

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decode = decoder.decode
        self._reset = decoder.reset

    def feed(self, piece: bytes) -> str:
        """Return the text that ``piece`` completes; "" while a character is still open.

        Raises:
            ArgumentTypeError: ``piece`` isn't bytes.
        """
        try:
            return self._decode(piece)
        except TypeError:
            raise ArgumentTypeError(f"a piece must be bytes, not {type(piece).__name__}") from None

    def flush(self) -> str:
        """Return what is still held back, as U+FFFD, and start afresh."""
        rest = self._decode(b"", True)
        self._reset()
        return rest
