"""The types of GGUF files: of metadata values (fixed by the format) and of tensors (known to a library).

Names and numbers come from the headers, through the bindings, and need no library. How many bytes a
block of a tensor type takes stands in no header: only ggml knows, so it is asked, once per type. A table
of our own would be wrong for a fork with further types, and a library that is asked for the sizes is
the one that will read the file.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any, NamedTuple

from . import binding

ORDER = "<" if sys.byteorder == "little" else ">"
"""llama.cpp reads files in the byte order of the machine, and refuses others."""

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
"""``enum gguf_type``: numbers of the file format; a test compares them with the headers'."""

NAMES = ("u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "str", "arr", "u64", "i64", "f64")
"""What ``gguf_type_name`` says."""

CODES = {
    U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i",
    U64: "Q", I64: "q", F32: "f", F64: "d", BOOL: "B",
}  # fmt: skip
"""``struct``'s code of each type with a fixed size."""

SIZES = {
    U8: 1, I8: 1, U16: 2, I16: 2, U32: 4, I32: 4, F32: 4, BOOL: 1, U64: 8, I64: 8, F64: 8,
}  # fmt: skip

RANGES = {
    U8: (0, 2**8 - 1),
    I8: (-(2**7), 2**7 - 1),
    U16: (0, 2**16 - 1),
    I16: (-(2**15), 2**15 - 1),
    U32: (0, 2**32 - 1),
    I32: (-(2**31), 2**31 - 1),
    U64: (0, 2**64 - 1),
    I64: (-(2**63), 2**63 - 1),
}

MAX_DIMS = 4
MAX_NAME = 64
DEFAULT_ALIGNMENT = 32
VERSION = 3
ALIGNMENT_KEY = "general.alignment"


class TensorType(NamedTuple):
    """A tensor type as ggml knows it."""

    number: int
    name: str
    """as llama.cpp writes it, "q4_K" for example"""
    block: int
    """elements of a block; 0: a type that was removed"""
    size: int
    """bytes of a block"""


def type_name(number: int) -> str:
    """Return the name of a metadata type, or what to call a number that is none."""
    return NAMES[number] if 0 <= number < len(NAMES) else f"type {number}"


@lru_cache(maxsize=256)
def tensor_type(number: int) -> TensorType | None:
    """Return what the active library knows about the tensor type ``number``, None if it knows none.

    Raises:
        LibraryNotFoundError, …: no library can be used.
    """
    active = binding.active()
    # beyond the last type ggml's getters assert
    if not 0 <= number < active.ffi.integer_const("GGML_TYPE_COUNT"):
        return None
    lib = active.lib
    block = int(lib.ggml_blck_size(number))
    name = active.ffi.string(lib.ggml_type_name(number)).decode() if block else ""
    return TensorType(number, name, block, int(lib.ggml_type_size(number)))


def tensor_types() -> dict[str, TensorType]:
    """Return the active library's tensor types by their names, in lower case."""
    count: int = binding.active().ffi.integer_const("GGML_TYPE_COUNT")
    known = (tensor_type(number) for number in range(count))
    return {each.name.lower(): each for each in known if each is not None and each.block}


def n_bytes(kind: TensorType, ne: tuple[int, ...]) -> int:
    """Return how many bytes a tensor of that type and shape takes."""
    total = kind.size * (ne[0] // kind.block if ne else 1)
    for each in ne[1:]:
        total *= each
    return total


@lru_cache(maxsize=256)
def has_floats(number: int) -> bool:
    """Return whether ggml computes with a type, rather than only storing it or using it in between."""
    kind = tensor_type(number)
    return kind is not None and (kind.name == "f32" or to_float(number) != binding.active().NULL)


def to_float(number: int) -> Any:
    """Return C's function that turns blocks of a type into floats; NULL if there is none."""
    traits = binding.active().lib.ggml_get_type_traits(number)
    return traits.to_float
