"""Importance matrices: how much each column of a weight matters, for quantizing well with few bits.

A calibration run adds up the squares of what flows into each matrix multiplication. llama.cpp's tools keep
the sums in a GGUF file, older ones in a binary file of their own; both are read here, with every length
checked against the file, and written.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from . import gguf
from ._core import check, model_file
from ._core import text as text_
from ._core.durable import Replacement, write_all
from ._core.model_file import Path
from .errors import ArgumentTypeError, GgufError, GgufWriteError, InvalidArgumentError, ModelFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SUMS, _COUNTS = ".in_sum2", ".counts"
_DATASETS, _CHUNKS, _CHUNK_SIZE = "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"
_INT = struct.Struct("<i")


class ImportanceEntry(NamedTuple):
    """What was seen of one weight's input."""

    sums: NDArray[np.float32]
    """(n_matrices * n_columns,) float32, owned: the sums of the squares; one matrix per expert"""
    counts: NDArray[np.int64]
    """(n_matrices,) or (1,) int64, owned: the rows that were added up"""


class ImportanceMatrix:
    """The importance of the columns of a model's weights.

    Arguments:
        entries: weight's name → its sums and counts.
        datasets: names of the texts it was made from.
        chunk_count: how many pieces of text.
        chunk_size: tokens of a piece; 0 = not known (the older format doesn't say).

    Raises:
        InvalidArgumentError: numbers that are negative or not finite, counts that don't divide the sums.

    Threads: any number may read at a time.
    """

    __slots__ = ("chunk_count", "chunk_size", "datasets", "entries")

    entries: Mapping[str, ImportanceEntry]
    """weight's name → its sums and counts"""
    datasets: tuple[str, ...]
    """names of the texts it was made from"""
    chunk_count: int
    """pieces of text"""
    chunk_size: int
    """tokens of a piece; 0 = not known"""

    def __init__(
        self,
        entries: Mapping[str, tuple[Any, Any]],
        *,
        datasets: Iterable[str] = (),
        chunk_count: int = 0,
        chunk_size: int = 0,
    ) -> None:
        check.instance("entries", entries, Mapping)
        self.entries = MappingProxyType({name: _entry(name, entry) for name, entry in entries.items()})
        self.datasets = tuple(check.names("datasets", datasets))
        self.chunk_count = check.integer("chunk_count", chunk_count, 0)
        self.chunk_size = check.integer("chunk_size", chunk_size, 0)

    def __repr__(self) -> str:
        return f"<llama_ffi.ImportanceMatrix of {len(self.entries)} weights, {self.chunk_count} chunks>"

    @classmethod
    def load(cls, path: Path) -> ImportanceMatrix:
        """Read the file ``path``, a GGUF file or one of the older format (``.dat``).

        Raises:
            ModelNotFoundError, ModelPermissionError: no such file; it may not be read.
            ModelFileError: neither format, or damaged; the message says where.

        Threads: any.
        """
        with model_file.open_file(path) as file:
            head = file.read(4)
            if head != b"GGUF":
                file.seek(0)
                return _read_legacy(cls, os.fsdecode(text_.encode_path(path)), file.read())
        try:
            return _read_gguf(cls, path)
        except GgufError as error:
            raise ModelFileError(str(error)) from error

    def save(self, path: Path, *, legacy: bool = False) -> None:
        """Write it to the file ``path``; an existing one is replaced when the new one is complete.

        Arguments:
            path: the file.
            legacy: write the older format, which keeps no counts per expert and one dataset only.

        Raises:
            GgufWriteError: the file can't be written; what was there before is still there.

        Threads: any.
        """
        if check.truth("legacy", legacy):
            _replace(path, _legacy_bytes(self))
            return
        metadata = {
            "general.type": "imatrix",
            _DATASETS: gguf.Typed(list(self.datasets), "str"),
            _CHUNKS: gguf.Typed(self.chunk_count, "u32"),
            _CHUNK_SIZE: gguf.Typed(self.chunk_size, "u32"),
        }
        tensors = {}
        for name, entry in self.entries.items():
            tensors[name + _SUMS] = entry.sums.reshape(len(entry.counts), -1)
            tensors[name + _COUNTS] = entry.counts.astype("f4").reshape(-1, 1)
        gguf.write(path, metadata, tensors)

    def values(self, name: str) -> NDArray[np.float32]:
        """Return the importance of a weight's columns: the mean squares of what they were multiplied with.

        Arguments:
            name: the weight, "blk.0.attn_q.weight" for example.

        Returns:
            (n_matrices * n_columns,) float32, a copy; 1 for experts that no text has reached.

        Raises:
            InvalidArgumentError: it has no such weight.

        Threads: any.
        """
        import numpy as np

        check.instance("name", name, str)
        entry = self.entries.get(name)
        if entry is None:
            raise InvalidArgumentError(f"this importance matrix has no weight {name!r}")
        counts = entry.counts.astype(np.float32)[:, None]
        sums = entry.sums.reshape(len(entry.counts), -1)
        means = np.divide(sums, counts, out=np.ones_like(sums), where=counts > 0)
        return means.reshape(-1)

    def select(self, *, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> ImportanceMatrix:
        """Return one with a part of the weights only.

        Arguments:
            include: parts of names; only weights with one of them stay. Nothing = all stay.
            exclude: parts of names; weights with one of them go.

        Returns:
            a new one; the arrays are shared.
        """
        wanted = check.names("include", include)
        unwanted = check.names("exclude", exclude)
        entries = {
            name: entry
            for name, entry in self.entries.items()
            if (not wanted or any(part in name for part in wanted))
            and not any(part in name for part in unwanted)
        }
        return ImportanceMatrix(
            entries, datasets=self.datasets, chunk_count=self.chunk_count, chunk_size=self.chunk_size
        )


def _entry(name: str, entry: Any) -> ImportanceEntry:
    import numpy as np

    if not isinstance(name, str):
        raise ArgumentTypeError(f"the names of weights are str, not {type(name).__name__}")
    if not isinstance(entry, tuple | list) or len(entry) != 2:
        raise ArgumentTypeError(f"{name!r} must be a pair of sums and counts, not {type(entry).__name__}")
    sums, counts = entry
    try:
        values = np.ascontiguousarray(sums, np.float32).reshape(-1)
        numbers = np.ascontiguousarray(counts, np.int64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentTypeError(f"{name!r}: sums and counts must be numbers: {error}") from None
    if not len(numbers) or not len(values) or len(values) % len(numbers):
        raise InvalidArgumentError(f"{name!r} has {len(values)} sums for {len(numbers)} counts")
    if not np.isfinite(values).all() or (values < 0).any() or (numbers < 0).any():
        raise InvalidArgumentError(f"{name!r} has sums or counts that are negative or not finite")
    return ImportanceEntry(values, numbers)


# --- GGUF ------------------------------------------------------------------------------------------


def _read_gguf(cls: type[ImportanceMatrix], path: Path) -> ImportanceMatrix:
    import numpy as np

    with gguf.read(path, mmap=False) as file:
        entries: dict[str, Any] = {}
        for name, tensor in file.tensors.items():
            stem, dot, kind = name.rpartition(".")
            if dot + kind not in (_SUMS, _COUNTS):
                continue
            if tensor.type != "f32":
                raise ModelFileError(f"{file.path}: {name} is of type {tensor.type}; f32 is wanted")
            entries.setdefault(stem, {})[dot + kind] = tensor.data.reshape(-1)
        if not entries:
            raise ModelFileError(f"{file.path}: a GGUF file, but no importance matrix: no tensor {_SUMS[1:]}")
        found = {}
        for name, parts in entries.items():
            if len(parts) != 2:
                raise ModelFileError(f"{file.path}: {name} has only one of {_SUMS[1:]} and {_COUNTS[1:]}")
            if not np.isfinite(parts[_COUNTS]).all() or np.abs(parts[_COUNTS]).max(initial=0) > 2**53:
                raise ModelFileError(f"{file.path}: the counts of {name} are no numbers of rows")
            found[name] = (parts[_SUMS].copy(), np.rint(parts[_COUNTS]))
        metadata = file.metadata
        datasets = metadata.get(_DATASETS, [])
        numbers = [metadata.get(key, 0) for key in (_CHUNKS, _CHUNK_SIZE)]
        if not isinstance(datasets, list) or not all(isinstance(each, str) for each in datasets):
            datasets = []
        count, size = (each if isinstance(each, int) and 0 <= each < 2**31 else 0 for each in numbers)
        return _made(cls, file.path, found, datasets, count, size)


def _made(
    cls: type[ImportanceMatrix], path: str, entries: Any, datasets: Iterable[str], count: int, size: int
) -> ImportanceMatrix:
    try:
        return cls(entries, datasets=datasets, chunk_count=count, chunk_size=size)
    except InvalidArgumentError as error:
        raise ModelFileError(f"{path}: {error}") from error


# --- the older format: counts, lengths, names and floats, one after the other -------------------------


class _Bytes:
    """Bytes that are read from their beginning; what would go beyond their end is an error."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path, self.data, self.at = path, data, 0

    def take(self, count: int, what: str) -> bytes:
        if not 0 <= count <= len(self.data) - self.at:
            raise ModelFileError(
                f"{self.path}: damaged, or no importance matrix: {what} at byte {self.at} has {count} bytes, "
                f"and the file ends at {len(self.data)}"
            )
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, what: str) -> int:
        value: int = _INT.unpack(self.take(4, what))[0]
        return value


def _read_legacy(cls: type[ImportanceMatrix], path: str, data: bytes) -> ImportanceMatrix:
    import numpy as np

    if not data:
        raise ModelFileError(f"{path}: the file is empty")
    file = _Bytes(path, data)
    entries: dict[str, Any] = {}
    for index in range(file.number("the number of weights")):
        name = file.take(file.number("the length of a name"), f"name {index}").decode("utf-8", "replace")
        calls = file.number(f"the calls of {name!r}")
        count = file.number(f"the columns of {name!r}")
        values = np.frombuffer(file.take(4 * count if count > 0 else -1, f"the sums of {name!r}"), "<f4")
        # they were divided by their counts and multiplied by the calls: `values` undoes the latter
        entries[name] = (values.copy(), [calls] if calls > 0 else [1])
    if not entries:
        raise ModelFileError(f"{path}: neither a GGUF file nor an importance matrix of the older format")
    chunks, datasets = 0, []
    if file.at < len(data):
        chunks = file.number("the number of chunks")
        length = file.number("the length of the dataset's name") if file.at < len(data) else 0
        if length > 0:
            datasets = [file.take(length, "the dataset's name").decode("utf-8", "replace")]
    return _made(cls, path, entries, datasets, max(chunks, 0), 0)


def _legacy_bytes(matrix: ImportanceMatrix) -> bytes:
    parts = [_INT.pack(len(matrix.entries))]
    for name, entry in matrix.entries.items():
        data = name.encode("utf-8", "replace")
        calls = max(1, min(int(entry.counts.max()), 2**31 - 1))
        values = matrix.values(name) * calls
        parts += [_INT.pack(len(data)), data, _INT.pack(calls), _INT.pack(len(values))]
        parts.append(values.astype("<f4").tobytes())
    dataset = (matrix.datasets[0] if matrix.datasets else "").encode("utf-8", "replace")
    parts += [_INT.pack(matrix.chunk_count), _INT.pack(len(dataset)), dataset]
    return b"".join(parts)


def _replace(path: Path, data: bytes) -> None:
    try:
        with Replacement(text_.encode_path(path), 0o666) as new:
            write_all(new.fd, data)
            new.commit()
    except OSError as error:
        raise GgufWriteError(f"{os.fsdecode(path)}: can't be written: {error.strerror or error}") from error
