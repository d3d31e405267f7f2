"""Damage that looks at nothing but where the header ends: what checks of counts and offsets must stop."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable

from llama_ffi._core.gguf_scan import scan
from tests.fuzz.gguf.file import INTERESTING


def _header_end(data: bytes) -> int:
    return scan(io.BytesIO(data), len(data)).info_end


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed, end = bytearray(data), _header_end(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        changed[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(_header_end(data) if rng.random() < 0.7 else len(data))]


def overwrite(data: bytes, rng: random.Random) -> bytes:
    changed, end = bytearray(data), _header_end(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        form = rng.choice(["<B", "<H", "<I", "<Q"])
        at = rng.randrange(max(1, end - 8))
        struct.pack_into(form, changed, at, rng.choice(INTERESTING) % 2 ** (8 * struct.calcsize(form)))
    return bytes(changed)


def counts(data: bytes, rng: random.Random) -> bytes:
    """Lie about a count, a length or an offset that is really one."""
    header = scan(io.BytesIO(data), len(data))
    places = [(8, 8), (16, 8)]
    for entry in header.entries.values():
        places.append((entry.begin, 8))
        if entry.item >= 0:
            places += [(entry.start - 8, 8), (entry.start - 12, 4), (entry.start, 8)]
        else:
            places.append((entry.start - 4, 4))
    for info in header.tensors.values():
        dims = info.begin + 8 + len(info.name)
        places += [(info.begin, 8), (dims, 4), (dims + 4, 8), (dims + 4 + 8 * len(info.ne) + 4, 8)]
        places.append((dims + 4 + 8 * len(info.ne), 4))
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2])):
        at, size = rng.choice(places)
        old = int.from_bytes(changed[at : at + size], "little")
        near = [old + 1, old - 1, old * 2, old + 32, old ^ (1 << rng.randrange(8 * size))]
        new = rng.choice([rng.choice(INTERESTING), *near])
        changed[at : at + size] = (new % 2 ** (8 * size)).to_bytes(size, "little")
    return bytes(changed)


def splice(data: bytes, rng: random.Random) -> bytes:
    end = _header_end(data)
    at, length = rng.randrange(end), rng.choice([1, 4, 8, 32, 200])
    if rng.random() < 0.5:
        return data[:at] + data[at + length :]
    return data[:at] + data[rng.randrange(end) :][:length] + data[at:]


BLIND: list[Callable[[bytes, random.Random], bytes]] = [flip_bits, cut, overwrite, counts, splice]
