"""Arrays between Python and C, moved as blocks.

Nothing here loops over elements in Python, and numpy is imported only by the functions that return one
of its arrays. Going to C, ``array.array`` does the conversion and the range check in C code; anything
with a buffer of int32 (numpy arrays, memoryviews) is taken without conversion.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentTypeError, TokenRangeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Int32s = Any
"""What holds int32 values: a list or other iterable of int, ``array('i')``, a numpy array, a memoryview."""

_INT32 = ("i", "=i", "l", "=l", *(("<i", "<l") if sys.byteorder == "little" else (">i", ">l")))
"""Formats of buffers with int32 as C has them, where their items have four bytes."""


def int32_view(values: Int32s, what: str = "tokens") -> memoryview:
    """Return a contiguous memoryview of int32: over ``values`` themselves where they are int32, else a copy.

    Raises:
        ArgumentTypeError: ``values`` isn't one-dimensional or holds something else than integers.
        TokenRangeError: a value doesn't fit into 32 bits.
    """
    if not isinstance(values, list | tuple):
        view = _as_view(values, what)
        if view is not None:
            return view
    try:
        return memoryview(array("i", values))
    except OverflowError:
        raise TokenRangeError(f"{what} hold a value that doesn't fit into 32 bits") from None
    except TypeError:
        raise ArgumentTypeError(f"{what} must be integers") from None


def int32_pointer(ffi: Any, values: Int32s, what: str = "tokens") -> tuple[Any, int]:
    """Return (``int32_t *`` over ``values``, count); the pointer keeps its memory alive by itself."""
    view = int32_view(values, what)
    return ffi.from_buffer("int32_t[]", view), view.shape[0] if view.shape else 0


def floats_to_numpy(ffi: Any, pointer: Any, *shape: int) -> NDArray[np.float32]:
    """Return a copy of the floats at ``pointer`` as a float32 array of ``shape``."""
    import numpy as np

    count = 1
    for extent in shape:
        count *= extent
    rows: NDArray[np.float32] = (
        np.frombuffer(ffi.buffer(pointer, 4 * count), np.float32).reshape(shape).copy()
    )
    return rows


def int32_to_numpy(ffi: Any, pointer: Any, count: int) -> NDArray[np.int32]:
    """Return a copy of ``count`` int32 at ``pointer``."""
    import numpy as np

    row: NDArray[np.int32] = np.frombuffer(ffi.buffer(pointer, 4 * count), np.int32).copy()
    return row


def _as_view(values: Int32s, what: str) -> memoryview | None:
    try:
        view = memoryview(values)
    except (TypeError, ValueError):  # no buffer; one of dates, which memoryview doesn't know
        if isinstance(values, Iterable):
            return None
        raise ArgumentTypeError(
            f"{what} must be a sequence of integers, not {type(values).__name__}"
        ) from None
    if isinstance(values, bytes | bytearray):
        raise ArgumentTypeError(f"{what} must be a sequence of token ids, not {type(values).__name__}")
    if view.ndim != 1:
        raise ArgumentTypeError(f"{what} must have one dimension, not {view.ndim}")
    if view.itemsize == 4 and view.format in _INT32 and view.c_contiguous:
        # Python reads items of native formats only; ctypes arrays say "<i"
        return view if view.format in ("i", "l") else view.cast("B").cast("i")
    if view.format is None or view.format.lstrip("@=<>!") not in tuple("bBhHiIlLqQnN"):
        raise ArgumentTypeError(f"{what} must be integers, not items of format {view.format!r}")
    return None
