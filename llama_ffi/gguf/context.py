"""C's own GGUF object: what ``Model.from_metadata`` is made from and what libllama's files are.

A mapping of metadata with a list of tensors behind it. Read from a file it knows the tensors' names,
shapes and types, not their data; tensors that are added bring theirs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

from .._core import binding, check, durable, logs, model_file
from .._core import text as text_
from .._core.callbacks import Callback
from .._core.model_file import Path
from ..errors import ArgumentTypeError, InvalidArgumentError, ModelFileError, ModelSaveError, UnsupportedError
from . import values
from .metadata import GgufMetadata

_MAX_NAME = 63


class ContextTensor(NamedTuple):
    """A tensor of a :class:`GgufContext`.

    C: gguf_get_tensor_name, gguf_get_tensor_ne, gguf_get_tensor_type, gguf_get_tensor_offset,
    gguf_get_tensor_size
    """

    name: str
    shape: tuple[int, ...]
    """extents as numpy has them, the rows' length last"""
    type: str
    """"f32", "q4_K" …"""
    offset: int
    """where its data begins, in bytes from the beginning of the data section"""
    n_bytes: int
    """the size of its data"""


class GgufContext(GgufMetadata):
    """Metadata and tensors as C holds them: ``context[key]``, ``context.set(key, value)``.

    C: struct gguf_context, owned.

    Use it in a ``with``, or ``close()`` it.

    Arguments:
        metadata: what to begin with, by key.
        pointer: a ``struct gguf_context *`` that raw code made, owned from now on; None = a new one.

    Threads: one call at a time; a second thread gets BusyError.
    """

    __slots__ = ("_data",)

    def __init__(self, metadata: Mapping[str, Any] | None = None, *, pointer: Any = None) -> None:
        self._data: dict[str, Any] = {}
        super().__init__(metadata, pointer=pointer)

    @classmethod
    def load(cls, path: Path) -> GgufContext:
        """Read the metadata and the list of tensors of the file ``path``.

        C: gguf_init_from_file

        Raises:
            ModelNotFoundError, ModelPermissionError: no such file; it may not be read.
            ModelFileError: not a GGUF file, or a damaged one; ``.log`` has C's words.
        """
        model_file.look_at(path)
        name = text_.encode_path(path)
        return cls._read(os.fsdecode(name), lambda lib, params: lib.gguf_init_from_file(name, params))

    @classmethod
    def from_bytes(cls, data: Any) -> GgufContext:
        """Read the metadata and the list of tensors of ``data``, a GGUF file's bytes.

        C: gguf_init_from_buffer

        Raises:
            ModelFileError: not a GGUF file, or a damaged one.
        """
        ffi = binding.active().ffi
        try:
            buffer = ffi.from_buffer(data)
        except TypeError:
            raise ArgumentTypeError(f"data must be bytes, not {type(data).__name__}") from None
        except BufferError as error:
            raise ArgumentTypeError(f"data must be bytes in one piece: {error}") from None
        model_file.look_through("the bytes", _Part(ffi.buffer(buffer)), len(buffer), header_only=True)
        return cls._read(
            "the bytes", lambda lib, params: lib.gguf_init_from_buffer(buffer, len(buffer), params)
        )

    @classmethod
    def from_file_object(cls, file: BinaryIO) -> GgufContext:
        """Read the metadata and the list of tensors from an open binary file, from its position 0 on.

        C: gguf_init_from_callback

        Arguments:
            file: anything with ``seek`` and ``read``; what it raises, this raises.

        Raises:
            ModelFileError: not a GGUF file, or a damaged one.
        """
        if not hasattr(file, "seek") or not hasattr(file, "read"):
            raise ArgumentTypeError(f"file must be an open file, not {type(file).__name__}")
        size = file.seek(0, os.SEEK_END)
        if not isinstance(size, int):
            raise ArgumentTypeError(f"file.seek must return a position, not {type(size).__name__}")
        name = str(getattr(file, "name", "the file"))
        checked = _Checked(file)
        model_file.look_through(name, checked, size, header_only=True)
        ffi = binding.active().ffi

        def read(_user_data: Any, output: Any, offset: int, length: int) -> int:
            checked.seek(offset)
            data = checked.read(length)
            ffi.memmove(output, data, len(data))
            return len(data)

        callback = Callback(ffi, "gguf_reader_callback_t", read, 0)

        def call(lib: Any, params: Any) -> Any:
            pointer = lib.gguf_init_from_callback(callback.pointer, ffi.NULL, 1 << 20, size, params)
            if callback.failed and pointer != ffi.NULL:
                lib.gguf_free(pointer)
            callback.reraise()
            return pointer

        return cls._read(name, call)

    @classmethod
    def _read(cls, name: str, call: Callable[[Any, Any], Any]) -> GgufContext:
        active = binding.active()
        params = active.ffi.new("struct gguf_init_params *", {"no_alloc": True, "ctx": active.NULL})
        with logs.capture() as lines:
            pointer = call(active.lib, params[0])
        if pointer == active.NULL:
            said = "; ".join(model_file.words(line) for line in lines[-3:])
            raise ModelFileError(f"{name}: {said or 'not a GGUF file'}", log=lines)
        return cls(pointer=pointer)

    def __repr__(self) -> str:
        if self.closed:
            return "<llama_ffi.GgufContext, closed>"
        return f"<llama_ffi.GgufContext: {len(self)} keys, {len(self.tensors)} tensors>"

    # --- tensors ---

    @property
    def tensors(self) -> list[ContextTensor]:
        """Return the tensors in their order, a copy. C: gguf_get_n_tensors"""
        lib = self._lib
        with self._handle as context:
            found = []
            for index in range(lib.gguf_get_n_tensors(context)):
                extents = list(lib.gguf_get_tensor_ne(context, index)[0:4])
                while len(extents) > 1 and extents[-1] == 1:
                    extents.pop()
                found.append(
                    ContextTensor(
                        self._text(lib.gguf_get_tensor_name(context, index)),
                        tuple(reversed(extents)),
                        self._text(lib.ggml_type_name(lib.gguf_get_tensor_type(context, index))),
                        lib.gguf_get_tensor_offset(context, index),
                        lib.gguf_get_tensor_size(context, index),
                    )
                )
            return found

    def add_tensor(self, name: str, shape: Sequence[int], type: str = "f32", data: Any = None) -> None:
        """Add a tensor at the end.

        C: gguf_add_tensor, gguf_find_tensor

        Arguments:
            name: of 1 to 63 bytes, not there yet.
            shape: 1 to 4 extents as numpy has them, the rows' length last.
            type: "f32", "f16", "q8_0" …
            data: its bytes (C order), kept alive; None = none, so that only the metadata can be written.

        Raises:
            InvalidArgumentError: the name is there already, too long or empty; a shape that can't be; rows
                that the type's blocks don't divide; data of another size.
        """
        encoded = text_.encode_c(name, "the tensor's name")
        if not 0 < len(encoded) <= _MAX_NAME:
            raise InvalidArgumentError(f"the tensor's name {name!r} must have 1 to {_MAX_NAME} bytes")
        given = check.listed("shape", shape, "extents")
        extents = [check.integer("an extent of the shape", each, 1, 2**40) for each in given]
        if not 1 <= len(extents) <= 4:
            raise InvalidArgumentError(f"tensor {name!r} has {len(extents)} dimensions; 1 to 4 are possible")
        ffi, lib = self._ffi, self._lib
        number = values.tensor_type(binding.active(), type)
        values.row_check(name, str(type), extents[-1], lib.ggml_blck_size(number))
        tensor = ffi.new("struct ggml_tensor *", {"type": number})
        n_bytes = lib.ggml_type_size(number)
        for index, extent in enumerate([*reversed(extents), *[1] * (4 - len(extents))]):
            tensor.ne[index], tensor.nb[index] = extent, n_bytes
            n_bytes = n_bytes * extent if index else lib.ggml_row_size(number, extent)
            if n_bytes > 2**60:
                raise InvalidArgumentError(f"tensor {name!r} is too large: {tuple(extents)}")
        tensor.name = encoded
        with self._handle as context:
            if lib.gguf_find_tensor(context, encoded) >= 0:
                raise InvalidArgumentError(f"there is a tensor {name!r} already")
            lib.gguf_add_tensor(context, tensor)
            if data is not None:
                self._set_data(context, name, data)

    def set_tensor_type(self, name: str, type: str) -> None:
        """Change the type of the tensor ``name``; its data is given up. C: gguf_set_tensor_type

        Raises:
            KeyError: there is no such tensor.
            InvalidArgumentError: the type's blocks don't divide the rows.
        """
        number = values.tensor_type(binding.active(), type)
        lib = self._lib
        with self._handle as context:
            index = self._find_tensor(context, name)
            row = lib.gguf_get_tensor_ne(context, index)[0]
            values.row_check(name, type, row, lib.ggml_blck_size(number))
            self._data.pop(name, None)
            lib.gguf_set_tensor_type(context, text_.encode_c(name), number)

    def set_tensor_data(self, name: str, data: Any) -> None:
        """Give the tensor ``name`` its data, which is kept alive. C: gguf_set_tensor_data

        Raises:
            KeyError: there is no such tensor.
            InvalidArgumentError: the data has another size than the tensor.
        """
        with self._handle as context:
            self._set_data(context, name, data)

    # --- writing ---

    def to_bytes(self) -> bytes:
        """Return the head of the file: everything but the tensors' data.

        C: gguf_get_meta_size, gguf_get_meta_data
        """
        with self._handle as context:
            size = self._lib.gguf_get_meta_size(context)
            buffer = self._ffi.new("char[]", size)
            self._lib.gguf_get_meta_data(context, buffer)
            return bytes(self._ffi.buffer(buffer, size))

    def write(self, path: Path, *, only_meta: bool = False) -> None:
        """Write a GGUF file. C: gguf_write_to_file

        Arguments:
            path: the file; an existing one is overwritten.
            only_meta: leave the tensors' data out, so that it can be appended.

        Raises:
            UnsupportedError: a tensor has no data.
            ModelSaveError: the file can't be written.
        """
        name = text_.encode_path(path)
        only_meta = check.truth("only_meta", only_meta)
        if not only_meta:
            missing = [tensor.name for tensor in self.tensors if tensor.name not in self._data]
            if missing:
                raise UnsupportedError(
                    f"{len(missing)} tensors have no data, {missing[0]!r} the first; "
                    f"give them theirs with set_tensor_data, or write with only_meta=True"
                )
        try:
            # a new file: C would cut the old one short, which a model may have mapped
            with durable.Replacement(os.fsdecode(name), mode=0o666) as new:
                with self._handle as context, logs.capture() as lines:
                    written = self._lib.gguf_write_to_file(context, text_.encode_path(new.part), only_meta)
                if not written:
                    said = "; ".join(model_file.words(line) for line in lines[-2:])
                    raise ModelSaveError(f"{os.fsdecode(name)}: {said or 'can not be written'}", log=lines)
                new.commit()
        except OSError as error:
            if isinstance(error, ModelSaveError):
                raise
            raise ModelSaveError(f"{os.fsdecode(name)}: {error.strerror or error}") from error

    # --- helpers ---

    def _find_tensor(self, context: Any, name: str) -> int:
        index = int(self._lib.gguf_find_tensor(context, text_.encode_c(name, "the tensor's name")))
        if index < 0:
            raise KeyError(name)
        return index

    def _set_data(self, context: Any, name: str, data: Any) -> None:
        index = self._find_tensor(context, name)
        size = self._lib.gguf_get_tensor_size(context, index)
        try:
            buffer = self._ffi.from_buffer(data)
        except (TypeError, ValueError, BufferError) as error:
            raise ArgumentTypeError(
                f"the data of tensor {name!r} must be a contiguous buffer: {error}"
            ) from None
        if len(buffer) != size:
            raise InvalidArgumentError(f"tensor {name!r} needs {size} bytes of data, not {len(buffer)}")
        self._lib.gguf_set_tensor_data(context, text_.encode_c(name), buffer)
        self._data[name] = buffer


class _Part:
    """A file in memory that isn't copied."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self._at = 0

    def seek(self, position: int) -> None:
        self._at = position

    def read(self, length: int) -> bytes:
        return bytes(self._data[self._at : self._at + length])


class _Checked:
    """A file of the caller's, whose ``read`` may return anything."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def seek(self, position: int) -> None:
        self._file.seek(position)

    def read(self, length: int) -> bytes:
        data = self._file.read(length)
        if not isinstance(data, bytes | bytearray | memoryview):
            raise ArgumentTypeError(f"file.read must return bytes, not {type(data).__name__}")
        return bytes(data[:length])
