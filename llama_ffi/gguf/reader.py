"""Read GGUF files."""

from __future__ import annotations

import mmap as mmap_
import os
import threading
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .._core import check, model_file
from .._core import gguf_types as types
from .._core import text as text_
from .._core.gguf_scan import Entry, Header, scan
from .._core.model_file import Path
from ..errors import (
    ClosedError,
    GgufError,
    GgufKeyError,
    LibraryLoadError,
    LibraryNotFoundError,
    LlamaError,
    UnsupportedError,
)
from . import encoding
from .tensor import GgufTensor
from .values import Typed

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Field:
    """One metadata entry of a :class:`GgufFile`: its type, and its value when asked for."""

    __slots__ = ("_file", "entry")

    def __init__(self, file: GgufFile, entry: Entry) -> None:
        self._file = file
        self.entry = entry

    def __repr__(self) -> str:
        many = f"[{self.entry.length}]" if self.is_array else ""
        return f"<llama_ffi.gguf.Field {self.key!r}: {self.type}{many}>"

    @property
    def key(self) -> str:
        """Return its key."""
        return self.entry.key

    @property
    def is_array(self) -> bool:
        """Whether it is an array."""
        return self.entry.type == types.ARRAY

    @property
    def type(self) -> str:
        """Return the type of the value, of an array that of its elements: "u32", "str" …; "arr": arrays.

        Like C's gguf_get_kv_type, gguf_get_arr_type
        """
        return types.type_name(self.entry.item if self.is_array else self.entry.type)

    def __len__(self) -> int:
        """Return the number of elements of an array, 1 for other values."""
        return self.entry.length

    @property
    def value(self) -> Any:
        """Return the value as Python has it, decoded now: bool, int, float, str, or a list of them; a copy.

        Like C's gguf_get_val_*, gguf_get_arr_data, gguf_get_arr_str

        Raises:
            ClosedError: the file is closed.
            GgufError: an array of more than 2**24 elements (see :meth:`to_numpy`); the file has changed.
        """
        entry = self.entry
        if entry.length > encoding.MAX_LIST:  # before its bytes are read
            encoding.decode(b"", entry.type, entry.item, entry.length, entry.key)
        return encoding.decode(self.raw(), entry.type, entry.item, entry.length, entry.key)

    @property
    def typed(self) -> Typed:
        """Return value and type together, so that writing it gives the same entry again."""
        return Typed(self.value, self.type)

    def raw(self) -> bytes:
        """Return the bytes of the value as they stand in the file: without type and count; a copy."""
        return self._file.read_bytes(self.entry.start, self.entry.end - self.entry.start)

    def to_numpy(self) -> NDArray[Any]:
        """Return an array of numbers or truth values.

        Returns:
            shape (len,), dtype of the type in the file; copy.

        Raises:
            UnsupportedError: the entry isn't an array of fixed-size elements.
        """
        import numpy as np

        code = types.CODES.get(self.entry.item)
        if code is None:
            raise UnsupportedError(f"{self.key!r} is no array of numbers but {self.type}")
        array: NDArray[Any] = np.frombuffer(bytearray(self.raw()), np.dtype(code))
        return array != 0 if self.entry.item == types.BOOL else array


class Metadata(Mapping[str, Any]):
    """The metadata of a :class:`GgufFile`: key → value; a value is decoded when it is first asked for.

    Arguments:
        fields: the entries by their keys.

    Threads: any.
    """

    __slots__ = ("_cache", "_fields")

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._fields = fields
        self._cache: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        check.instance("key", key, str)
        if key not in self._cache:
            field = self._fields.get(key)
            if field is None:
                raise GgufKeyError(f"the file has no metadata {key!r}")
            self._cache[key] = field.value
        value = self._cache[key]
        return list(value) if isinstance(value, list) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key in self._fields

    def __repr__(self) -> str:
        return f"<llama_ffi.gguf.Metadata: {len(self)} entries>"


class GgufFile:
    """An open GGUF file; make one with :func:`read`.

    Like C's struct gguf_context

    Threads: any.
    """

    path: str
    version: int
    """of the format: 2 or 3"""
    alignment: int
    """of the tensors, in bytes"""
    data_offset: int
    """where the tensors' data begins, in bytes"""
    size: int
    """of the file, in bytes"""
    fields: Mapping[str, Field]
    """the metadata with its types, in the file's order"""
    metadata: Metadata
    """the metadata as Python values"""
    tensors: Mapping[str, GgufTensor]
    """the tensors by name, in the file's order"""

    def __init__(self, path: Path, *, mmap: bool = True) -> None:
        self.path = os.fsdecode(text_.encode_path(path))
        self._file: Any = model_file.open_file(path)
        self._lock = threading.Lock()
        self._mmap = mmap
        self._map: mmap_.mmap | None = None
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            self.header = self._scan()
        except BaseException:
            self._file.close()
            raise
        header = self.header
        self.version = header.version
        self.alignment = header.alignment
        self.data_offset = header.data
        self.fields = MappingProxyType({key: Field(self, entry) for key, entry in header.entries.items()})
        self.metadata = Metadata(self.fields)
        self.tensors = MappingProxyType(
            {
                name: GgufTensor(info, header.data, None, self._bytes, self.read_bytes)
                for name, info in header.tensors.items()
            }
        )

    def _scan(self) -> Header:
        try:
            try:
                return scan(self._file, self.size, types.tensor_type, nested=True)
            except (LibraryNotFoundError, LibraryLoadError):
                return scan(self._file, self.size, None, nested=True)  # tensors ask again when they need it
        except GgufError as error:
            raise GgufError(f"{self.path}: {error}{self._hint()}", offset=error.offset) from None
        except OSError as error:
            if isinstance(error, LlamaError):
                raise
            raise GgufError(f"{self.path}: {error.strerror or error}") from error

    def _hint(self) -> str:
        self._file.seek(0)
        head = self._file.read(24)
        return f": {model_file.kind_of(head)}" if head and head[:4] != b"GGUF" else ""

    def __enter__(self) -> GgufFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        closed = ", closed" if self.closed else ""
        return (
            f"<llama_ffi.gguf.GgufFile {self.path!r}: {len(self.fields)} entries, "
            f"{len(self.tensors)} tensors{closed}>"
        )

    @property
    def padded(self) -> bool:
        """Whether the file's end is padded to the alignment; llama.cpp reads files of either kind."""
        end = self.header.info_end
        if self.tensors:
            last = list(self.tensors.values())[-1]
            end = last.offset + last.n_bytes
        return self.size != end or end % self.alignment == 0

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return bool(self._file.closed)

    def close(self) -> None:
        """Close the file; arrays that were made from it stay valid and keep the map until they are gone."""
        with self._lock:
            self._map = None  # never mmap.close(): a numpy array may look into it
            self._file.close()

    def read_bytes(self, at: int, count: int) -> bytes:
        """Return ``count`` bytes of the file from byte ``at`` on; copy.

        Raises:
            ClosedError: the file is closed.
            GgufError: the file became shorter.
        """
        at, count = check.integer("at", at, 0, 2**62), check.integer("count", count, 0, 2**62)
        with self._lock:
            self._check()
            self._file.seek(at)
            data: bytes = self._file.read(count)
        if len(data) != count:
            raise GgufError(
                f"{self.path}: the file became shorter: byte {at + len(data)} is missing", offset=at
            )
        return data

    def _check(self) -> None:
        if self._file.closed:
            raise ClosedError(f"{self.path}: the GGUF file is closed")

    def _bytes(self, at: int, count: int) -> Any:
        """Return a buffer with a tensor's bytes: a part of the map, or with ``mmap=False`` a copy."""
        if not self._mmap or not count:
            return self.read_bytes(at, count)
        with self._lock:
            self._check()
            if self._map is None:
                self._map = mmap_.mmap(self._file.fileno(), 0, access=mmap_.ACCESS_READ)
            if at + count > len(self._map):
                raise GgufError(f"{self.path}: the file became shorter: {len(self._map)} bytes", offset=at)
            return memoryview(self._map)[at : at + count]


def read(path: Path, *, mmap: bool = True) -> GgufFile:
    """Open a GGUF file and check its header.

    Every count, length and offset is compared with the size of the file before anything is allocated: a
    damaged or hostile file is an error, whatever it says. Read are versions 2 and 3 in the byte order of the
    machine, as llama.cpp does; other than llama.cpp, arrays of arrays are read too, up to 8 deep. Keys have
    at most 65,535 bytes, strings 2**30 bytes, arrays 2**30 elements.

    Like C's gguf_init_from_file

    Arguments:
        path: the file.
        mmap: map the tensors' bytes instead of reading them. A mapped file that somebody truncates while
            it is in use ends the process; with False that is an error.

    Returns:
        the open file, owned: use it in a ``with``, or ``close()`` it. Tensors' arrays outlive it.

    Raises:
        GgufError: the file isn't GGUF, or damaged; ``.offset`` says where.
        ModelNotFoundError, ModelPermissionError: no such file; it may not be read.

    Threads: any.
    """
    return GgufFile(path, mmap=mmap)
