"""A GGUF file taken apart, changed, and put together again; and the numbers that changes like."""

from __future__ import annotations

import io
import random
import struct

from llama_ffi._core import gguf_types as types
from llama_ffi._core.gguf_scan import Entry, Header, scan

INTERESTING = [
    0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 33, 63, 64, 127, 128, 255, 256, 511, 512, 513, 1024, 4096, 65535,
    65536, 2**24, 2**30, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1, 2**63,
    2**64 - 32, 2**64 - 1,
]  # fmt: skip
FLOATS = [0.0, -0.0, 1.0, -1.0, 1e-45, 1e-9, 0.5, 2.0, 1e9, 3.4e38, float("inf"), float("-inf"), float("nan")]


class File:
    """A GGUF file taken apart: entries and tensors, each as bytes that can be put together again."""

    def __init__(self, data: bytes) -> None:
        header = scan(io.BytesIO(data), len(data), types.tensor_type)
        self.entries = [
            [each.key.encode("utf-8", "surrogateescape"), data[_value(each) : each.end]]
            for each in header.entries.values()
        ]
        self.tensors = [
            [each.name.encode(), list(each.ne), each.type, _bytes(data, header, each.name)]
            for each in header.tensors.values()
        ]

    def join(self, alignment: int = 32) -> bytes:
        for key, value in self.entries:
            if key == b"general.alignment" and len(value) == 8:
                (given,) = struct.unpack("<I", value[4:])
                if given and not given & (given - 1) and given <= 4096:
                    alignment = given
        parts = [b"GGUF", struct.pack("<Iqq", 3, len(self.tensors), len(self.entries))]
        parts += [string(key) + value for key, value in self.entries]
        offset = 0
        for name, ne, kind, content in self.tensors:
            parts.append(string(name) + struct.pack("<I", len(ne)))
            parts.append(b"".join(struct.pack("<Q", each % 2**64) for each in ne))
            parts.append(struct.pack("<iQ", kind, offset))
            offset += -(-len(content) // alignment) * alignment
        head = b"".join(parts)
        data = [head, bytes(-len(head) % alignment)]
        for *_, content in self.tensors:
            data += [content, bytes(-len(content) % alignment)]
        return b"".join(data)


def _value(entry: Entry) -> int:
    return entry.begin + 8 + len(entry.key.encode("utf-8", "surrogateescape"))


def _bytes(data: bytes, header: Header, name: str) -> bytes:
    info = header.tensors[name]
    kind = types.tensor_type(info.type)
    assert kind is not None
    begin = header.data + info.offset
    return data[begin : begin + types.n_bytes(kind, info.ne)]


def string(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def refill(tensor: list, rng: random.Random) -> None:  # type: ignore[type-arg]
    kind = types.tensor_type(tensor[2])
    ne = tensor[1]
    if kind is None or not kind.block or len(ne) > 4:
        return
    if ne and ne[0] % kind.block:
        ne[0] = max(1, ne[0] // kind.block) * kind.block
    length = types.n_bytes(kind, tuple(ne))
    if length <= 4_000_000:
        old = tensor[3] or b"\0"
        tensor[3] = (old * (length // len(old) + 1))[:length]
