"""Text for a terminal: one line, no control characters, sizes a person can read."""

from __future__ import annotations

import os


def printable(text: str) -> str:
    """Return `text` with everything escaped that a terminal would obey: it may be a stranger's metadata."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def harmless(text: str) -> str:
    """Return `text` like `printable`, but with its line ends and tabs."""
    return "".join(c if c in "\n\t" else printable(c) for c in text)


def one_line(text: str) -> str:
    """Return `text` as one printable line, its lines joined by semicolons."""
    return printable("; ".join(line.strip() for line in text.splitlines() if line.strip()))


def shorten(text: str, longest: int) -> str:
    """Return `text`, cut to `longest` characters with an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def size(n_bytes: int) -> str:
    """Return a number of bytes with a binary unit."""
    value = float(n_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def read_file(path: str) -> bytes:
    """Return what is in a file that should hold a text; raise if it holds a model."""
    with open(path, "rb") as file:
        data = file.read()
    if data.startswith(b"GGUF"):
        from llama_ffi.errors import InvalidArgumentError

        raise InvalidArgumentError(
            f"{path}: is a model (GGUF), where a text is wanted; a model goes to --model"
        )
    return data


def utf8(text: str, what: str) -> str:
    """Return what an argument's bytes are in UTF-8, whatever the locale; raise unless they are."""
    try:
        raw = os.fsencode(text)
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "surrogatepass")  # from a caller of `main`
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        from llama_ffi.errors import InvalidArgumentError

        raise InvalidArgumentError(
            f"{what} isn't UTF-8: the byte 0x{raw[error.start]:02x} at byte {error.start}; "
            "convert it, with iconv for example"
        ) from None
