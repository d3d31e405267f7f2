"""Write GGUF files, whole or not at all.

The header comes first in the file and names every tensor, so the tensors are announced first, by
reference, and their bytes are written at the end, from where they are: no second copy is made.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .._core import check, durable
from .._core import gguf_types as types
from .._core import text as text_
from .._core.gguf_scan import MAX_KEY
from .._core.gguf_types import ALIGNMENT_KEY, ORDER, TensorType
from .._core.model_file import Path
from ..errors import ArgumentTypeError, GgufWriteError, InvalidArgumentError, LlamaError
from . import encoding
from .tensor import PLAIN, GgufTensor
from .values import Typed

Source = Callable[[], Iterable[Any]]
"""Gives a tensor's bytes, in pieces."""

_PLAIN_NAMES = {dtype: name for name, dtype in PLAIN.items()}


MOST_ALIGNMENT = 1 << 21
"""Bytes; a file of a few bytes that says more would be written with gigabytes of nothing."""


class _Tensor:
    """A tensor that will be written."""

    __slots__ = ("kind", "n_bytes", "name", "ne", "source")

    def __init__(self, name: str, kind: TensorType, ne: tuple[int, ...], source: Source) -> None:
        self.name = name
        self.kind = kind
        self.ne = ne
        self.source = source
        self.n_bytes = types.n_bytes(kind, ne)


class GgufWriter:
    """A GGUF file in the making.

        with lf.gguf.GgufWriter("out.gguf") as writer:
            writer.add("general.name", "mine")
            writer.add("general.file_version", 1, "u16")
            writer.add_tensor("weights", array)

    Leaving the ``with`` writes the file; leaving it by an exception writes nothing.

    Like C's gguf_init_empty, gguf_set_val_*, gguf_add_tensor, gguf_write_to_file

    Arguments:
        path: the file; one that is there is replaced when the new one is complete, not before.

    Threads: one at a time.
    """

    def __init__(self, path: Path) -> None:
        self.path = os.fsdecode(text_.encode_path(path))
        self._entries: dict[str, bytes] = {}
        self._tensors: dict[str, _Tensor] = {}
        self._alignment = types.DEFAULT_ALIGNMENT
        self._version = types.VERSION
        self._pad_end = True

    def __enter__(self) -> GgufWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _tb: object) -> None:
        if kind is None:
            self.finish()

    # --- what goes in ---

    def add(self, key: str, value: Any, type: str | None = None) -> None:
        """Add a metadata entry, or replace it at its place.

        Like C's gguf_set_val_u8 and its kin, gguf_set_arr_data, gguf_set_arr_str

        Arguments:
            key: 1 to 65,535 bytes. ``general.alignment`` (a power of 2 up to 2 MiB, in bytes) moves the
                tensors.
            value: bool, int, float, str, bytes (a string that needn't be UTF-8), a list or a one-dimensional
                numpy array of these, or a :class:`Typed`.
            type: "u8" … "f64", "bool", "str"; None = bool → bool, int → u32 or the first of i32, u64, i64
                that holds it, float → f32, str → str; elements of a list alike, but i32 first.

        Raises:
            ArgumentTypeError, InvalidArgumentError: no such key can be; the value doesn't fit into the type.
        """
        name = _key(key)
        data = encoding.encode(name, value if type is None else Typed(value, type))
        if name == ALIGNMENT_KEY:
            self._align(data)
        self._entries[name] = data

    def _align(self, data: bytes) -> None:
        kind = struct.unpack_from(ORDER + "i", data)[0] if len(data) >= 4 else -1
        if kind == types.U32 and len(data) != 8:
            raise InvalidArgumentError(f"{ALIGNMENT_KEY} has {len(data)} bytes; type and value take 8")
        if kind != types.U32:
            raise InvalidArgumentError(f"{ALIGNMENT_KEY} must be u32, not {types.type_name(kind)}")
        (alignment,) = struct.unpack_from(ORDER + "I", data, 4)
        if alignment == 0 or alignment & (alignment - 1):
            raise InvalidArgumentError(f"{ALIGNMENT_KEY} is {alignment}; it must be a power of 2, such as 32")
        if alignment > MOST_ALIGNMENT:
            raise InvalidArgumentError(
                f"{ALIGNMENT_KEY} is {alignment}; no more than {MOST_ALIGNMENT} is written, a large page: "
                f"another value can be set in its place"
            )
        self._alignment = alignment

    def add_raw(self, key: str, data: bytes) -> None:
        """Add an entry as it stands in another file.

        Arguments:
            key: of the entry.
            data: type and value, as bytes.

        Raises:
            ArgumentTypeError, InvalidArgumentError: no such key can be; the data isn't bytes.
        """
        name = _key(key)
        if not isinstance(data, bytes | bytearray | memoryview):
            raise ArgumentTypeError(f"the data of {key!r} must be bytes, not {type(data).__name__}")
        data = bytes(data)
        if name == ALIGNMENT_KEY:
            self._align(data)
        self._entries[name] = data

    def be_like(self, version: int, *, pad_end: bool) -> None:
        """Write as another file was written.

        Arguments:
            version: of the format, 2 or 3.
            pad_end: whether the end is padded to the alignment, as C's writer does.
        """
        self._version = check.integer("version", version, 2, types.VERSION)
        self._pad_end = check.truth("pad_end", pad_end)

    def remove(self, key: str) -> None:
        """Take a metadata entry out again, if it is there.

        Arguments:
            key: of the entry.
        """
        check.instance("key", key, str)
        if self._entries.pop(key, None) is not None and key == ALIGNMENT_KEY:
            self._alignment = types.DEFAULT_ALIGNMENT

    def add_tensor(
        self, name: str, data: Any, *, type: str | None = None, shape: Iterable[int] | None = None
    ) -> None:
        """Announce a tensor; its bytes are read when the file is written.

        Like C's gguf_add_tensor, gguf_set_tensor_data

        Arguments:
            name: 1 to 63 bytes.
            data: a numpy array (kept by reference: don't change it before the file is written); a
                :class:`GgufTensor` of another file, which must be open then; bytes or another buffer; or a
                function without arguments that yields buffers, called when it is their turn.
            type: "f32", "f16", "q4_0" …: the tensor type; None = that of ``data``. Raw blocks (uint8 rows, as
                ``GgufTensor.data`` gives them) need it.
            shape: in numpy's order, the row length last, up to 4 sizes; None = that of ``data``, for raw
                blocks computed from the rows' bytes.

        Raises:
            ArgumentTypeError, InvalidArgumentError: the name is taken or too long; type, shape and bytes
                don't fit together.
        """
        name = self._name(name, 0 if isinstance(data, GgufTensor) else 1)  # C takes names without a letter
        if isinstance(data, GgufTensor):
            if type is not None or shape is not None:
                raise InvalidArgumentError(f"tensor {name!r}: a tensor of a file has its own type and shape")
            self._tensors[name] = _Tensor(name, data.kind, data.ne, data.pieces)
            return
        if hasattr(data, "dtype"):
            kind, dims = _of_array(name, data, type, shape)
            tensor = _Tensor(name, kind, dims, lambda: [_contiguous(data)])
            given = data.nbytes
        else:
            if type is None or shape is None:
                raise InvalidArgumentError(f"tensor {name!r}: bytes need both type= and shape=")
            kind, dims = _kind(name, type), _dims(name, shape)
            if callable(data):
                tensor, given = _Tensor(name, kind, dims, data), None
            else:
                try:
                    view = memoryview(data).cast("B")
                except TypeError:
                    raise ArgumentTypeError(
                        f"tensor {name!r}: the data must be an array, bytes or a function, not "
                        f"{data.__class__.__name__}"
                    ) from None
                tensor, given = _Tensor(name, kind, dims, lambda: [view]), view.nbytes
        _check_row(name, kind, dims)
        if given is not None and given != tensor.n_bytes:
            raise InvalidArgumentError(
                f"tensor {name!r}: {kind.name} of shape {list(reversed(dims))} takes {tensor.n_bytes} bytes, "
                f"not {given}"
            )
        self._tensors[name] = tensor

    def _name(self, name: str, least: int) -> str:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"the tensor's name must be str, not {type(name).__name__}")
        data = text_.encode_c(_encode(name, "the tensor's name"), "the tensor's name")
        if not least <= len(data) < types.MAX_NAME:
            raise InvalidArgumentError(
                f"the tensor's name {name!r} has {len(data)} bytes; 1 to {types.MAX_NAME - 1} are possible"
            )
        if name in self._tensors:
            raise InvalidArgumentError(f"there is a tensor {name!r} already")
        return name

    # --- what comes out ---

    def header(self) -> bytes:
        """Return the header as it will stand in the file, padded to the alignment.

        Like C's gguf_get_meta_data, gguf_get_meta_size
        """
        parts = [
            b"GGUF" + struct.pack(ORDER + "Iqq", self._version, len(self._tensors), len(self._entries)),
            *(_string(key) + data for key, data in self._entries.items()),
        ]
        offset = 0
        for each in self._tensors.values():
            dims = struct.pack(f"{ORDER}I{len(each.ne)}q", len(each.ne), *each.ne)
            parts.append(_string(each.name) + dims + struct.pack(ORDER + "iQ", each.kind.number, offset))
            offset += each.n_bytes + self._padding(each.n_bytes)
        data = b"".join(parts)
        padded = self._pad_end or self._tensors
        return data + bytes(self._padding(len(data)) if padded else 0)

    def _padding(self, length: int) -> int:
        return -length % self._alignment

    def finish(self) -> None:
        """Write the file: into a temporary one beside it, to the disk, then in its place.

        Like C's gguf_write_to_file

        Raises:
            GgufWriteError: it can't be written; what was there before is still there.
            InvalidArgumentError: a function gave more or fewer bytes than its tensor takes.
        """
        write_atomically(self.path, self._parts())

    def _parts(self) -> Iterator[Any]:
        yield self.header()
        last = len(self._tensors) - 1
        for index, each in enumerate(self._tensors.values()):
            written = 0
            for piece in each.source():
                view = memoryview(piece).cast("B")
                written += view.nbytes
                if written > each.n_bytes:
                    break
                yield view
            if written != each.n_bytes:
                more = "more than " if written > each.n_bytes else f"{written} instead of "
                raise InvalidArgumentError(
                    f"tensor {each.name!r}: its data has {more}the {each.n_bytes} bytes of its type and shape"
                )
            if index < last or self._pad_end:
                yield bytes(self._padding(written))


def write(path: Path, metadata: Mapping[str, Any] = {}, tensors: Mapping[str, Any] = {}) -> None:
    """Write a GGUF file.

    Like C's gguf_write_to_file

    Arguments:
        path: the file; one that is there is replaced when the new one is complete.
        metadata: key → value, as :meth:`GgufWriter.add` takes them.
        tensors: name → numpy array or :class:`GgufTensor`, as :meth:`GgufWriter.add_tensor` takes them.

    Raises:
        GgufWriteError: it can't be written; what was there before is still there.
        ArgumentTypeError, InvalidArgumentError: a value doesn't fit.

    Threads: any.
    """
    with GgufWriter(path) as writer:
        check.instance("metadata", metadata, Mapping)
        check.instance("tensors", tensors, Mapping)
        for key, value in metadata.items():
            writer.add(key, value)
        for name, data in tensors.items():
            writer.add_tensor(name, data)


def write_atomically(path: str, parts: Iterable[Any]) -> None:
    """Write ``parts`` to a new file and put it in the place of ``path``."""
    try:
        with durable.Replacement(path, mode=0o666) as replacement:
            for part in parts:
                durable.write_all(replacement.fd, part)
            replacement.commit()
    except OSError as error:
        if isinstance(error, LlamaError):
            raise
        raise GgufWriteError(f"{path}: can't be written: {error.strerror or error}") from error


# --- checks ------------------------------------------------------------------------------------------


def _key(key: str) -> str:
    if not isinstance(key, str):
        raise ArgumentTypeError(f"the key must be str, not {type(key).__name__}")
    data = text_.encode_c(_encode(key, "the key"), "the key")
    if not 0 < len(data) <= MAX_KEY:
        raise InvalidArgumentError(f"the key {key[:60]!r} has {len(data)} bytes; 1 to {MAX_KEY} are possible")
    return key


def _encode(text: str, what: str) -> bytes:
    """Return what the reader has made ``text`` from: surrogate escapes are the bytes that they stand for."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(
            f"{what} holds a lone surrogate (index {error.start}), which has no UTF-8"
        ) from None


def _string(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    return struct.pack(ORDER + "Q", len(data)) + data


def _kind(name: str, type_: str) -> TensorType:
    if not isinstance(type_, str):
        raise ArgumentTypeError(f"tensor {name!r}: type must be str, not {type_.__class__.__name__}")
    known = types.tensor_types()
    kind = known.get(type_.lower())
    if kind is None:
        raise InvalidArgumentError(
            f"tensor {name!r}: ggml has no type {check.shown(type_)}; choose one of: "
            f"{', '.join(sorted(known))}"
        )
    return kind


def _dims(name: str, shape: Iterable[int]) -> tuple[int, ...]:
    given = check.listed(f"the shape of tensor {name!r}", shape, "sizes")
    sizes = [check.integer(f"a size of tensor {name!r}", each, 0, 2**63 - 1) for each in given]
    if len(sizes) > types.MAX_DIMS:
        raise InvalidArgumentError(f"tensor {name!r} has {len(sizes)} dimensions; at most {types.MAX_DIMS}")
    if math.prod(each or 1 for each in sizes) > 2**63 - 1:
        raise InvalidArgumentError(f"tensor {name!r} has the shape {sizes}: too many elements")
    return tuple(reversed(sizes))


def _of_array(
    name: str, data: Any, type_: str | None, shape: Iterable[int] | None
) -> tuple[TensorType, tuple[int, ...]]:
    own = _PLAIN_NAMES.get(data.dtype.str[1:])
    wanted = None if type_ is None else _kind(name, type_)
    if wanted is None or wanted.name == own:
        if own is None:
            raise ArgumentTypeError(
                f"tensor {name!r} is an array of {data.dtype}; give {', '.join(PLAIN)}, or raw blocks "
                f"(uint8) with type="
            )
        return _kind(name, own), _dims(name, data.shape if shape is None else shape)
    kind = wanted
    if data.dtype.str[1:] != "u1":
        raise InvalidArgumentError(
            f"tensor {name!r}: {type_} from an array of {data.dtype}; convert it first, or give raw blocks "
            f"(uint8)"
        )
    if shape is None:
        if not data.ndim or data.shape[-1] % kind.size:
            raise InvalidArgumentError(
                f"tensor {name!r}: rows of raw {kind.name} blocks have a multiple of {kind.size} bytes; the "
                f"array has the shape {list(data.shape)}"
            )
        shape = (*data.shape[:-1], data.shape[-1] // kind.size * kind.block)
    return kind, _dims(name, shape)


def _check_row(name: str, kind: TensorType, ne: tuple[int, ...]) -> None:
    row = ne[0] if ne else 1
    if row % kind.block:
        raise InvalidArgumentError(
            f"tensor {name!r}: rows of {kind.name} have a multiple of {kind.block} elements, not {row}"
        )


def _contiguous(array: Any) -> Any:
    """Return the array's bytes in the machine's order; a copy only if it isn't like that already."""
    import numpy as np

    native = np.ascontiguousarray(array, array.dtype.newbyteorder(ORDER))
    return native.reshape(-1).view(np.uint8)
