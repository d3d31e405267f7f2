"""Walk over the header of a GGUF file, believing nothing.

Every count, length and offset is compared with the size of the file before anything of that size is
read or allocated. Values are passed over, not decoded: what is kept is where each one stands. So the
walk takes little memory whatever the file says: a window of the file, and a record for each entry and
each tensor that are really there.

The rules are llama.cpp's (``gguf_init_from_file`` and its model loader), and stricter where its own
getters would answer nonsense: no NUL in keys and tensor names, no key beyond 65,535 bytes, which is the
format's own limit.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from ..errors import GgufError
from . import gguf_types as types
from .gguf_types import ARRAY, ORDER, SIZES, STRING, U32, TensorType

MAX_KEY = 65_535
"""Bytes of a key: the format's own limit."""
MAX_LENGTH = 2**30
"""Bytes of a string and elements of an array: what llama.cpp takes at most."""
MAX_DEPTH = 8
"""Arrays within arrays. llama.cpp takes none at all."""

_WINDOW = 1 << 18
_SHOWN = 60
_SMALL = 4096
_U32 = struct.Struct(ORDER + "I")
_I32 = struct.Struct(ORDER + "i")
_U64 = struct.Struct(ORDER + "Q")
_I64 = struct.Struct(ORDER + "q")
_HEAD = struct.Struct(ORDER + "4sIqq")

Sizes = Callable[[int], TensorType | None]


class Entry(NamedTuple):
    """A metadata entry, and where its value stands in the file."""

    key: str
    type: int
    item: int
    """type of the elements of an array; -1 for other values"""
    length: int
    """elements of an array; 1 for other values"""
    begin: int
    """of the whole entry"""
    start: int
    """of the value: behind an array's type and count"""
    end: int


class TensorInfo(NamedTuple):
    """A tensor's entry in the header."""

    name: str
    ne: tuple[int, ...]
    """sizes as the file has them, ggml's order: the fastest dimension first"""
    type: int
    offset: int
    """of its bytes, counted from the beginning of the data"""
    begin: int
    """of the entry"""


class Header(NamedTuple):
    """All that a GGUF file says about itself."""

    version: int
    alignment: int
    entries: dict[str, Entry]
    values: dict[str, Any]
    """the values of entries that are numbers, short texts and short arrays of numbers"""
    tensors: dict[str, TensorInfo]
    info_end: int
    """where the list of tensors ends"""
    data: int
    """where the data begins: aligned if there is a tensor"""
    size: int
    """of the file"""


class Readable(Protocol):
    """Anything whose bytes can be had by their place."""

    def seek(self, position: int, /) -> object: ...

    def read(self, length: int, /) -> bytes: ...


class Scanner:
    """A window that slides over a file.

    Arguments:
        file: readable, seekable; read with ``seek`` and ``read`` only.
        size: of the file in bytes.
    """

    def __init__(self, file: Readable, size: int) -> None:
        self.file = file
        self.size = size
        self.at = 0
        self._base = 0
        self._buffer = b""

    # --- the window ---

    def need(self, count: int, what: str) -> int:
        """Make the next ``count`` bytes available; returns their index in the window."""
        index = self.at - self._base
        if index >= 0 and index + count <= len(self._buffer):
            return index
        if self.at + count > self.size:
            raise self.cut(what, count)
        self.file.seek(self.at)
        self._buffer = self.file.read(min(max(count, _WINDOW), self.size - self.at))
        self._base = self.at
        if len(self._buffer) < count:
            raise GgufError(f"the file became shorter while it was read, at byte {self.at}", offset=self.at)
        return 0

    def number(self, form: struct.Struct, what: str) -> int:
        index = self.need(form.size, what)
        self.at += form.size
        value: int = form.unpack_from(self._buffer, index)[0]
        return value

    def bytes_(self, count: int, what: str) -> bytes:
        index = self.need(count, what)
        self.at += count
        return self._buffer[index : index + count]

    def skip(self, count: int, what: str) -> None:
        if count > self.size - self.at:
            raise self.cut(what, count)
        self.at += count

    def cut(self, what: str, count: int) -> GgufError:
        return GgufError(
            f"damaged or cut off: {what} at byte {self.at} takes {count} bytes, and the file ends at "
            f"{self.size}",
            offset=self.at,
        )

    def wrong(self, words: str, at: int) -> GgufError:
        return GgufError(f"damaged: {words} (at byte {at})", offset=at)

    # --- parts ---

    def text(self, what: str, limit: int) -> str:
        """Read a short string: a key or a name."""
        at = self.at
        length = self.number(_U64, f"the length of {what}")
        if length > limit:
            raise self.wrong(f"{what} has a length of {length} bytes; at most {limit} are possible", at)
        data = self.bytes_(length, what)
        if 0 in data:
            raise self.wrong(f"{what} holds a NUL: {data[:_SHOWN]!r}", at)
        return data.decode("utf-8", "surrogateescape")

    def skip_value(self, kind: int, what: str) -> None:
        """Pass over one value that isn't an array."""
        if kind == STRING:
            at = self.at
            length = self.number(_U64, f"the length of {what}")
            if length > MAX_LENGTH:
                raise self.wrong(
                    f"{what} is a string of {length} bytes; at most {MAX_LENGTH} are possible", at
                )
            self.skip(length, f"{what} (a string)")
        else:
            self.skip(SIZES[kind], f"{what} ({types.type_name(kind)})")

    def skip_strings(self, count: int, what: str) -> None:
        """Pass over the strings of an array; the one loop whose speed counts: vocabularies are long."""
        unpack = _U64.unpack_from
        left = count
        while left:
            index = first = self.need(8, f"the length of string {count - left} of {what}")
            buffer = self._buffer
            try:
                # What lies beyond the window raises; lengths add up, so no other check is needed in here.
                for left in range(left, 0, -1):  # noqa: B007, B020
                    length = unpack(buffer, index)[0]
                    last = index
                    index += 8 + length
                left = 0
            except (struct.error, IndexError, OverflowError):
                pass
            if self._base + index > self.size:
                self.at = self._base + last
                raise self.cut(f"string {count - left - 1} of {what}", index - last)
            self.at += index - first

    def small(self, kind: int, item: int, length: int, what: str) -> Any:
        """Read a value; None, and nothing is read, if it isn't a short one."""
        many = kind == ARRAY
        if many:
            kind = item
        if kind == ARRAY or length > _SMALL or (many and kind == STRING):
            return None
        if kind == STRING:
            at = self.at
            size = self.number(_U64, f"the length of {what}")
            if size > _SMALL:
                self.at = at
                return None
            return self.bytes_(size, f"{what} (a string)").decode("utf-8", "replace")
        data = self.bytes_(length * SIZES[kind], f"{what} ({types.type_name(kind)})")
        numbers: list[Any] = list(struct.unpack(f"{ORDER}{length}{types.CODES[kind]}", data))
        if kind == types.BOOL:
            numbers = [each != 0 for each in numbers]
        return numbers if many else numbers[0]

    def array_head(self, what: str) -> tuple[int, int]:
        """Read an array's type and count; both are possible afterwards."""
        at = self.at
        item = self.number(_I32, f"the element type of {what}")
        if not 0 <= item < len(types.NAMES):
            raise self.wrong(f"{what} is an array of elements of type {item}, which GGUF doesn't have", at)
        at = self.at
        count = self.number(_U64, f"the length of {what}")
        least = {STRING: 8, ARRAY: 12}.get(item) or SIZES[item]
        if count > MAX_LENGTH:
            raise self.wrong(f"{what} has {count} elements; at most {MAX_LENGTH} are possible", at)
        if count * least > self.size - self.at:
            raise self.wrong(
                f"{what} is said to have {count} elements of {least} bytes or more; "
                f"the file ends {self.size - self.at} bytes further",
                at,
            )
        return item, count

    def skip_array(self, item: int, count: int, what: str, depth: int) -> None:
        if item == STRING:
            self.skip_strings(count, what)
        elif item != ARRAY:
            self.skip(count * SIZES[item], what)
        else:
            if depth == MAX_DEPTH:
                raise self.wrong(f"{what} has arrays in arrays, deeper than {MAX_DEPTH}", self.at)
            for index in range(count):
                inner = f"{what}[{index}]" if depth == 1 else what
                self.skip_array(*self.array_head(inner), inner, depth + 1)


def scan(
    file: Readable, size: int, sizes: Sizes | None = None, *, nested: bool = False, header_only: bool = False
) -> Header:
    """Return what the header says, or raise the first thing that is wrong with it.

    Arguments:
        file: at any position; read, not closed.
        size: of the file in bytes.
        sizes: what is known about tensor types; None: their sizes are not looked at.
        nested: take arrays of arrays, which llama.cpp refuses.
        header_only: the file may end before its data does: only what is said about it is wanted.

    Raises:
        GgufError: with the offset and the value.
    """
    window = Scanner(file, size)
    version, n_tensors, n_kv = _head(window)
    entries, values = _entries(window, n_kv, nested)
    alignment = _alignment(window, entries, values)
    tensors = _tensors(window, n_tensors, sizes)
    info_end = data = window.at
    if tensors:
        data = -(-info_end // alignment) * alignment
        end = 2**63 if header_only else size
        if data > end:
            raise GgufError(
                f"cut off: the tensors' data would begin at byte {data}; the file ends at {size}", offset=data
            )
        if sizes is not None:
            _check_data(tensors, sizes, data, alignment, end)
    return Header(version, alignment, entries, values, tensors, info_end, data, size)


def _head(window: Scanner) -> tuple[int, int, int]:
    size = window.size
    if not size:
        raise GgufError("the file is empty", offset=0)
    if size < 4 or window.bytes_(4, "the magic") != b"GGUF":
        raise GgufError("not a GGUF file", offset=0)
    if size < _HEAD.size:
        raise GgufError(f"cut off: {size} bytes are not even a GGUF header", offset=size)
    version = window.number(_U32, "the version")
    if version & 0xFFFF == 0 and version:
        raise GgufError(
            "the file is of the other byte order; convert it on a machine of that order", offset=4
        )
    if version == 1:
        raise GgufError("the file is GGUF version 1, which llama.cpp no longer reads; convert it", offset=4)
    if not 2 <= version <= types.VERSION:
        raise GgufError(
            f"the file is GGUF version {version}; llama.cpp reads 2 and {types.VERSION}", offset=4
        )
    n_tensors = window.number(_I64, "the number of tensors")
    n_kv = window.number(_I64, "the number of metadata entries")
    if n_tensors < 0 or n_kv < 0 or 24 * n_tensors + 13 * n_kv > size:
        raise GgufError(
            f"damaged or cut off: the header announces {n_tensors} tensors and {n_kv} metadata "
            f"entries, more than fit into its {size} bytes",
            offset=8,
        )
    return version, n_tensors, n_kv


def _entries(window: Scanner, n_kv: int, nested: bool) -> tuple[dict[str, Entry], dict[str, Any]]:
    entries: dict[str, Entry] = {}
    values: dict[str, Any] = {}
    for number in range(n_kv):
        begin = window.at
        key = window.text(f"the key of metadata entry {number}", MAX_KEY)
        if not key:
            raise window.wrong(f"metadata entry {number} has an empty key", begin)
        shown = repr(key[:_SHOWN])
        if key in entries:
            raise window.wrong(f"the key {shown} is there twice", begin)
        at = window.at
        kind = window.number(_I32, f"the type of {shown}")
        if not 0 <= kind < len(types.NAMES):
            raise window.wrong(f"{shown} is of type {kind}, which GGUF doesn't have", at)
        item, count, start = -1, 1, window.at
        if kind == ARRAY:
            item, count = window.array_head(shown)
            start = window.at
            if item == ARRAY and not nested:
                raise window.wrong(f"{shown} is an array of arrays, which llama.cpp doesn't take", at)
        value = window.small(kind, item, count, shown)
        if value is not None:
            values[key] = value
        elif kind == ARRAY:
            window.skip_array(item, count, shown, 1)
        else:
            window.skip_value(kind, shown)
        entries[key] = Entry(key, kind, item, count, begin, start, window.at)
    return entries, values


def _alignment(window: Scanner, entries: dict[str, Entry], values: dict[str, Any]) -> int:
    entry = entries.get(types.ALIGNMENT_KEY)
    if entry is None:
        return types.DEFAULT_ALIGNMENT
    if entry.type != U32:
        raise window.wrong(
            f"{types.ALIGNMENT_KEY} is of type {types.type_name(entry.type)}; it must be u32", entry.begin
        )
    alignment: int = values[types.ALIGNMENT_KEY]
    if alignment == 0 or alignment & (alignment - 1):
        raise window.wrong(
            f"{types.ALIGNMENT_KEY} is {alignment}; it must be a power of 2, such as 32", entry.start
        )
    return alignment


def _tensors(window: Scanner, n_tensors: int, sizes: Sizes | None) -> dict[str, TensorInfo]:
    tensors: dict[str, TensorInfo] = {}
    for number in range(n_tensors):
        begin = window.at
        name = window.text(f"the name of tensor {number}", types.MAX_NAME - 1)
        shown = repr(name)
        if name in tensors:
            raise window.wrong(f"the tensor {shown} is there twice", begin)
        at = window.at
        n_dims = window.number(_U32, f"the number of dimensions of {shown}")
        if n_dims > types.MAX_DIMS:
            raise window.wrong(f"tensor {shown} has {n_dims} dimensions; at most {types.MAX_DIMS}", at)
        at = window.at
        ne = tuple(window.number(_I64, f"dimension {index} of {shown}") for index in range(n_dims))
        product = 1
        for each in ne:
            if each < 0:
                raise window.wrong(f"tensor {shown} has the shape {ne}: a size is below 0", at)
            product *= each or 1
        if product > 2**63 - 1:
            raise window.wrong(f"tensor {shown} has the shape {ne}: too many elements", at)
        at = window.at
        kind = window.number(_I32, f"the type of {shown}")
        if sizes is not None:
            known = sizes(kind)
            if known is None or known.block == 0:
                raise window.wrong(f"tensor {shown} is of type {kind}, which this llama.cpp doesn't know", at)
            if (ne[0] if ne else 1) % known.block:
                raise window.wrong(
                    f"tensor {shown} of type {known.name} has {ne[0] if ne else 1} elements in a row, "
                    f"not a multiple of {known.block}",
                    at,
                )
        offset = window.number(_U64, f"the offset of {shown}")
        tensors[name] = TensorInfo(name, ne, kind, offset, begin)
    return tensors


def _check_data(tensors: dict[str, TensorInfo], sizes: Sizes, data: int, alignment: int, size: int) -> None:
    expected = 0
    for each in tensors.values():
        if each.offset != expected:  # so no two can overlap
            raise GgufError(
                f"damaged: tensor {each.name!r} is said to begin at byte {each.offset} of the data; the one "
                f"before it ends at {expected}",
                offset=each.begin,
            )
        kind = sizes(each.type)
        assert kind is not None
        length = types.n_bytes(kind, each.ne)
        if data + expected + length > size:
            raise GgufError(
                f"damaged or cut off: tensor {each.name!r} takes the bytes {data + expected} to "
                f"{data + expected + length}; the file ends at {size}",
                offset=each.begin,
            )
        expected += -(-length // alignment) * alignment
