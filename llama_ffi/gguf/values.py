"""Python values as GGUF's typed metadata, and the names of tensor types.

Without a type the one is taken that llama.cpp reads: ``bool``, ``str``, ``float`` → f32, ``int`` → u32 (i32
if negative, 64 bits if it must be); an array of ints is i32 if they fit. numpy's scalars and arrays carry
their own type; :class:`Typed` names any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from .._core import check
from .._core import text as text_
from .._core.binding import Binding
from ..errors import ArgumentTypeError, InvalidArgumentError

NUMBERS: dict[str, tuple[str, str]] = {
    "u8": ("UINT8", "uint8_t"),
    "i8": ("INT8", "int8_t"),
    "u16": ("UINT16", "uint16_t"),
    "i16": ("INT16", "int16_t"),
    "u32": ("UINT32", "uint32_t"),
    "i32": ("INT32", "int32_t"),
    "f32": ("FLOAT32", "float"),
    "bool": ("BOOL", "int8_t"),
    "u64": ("UINT64", "uint64_t"),
    "i64": ("INT64", "int64_t"),
    "f64": ("FLOAT64", "double"),
}
"""Names of the numeric types → GGUF_TYPE_* and the C type of an array's items."""

TYPES = (*NUMBERS, "str")

_NUMPY = {
    "bool": "bool",
    **{f"{kind}{bits}": f"{kind[0]}{bits}" for kind in ("uint", "int", "float") for bits in (8, 16, 32, 64)},
}
_FLOAT_MAX = 3.4028234663852886e38


class Typed(NamedTuple):
    """A metadata value with its type.

    C: enum gguf_type
    """

    value: Any
    """a number, a bool, text, or a list of them"""
    type: str
    """"u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "bool" or "str"; of a list, its
    items' type"""


def resolve(key: str, value: Any, type: str | None = None) -> tuple[str, bool, Any]:
    """Return (type, whether it is an array, the value as int, float, bool, bytes or a list of them).

    Raises:
        InvalidArgumentError: the value doesn't fit the type; an empty list without a type.
        ArgumentTypeError: there is no GGUF type for it.
    """
    what = f"the value of {key!r}"
    if isinstance(value, Typed):
        if type is not None:
            raise InvalidArgumentError(f"{what} has two types, {value.type!r} and {type!r}")
        value, type = value
    if type is not None and not (isinstance(type, str) and type in TYPES):
        raise InvalidArgumentError(
            f"the type of {key!r} is {check.shown(type)}; choose one of: {', '.join(TYPES)}"
        )
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        type = type or _NUMPY.get(str(value.dtype))
        if getattr(value, "ndim", 0) > 1:
            raise InvalidArgumentError(f"{what} has {value.ndim} dimensions; GGUF's arrays have one")
        value = value.tolist()
    if isinstance(value, str | bytes | bool | int | float):
        type = type or _guess(value, array=False)
        return type, False, _convert(what, value, type)
    if not isinstance(value, Iterable):
        raise ArgumentTypeError(f"{what} is a {value.__class__.__name__}; GGUF has no type for that")
    items = check.listed(what, value, "numbers, bools or text")
    if type is None:
        type = _common(what, items)
    return type, True, [_convert(f"{what}[{index}]", item, type) for index, item in enumerate(items)]


def _guess(value: Any, array: bool) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str | bytes):
        return "str"
    if isinstance(value, float):
        return "f32"
    if -(2**31) <= value < (2**31 if array else 0):
        return "i32"
    if 0 <= value < 2**32:
        return "u32"
    return "i64" if value < 0 else "u64"


def _common(what: str, items: list[Any]) -> str:
    if not items:
        raise InvalidArgumentError(
            f"{what} is an empty list; name the type of its items with Typed([], type)"
        )
    types = {_guess(item, array=True) for item in items if isinstance(item, str | bytes | bool | int | float)}
    whole = {"i32", "u32", "i64", "u64"}
    if len(types) > 1 and types <= whole:
        low, high = min(items), max(items)
        if low < 0:
            return "i64"
        return "u32" if high < 2**32 else "u64"
    if len(types) > 1 and types <= {*whole, "f32"}:
        return "f32"
    if len(types) != 1:
        raise ArgumentTypeError(f"{what} must be a list of numbers, of bools or of text, not a mixture")
    return types.pop()


def _convert(what: str, value: Any, type: str) -> Any:
    if type == "str":
        return text_.encode_c(value, what)
    if type == "bool":
        if not isinstance(value, bool):
            raise ArgumentTypeError(f"{what} must be True or False, not {value!r}")
        return value
    if type in ("f32", "f64"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ArgumentTypeError(f"{what} must be a number, not {value!r}")
        try:
            number = float(value)
        except OverflowError:
            raise InvalidArgumentError(f"{what} is {check.shown(value)}, too large for {type}") from None
        if type == "f32" and _FLOAT_MAX < abs(number) < float("inf"):
            raise InvalidArgumentError(f"{what} is {number}, too large for f32")
        return number
    bits = int(type[1:])
    low, high = (0, 2**bits - 1) if type[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return check.integer(what, value, low, high, f"it is of type {type}")


def tensor_type(active: Binding, type: str | int) -> int:
    """Return the ``enum ggml_type`` of a tensor type's name, such as "f32" or "q4_K".

    Raises:
        InvalidArgumentError: there is no such type.
    """
    members = {member.name.lower(): member for member in active.enums.CLASSES["ggml_type"]}
    count = members.pop("count")
    value = int(check.choice("the tensor's type", type, members))
    if not 0 <= value < count or active.lib.ggml_blck_size(value) <= 0:
        raise InvalidArgumentError(f"the tensor's type is {type!r}, which llama.cpp doesn't have")
    return value


def row_check(name: str, type: str, width: int, block: int) -> None:
    """Raise unless rows of ``width`` values can be cut into blocks of ``block``."""
    if width % block:
        raise InvalidArgumentError(
            f"tensor {name!r} has rows of {width} values; type {type} needs a multiple of {block}"
        )
