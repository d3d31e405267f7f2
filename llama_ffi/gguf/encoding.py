"""Metadata values between Python and the bytes of a file.

Text that isn't UTF-8 is kept by surrogate escapes, as Python does with file names: nothing is lost, and
writing such a string gives the same bytes again.
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Sequence
from typing import Any

from .._core import check
from .._core import gguf_types as types
from .._core.gguf_types import ARRAY, BOOL, CODES, F32, F64, I32, I64, NAMES, ORDER, RANGES, STRING, U32, U64
from ..errors import ArgumentTypeError, GgufError, InvalidArgumentError
from .values import Typed

MAX_LIST = 2**24
"""Elements of an array that are turned into a Python list; larger ones have ``Field.to_numpy``."""

_DTYPES = {
    "|u1": "u8", "|i1": "i8", "|b1": "bool", "u2": "u16", "i2": "i16", "u4": "u32", "i4": "i32", "f4": "f32",
    "u8": "u64", "i8": "i64", "f8": "f64",
}  # fmt: skip
_FLOAT32_MAX = 3.4028235677973366e38
"""From here on a number rounds to infinity."""


def number_of(name: str) -> int:
    """Return the number of the type that is called ``name``."""
    if isinstance(name, str) and name in NAMES and name != "arr":
        return NAMES.index(name)
    names = ", ".join(each for each in NAMES if each != "arr")
    raise InvalidArgumentError(f"{check.shown(name)} is no type of metadata; choose one of: {names}")


# --- reading ---------------------------------------------------------------------------------------


def decode(data: bytes, kind: int, item: int, count: int, key: str) -> Any:
    """Return the value whose bytes are ``data``; they have been scanned, so they fit."""
    value, end = _decode(data, 0, kind, item, count, key)
    if end != len(data):
        raise GgufError(f"{key!r} has changed since the file was opened")
    return value


def _decode(data: bytes, at: int, kind: int, item: int, count: int, key: str) -> tuple[Any, int]:
    try:
        if kind != ARRAY:
            return _decode_one(data, at, kind)
        if count > MAX_LIST:
            raise GgufError(
                f"{key!r} has {count} elements, too many for a list (at most {MAX_LIST}); "
                f"use fields[{key!r}].to_numpy()"
            )
        if item == ARRAY:
            return _decode_arrays(data, at, count, key)
        if item == STRING:
            return _decode_strings(data, at, count)
        code, size = CODES[item], types.SIZES[item]
        values: Any = struct.unpack_from(f"{ORDER}{count}{code}", data, at)
        return [each != 0 for each in values] if item == BOOL else list(values), at + count * size
    except struct.error:
        raise GgufError(f"{key!r} has changed since the file was opened") from None


def _decode_one(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind == STRING:
        (length,) = struct.unpack_from(ORDER + "Q", data, at)
        at += 8
        return data[at : at + length].decode("utf-8", "surrogateescape"), at + length
    (value,) = struct.unpack_from(ORDER + CODES[kind], data, at)
    return value != 0 if kind == BOOL else value, at + types.SIZES[kind]


def _decode_strings(data: bytes, at: int, count: int) -> tuple[list[str], int]:
    unpack = struct.Struct(ORDER + "Q").unpack_from
    strings = []
    for _ in range(count):
        begin = at + 8
        at = begin + unpack(data, at)[0]
        strings.append(data[begin:at].decode("utf-8", "surrogateescape"))
    return strings, at


def _decode_arrays(data: bytes, at: int, count: int, key: str) -> tuple[list[Any], int]:
    values = []
    for _ in range(count):
        item, inner = struct.unpack_from(ORDER + "iQ", data, at)
        if not 0 <= item < len(NAMES) or inner > len(data):
            raise GgufError(f"{key!r} has changed since the file was opened")
        value, at = _decode(data, at + 12, ARRAY, item, inner, key)
        values.append(value)
    return values, at


# --- writing ---------------------------------------------------------------------------------------


def encode(key: str, value: Any) -> bytes:
    """Return type and value as they stand in a file behind the key.

    Without :class:`Typed`: bool → bool; int → u32, below 0 i32, else u64 or i64; float → f32; str and bytes →
    str; a list → an array of one of these; a numpy array → its own type.

    Raises:
        ArgumentTypeError: there is no type for the value, or elements of an array differ.
        InvalidArgumentError: the value doesn't fit into the type.
    """
    kind = None
    if isinstance(value, Typed):
        kind, value = number_of(value.type), value.value
    if is_list(value):
        try:
            return _pack("i", ARRAY) + _array(key, value, kind)
        except RecursionError:
            raise InvalidArgumentError(f"{key!r} holds lists in lists, too deep to be written") from None
    if kind is None:
        kind = _kind_of(key, value)
    return _pack("i", kind) + _one(key, value, kind)


def is_list(value: Any) -> bool:
    return (isinstance(value, Sequence | memoryview) and not isinstance(value, str | bytes | bytearray)) or (
        getattr(value, "ndim", 0) > 0
    )


def _pack(code: str, value: Any) -> bytes:
    return struct.pack(ORDER + code, value)


def _array(key: str, value: Any, kind: int | None) -> bytes:
    dtype = getattr(value, "dtype", None)
    if dtype is not None:
        return _numpy_array(key, value, kind)
    values = check.listed(repr(key), value, "numbers, bools or text")
    if kind is None:
        kind = _common_kind(key, values)
    head = struct.pack(ORDER + "iQ", kind, len(values))
    if kind == ARRAY:
        return head + b"".join(_array(f"{key}[{index}]", each, None) for index, each in enumerate(values))
    if kind == STRING:
        return head + b"".join(_one(f"{key}[{index}]", each, kind) for index, each in enumerate(values))
    try:  # the fast way; what doesn't fit is named by the slow one
        if kind in RANGES and all(type(each) is int for each in values):
            return head + struct.pack(f"{ORDER}{len(values)}{CODES[kind]}", *values)
    except struct.error:
        pass
    return head + b"".join(_one(f"{key}[{index}]", each, kind) for index, each in enumerate(values))


def _numpy_array(key: str, value: Any, kind: int | None) -> bytes:
    if value.ndim != 1:
        raise InvalidArgumentError(f"{key!r} is an array of {value.ndim} dimensions; metadata takes 1")
    name = _DTYPES.get(value.dtype.str if value.dtype.itemsize == 1 else value.dtype.str[1:])
    if name is None:
        raise ArgumentTypeError(f"{key!r} is an array of {value.dtype}, for which GGUF has no type")
    own = number_of(name)
    if kind is not None and kind != own:
        return _array(key, value.tolist(), kind)
    native = value.astype(value.dtype.newbyteorder(ORDER))
    return struct.pack(ORDER + "iQ", own, len(value)) + bytes(native.tobytes())


def _common_kind(key: str, values: list[Any]) -> int:
    if not values:
        raise InvalidArgumentError(
            f'{key!r} is an empty array; say of what: Typed([], "str"), Typed([], "i32") …'
        )
    if all(is_list(each) for each in values):
        return ARRAY
    if all(_is_bool(each) for each in values):
        return BOOL
    if all(isinstance(each, str | bytes) for each in values):
        return STRING
    if any(_is_bool(each) for each in values):
        raise ArgumentTypeError(f"{key!r} mixes truth values with others; an array has one type")
    numbers = [number for number in map(_index, values) if number is not None]
    if len(numbers) == len(values):
        low, high = min(numbers), max(numbers)
        # vocabularies' token types are i32, so that is what llama.cpp expects of most arrays
        for kind in (I32, U32, I64, U64):
            if RANGES[kind][0] <= low and high <= RANGES[kind][1]:
                return kind
        raise InvalidArgumentError(
            f"{key!r} holds integers from {check.shown(low)} to {check.shown(high)}: no type of GGUF has both"
        )
    if all(hasattr(each, "__float__") for each in values):
        return F32
    kinds = sorted({type(each).__name__ for each in values})
    raise ArgumentTypeError(f"{key!r} holds {', '.join(kinds)}; an array has one type: numbers, str or bool")


def _kind_of(key: str, value: Any) -> int:
    if isinstance(value, type):
        raise ArgumentTypeError(f"{key!r} is the class {value.__name__}, not a value")
    if _is_bool(value):
        return BOOL
    if isinstance(value, str | bytes):
        return STRING
    number = _index(value)
    if number is not None:
        for kind in (U32, I32, U64, I64):
            if RANGES[kind][0] <= number <= RANGES[kind][1]:
                return kind
        raise InvalidArgumentError(f"{key!r} is {check.shown(number)}, more than 64 bits hold")
    if hasattr(value, "__float__"):
        return F32
    raise ArgumentTypeError(
        f"{key!r} is of type {type(value).__name__}; metadata holds bool, int, float, str, and lists of them"
    )


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")  # numpy's


def _index(value: Any) -> int | None:
    """Return an integer's value; arrays of floats without dimensions only look like one."""
    try:
        return operator.index(value)
    except TypeError:
        return None


def _one(key: str, value: Any, kind: int) -> bytes:
    name = NAMES[kind]
    if kind == STRING:
        if isinstance(value, str):
            try:
                value = value.encode("utf-8", "surrogateescape")
            except UnicodeEncodeError as error:
                raise InvalidArgumentError(
                    f"{key!r} holds a lone surrogate (index {error.start}), which has no UTF-8"
                ) from None
        if not isinstance(value, bytes | bytearray):
            raise ArgumentTypeError(f"{key!r} is to be str, not {type(value).__name__}")
        return _pack("Q", len(value)) + bytes(value)
    if kind == BOOL:
        if not _is_bool(value):
            raise ArgumentTypeError(f"{key!r} is to be bool, not {type(value).__name__}")
        return b"\1" if value else b"\0"
    if kind in (F32, F64):
        if isinstance(value, str | bytes | bool) or not hasattr(value, "__float__"):
            raise ArgumentTypeError(f"{key!r} is to be {name}, not {type(value).__name__}")
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidArgumentError(f"{key!r} can't be {name}: {error}") from None
        if kind == F32 and math.isfinite(number) and abs(number) >= _FLOAT32_MAX:
            raise InvalidArgumentError(f'{key!r} is {number}, too large for f32; Typed(…, "f64") holds it')
        return _pack(CODES[kind], number)
    integer, (low, high) = _index(value), RANGES[kind]
    if isinstance(value, bool) or integer is None:
        raise ArgumentTypeError(f"{key!r} is to be {name}, not {type(value).__name__}")
    if not low <= integer <= high:
        raise InvalidArgumentError(f"{key!r} is {check.shown(integer)}; {name} holds {low} to {high}")
    return _pack(CODES[kind], integer)
