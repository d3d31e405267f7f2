"""Tensors of a GGUF file: where they stand, and their values as numpy arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .._core import binding
from .._core import gguf_types as types
from .._core.gguf_scan import TensorInfo
from .._core.gguf_types import TensorType
from ..errors import GgufError, UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PLAIN = {"f32": "f4", "f16": "f2", "f64": "f8", "i8": "i1", "i16": "i2", "i32": "i4", "i64": "i8"}
"""Types whose elements numpy knows, and numpy's name for them."""

_PIECE = 1 << 22


class GgufTensor:
    """One tensor of a :class:`GgufFile`.

    Arguments:
        info: what the header says.
        data: where the tensors' data begins in the file, in bytes.
        kind: its type; None = ask ggml when it's needed.
        buffer: gives (offset, bytes) of the file as a buffer.
        read: gives (offset, bytes) of the file as a copy.

    Threads: any.
    """

    __slots__ = ("_buffer", "_kind", "_read", "name", "ne", "offset", "type_number")

    name: str
    ne: tuple[int, ...]
    """sizes in ggml's order: the fastest dimension, the length of a row, comes first"""
    type_number: int
    """``enum ggml_type``"""
    offset: int
    """of its first byte, counted from the beginning of the file"""

    def __init__(
        self,
        info: TensorInfo,
        data: int,
        kind: TensorType | None,
        buffer: Callable[[int, int], Any],
        read: Callable[[int, int], bytes],
    ) -> None:
        self.name = info.name
        self.ne = info.ne
        self.type_number = info.type
        self.offset = data + info.offset
        self._kind = kind
        self._buffer = buffer
        self._read = read

    def __repr__(self) -> str:
        return f"<llama_ffi.gguf.GgufTensor {self.name!r}: {self.type} {list(self.shape)}>"

    @property
    def kind(self) -> TensorType:
        """Return number, name, block and block size of its type; a copy.

        C: ggml_blck_size, ggml_type_size

        Raises:
            LibraryNotFoundError: only a library knows the sizes, and there is none.
        """
        if self._kind is None:
            kind = types.tensor_type(self.type_number)
            if kind is None or not kind.block:
                raise GgufError(
                    f"tensor {self.name!r} is of type {self.type_number}, which this llama.cpp doesn't know"
                )
            self._kind = kind
        return self._kind

    @property
    def type(self) -> str:
        """Return the name of its type in lower case: "f32", "q4_k". C: ggml_type_name"""
        return self.kind.name.lower()

    @property
    def shape(self) -> tuple[int, ...]:
        """Return its shape in numpy's order, the row length last: ``ne`` turned around."""
        return tuple(reversed(self.ne))

    @property
    def n_elements(self) -> int:
        """Return how many values it has. C: ggml_nelements"""
        return math.prod(self.ne)

    @property
    def n_bytes(self) -> int:
        """Return how many bytes it takes in the file."""
        return types.n_bytes(self.kind, self.ne)

    @property
    def data(self) -> NDArray[Any]:
        """Return its values without copying, read-only.

        f32, f16, f64, i8, i16, i32 and i64 have their own dtype and :attr:`shape`. All others, bf16 included,
        are raw blocks: uint8, one row of blocks for each row of the tensor; :meth:`dequantize` turns them
        into numbers.

        Returns:
            borrowed from the file's map, which it keeps when the file is closed (with ``mmap=False``: a copy)

        Raises:
            ClosedError: the file is closed.
            GgufError: numpy has no such shape: one of no elements with the rest beyond 63 bits.
        """
        import numpy as np

        kind, name = self.kind, self.type
        if name in PLAIN:
            dtype, shape = np.dtype(PLAIN[name]), self.shape
        else:
            row = kind.size * ((self.ne[0] if self.ne else 1) // kind.block)
            dtype, shape = np.dtype("u1"), (*self.shape[:-1], row)
        buffer = self._buffer(self.offset, self.n_bytes)
        values = self._shaped(lambda: np.frombuffer(buffer, dtype).reshape(shape))
        values.flags.writeable = False
        return values

    def _shaped(self, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        try:
            return make()
        except ValueError as error:  # numpy multiplies what isn't 0, though nothing is to be kept
            raise GgufError(
                f"tensor {self.name!r} has the shape {self.shape}, which numpy hasn't: {error}"
            ) from None

    def pieces(self) -> Iterator[bytes]:
        """Yield its bytes as they stand in the file, in pieces of at most 4 MiB, by reading, not mapping.

        Raises:
            ClosedError: the file is closed.
            GgufError: the file became shorter.
        """
        at, end = self.offset, self.offset + self.n_bytes
        while at < end:
            piece = self._read(at, min(_PIECE, end - at))
            yield piece
            at += len(piece)

    def dequantize(self) -> NDArray[np.float32]:
        """Return its values as numbers.

        C: ggml_get_type_traits

        Returns:
            float32 of :attr:`shape`, copy.

        Raises:
            UnsupportedError: ggml has no way from this type to floats (q8_1, q8_k).
            GgufError: numpy has no such shape, see :attr:`data`.
            ClosedError: the file is closed.

        Threads: any.
        """
        import numpy as np

        data = self.data
        if self.type in PLAIN and self.type != "f16":
            with np.errstate(over="ignore"):  # f64 beyond f32 is infinite
                return self._shaped(lambda: data.astype(np.float32))
        function = types.to_float(self.type_number)
        ffi = binding.active().ffi
        if function == ffi.NULL:
            raise UnsupportedError(
                f"ggml can't turn {self.type} into floats; the type is for intermediate results"
            )
        out = self._shaped(lambda: np.empty(self.shape, np.float32))
        if out.size:
            source = data if self.offset % 32 == 0 else data.copy()  # C's blocks have fields of 2 and 4 bytes
            function(ffi.from_buffer(source), ffi.from_buffer("float[]", out), out.size)
        return out
