"""The first bytes of a state file: what it holds and whom it belongs to.

::

    0    8   magic
    8    4   bytes of the description (JSON, padded with spaces)
    12   4   bytes of the tokens (int32, little-endian, sequence after sequence)
    16   8   where the payload begins, a multiple of 4096
    24   8   bytes of the payload as stored; the file ends with its last one
    32   32  SHA-256 of the bytes before, the description and the tokens
    64       description, tokens, zeros, payload

The payload is what llama.cpp wrote, as a whole or compressed; the description carries its own SHA-256.
"""

from __future__ import annotations

import array
import hashlib
import json
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..errors import StateDamagedError, StateMismatchError

FORMAT = 1
SIZE = 64
_MAGIC = b"LFFISTA\n"
_FIXED = struct.Struct("<8sIIQQ")
_ALIGNED = 4096
_MOST_JSON = 4 << 20
_MOST_SEQUENCES = 256
_ROOM = 96
"""bytes by which lengths and hashes may still grow when the description is written for good"""


@dataclass(frozen=True)
class Header:
    """What a state file says about itself."""

    kind: str
    """context or sequence"""
    commit: str
    """of the llama.cpp that wrote the payload"""
    state_version: int
    """llama.cpp's own number for the payload's format"""
    arch: str
    model: str
    """a description for people"""
    fingerprint: str
    n_ctx: int
    n_seq_max: int
    n_stream: int
    options: Mapping[str, str]
    """parameters of the context that decide what keys and values mean"""
    cells: Mapping[int, tuple[int, int, int]]
    """sequence → (first position, last position, cells)"""
    n_tokens: Mapping[int, int]
    """sequence → tokens that are stored for it"""
    made_by: str
    created: int
    """seconds since 1970"""
    length: int = 0
    """bytes of the payload as llama.cpp wrote it"""
    sha256: str = ""
    """of these bytes"""
    compression: str = ""
    """empty, or zstd"""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """what the program that saved it wants to find again (JSON)"""
    format: int = FORMAT


def reserve(header: Header) -> tuple[int, int]:
    """Return (bytes for the description, where the payload begins) for a header that isn't final yet."""
    room = len(_json(replace(header, sha256="0" * 64))) + _ROOM
    end = SIZE + room + 4 * sum(header.n_tokens.values())
    return room, -(-end // _ALIGNED) * _ALIGNED


def encode(
    header: Header, tokens: Mapping[int, array.array[int]], room: int, begin: int, stored: int
) -> bytes:
    """Return everything before the payload, ``begin`` bytes."""
    description = _json(header).ljust(room)
    blob = b"".join(little(tokens[sequence]).tobytes() for sequence in header.n_tokens)
    fixed = _FIXED.pack(_MAGIC, len(description), len(blob), begin, stored)
    digest = hashlib.sha256(fixed + description + blob).digest()
    return (fixed + digest + description + blob).ljust(begin, b"\0")


Read = Callable[[int, int], bytes]
"""(offset, length) → bytes, fewer at the end of the file"""


def decode(read: Read, size: int) -> tuple[Header, dict[int, array.array[int]], int, int]:
    """Read what stands before the payload.

    Returns:
        the header; tokens by sequence; where the payload begins; its bytes as stored.

    Raises:
        StateDamagedError: it isn't a state file, or not as it was written.
        StateMismatchError: its format is newer.
    """
    fixed = read(0, SIZE)
    if fixed[: len(_MAGIC)] != _MAGIC:
        raise StateDamagedError(f"not a state file of llama_ffi (it begins with {fixed[:8]!r})")
    if len(fixed) < SIZE:
        raise StateDamagedError(f"the file is cut off: it has {size} bytes")
    _magic, n_description, n_blob, begin, stored = _FIXED.unpack_from(fixed)
    if begin + stored != size:
        raise StateDamagedError(f"the file has {size} bytes; its header says {begin + stored}")
    if n_description > _MOST_JSON or SIZE + n_description + n_blob > begin:
        raise StateDamagedError(
            f"the header can't be: {n_description} and {n_blob} bytes before byte {begin}"
        )
    rest = read(SIZE, n_description + n_blob)
    if hashlib.sha256(fixed[: _FIXED.size] + rest).digest() != fixed[_FIXED.size :]:
        raise StateDamagedError("the header was changed: its SHA-256 is another")
    header = _parse(rest[:n_description])
    tokens: dict[int, array.array[int]] = {}
    at = n_description
    for sequence, count in header.n_tokens.items():
        if at + 4 * count > len(rest):
            raise StateDamagedError(
                f"the header says {count} tokens for sequence {sequence}, there are fewer"
            )
        ids = array.array("i", rest[at : at + 4 * count])
        tokens[sequence] = little(ids)
        at += 4 * count
    if at != len(rest):
        raise StateDamagedError(f"the header holds {len(rest) - at} bytes after its tokens")
    return header, tokens, begin, stored


def _json(header: Header) -> bytes:
    return json.dumps(asdict(header), sort_keys=True, ensure_ascii=True, allow_nan=False).encode()


def _parse(text: bytes) -> Header:
    try:
        values = json.loads(text)
        version = values.pop("format")
        if version != FORMAT:
            raise StateMismatchError(f"format {version!r}: this llama_ffi reads format {FORMAT}; update it")
        values["cells"] = {_sequence(key): _cells(*value) for key, value in values["cells"].items()}
        values["n_tokens"] = {_sequence(key): _count(value) for key, value in values["n_tokens"].items()}
        header = Header(**values)
        for name, kind in _KINDS.items():
            if type(getattr(header, name)) is not kind:
                raise TypeError(f"{name} is {getattr(header, name)!r}")
        for name in ("n_ctx", "n_seq_max", "n_stream", "state_version", "length", "created"):
            _count(getattr(header, name))
        if header.kind not in ("context", "sequence"):
            raise ValueError(f"kind is {header.kind!r}")
        if header.compression not in ("", "zstd"):
            raise StateMismatchError(f"compression {header.compression!r} is not known to this llama_ffi")
    except StateMismatchError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StateDamagedError(f"the header can't be: {type(error).__name__}: {error}") from None
    return header


_KINDS: dict[str, type] = {
    "kind": str,
    "commit": str,
    "arch": str,
    "model": str,
    "fingerprint": str,
    "made_by": str,
    "sha256": str,
    "compression": str,
    "options": dict,
    "extra": dict,
}


def _sequence(text: str) -> int:
    number = int(text)
    if not 0 <= number < _MOST_SEQUENCES:
        raise ValueError(f"sequence {number}")
    return number


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"a number is {value!r}")
    return value


def _cells(first: object, last: object, count: object) -> tuple[int, int, int]:
    return _count(first), _count(last), _count(count)


def little(ids: array.array[int]) -> array.array[int]:
    """Return int32 values as they stand in files: little-endian; from files as they are here."""
    if sys.byteorder == "little":
        return ids
    swapped = ids[:]
    swapped.byteswap()
    return swapped
