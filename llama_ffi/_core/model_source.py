"""Where a model is loaded from: a file, all parts of a split one, an open file, a place inside of a file."""

from __future__ import annotations

import io
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO

from ..errors import ArgumentTypeError, InvalidArgumentError, UnsupportedError
from . import check, fingerprint, model_file
from . import text as text_
from .binding import Binding
from .gguf_scan import Header
from .model_file import Path

_reading = threading.RLock()
"""Descriptors of one open file share its position, so two loads from open files must not mix."""

_MMAP_ALIGNMENT = 32
"""What the CPU's tensors need; a mapped file can't be shifted."""


class Files:
    """One file by its path, or all parts of a split model by theirs."""

    mappable = True

    def __init__(self, paths: Sequence[Path]) -> None:
        if not paths:
            raise InvalidArgumentError("path is an empty list of files")
        self.paths = [text_.encode_path(path) for path in paths]
        self.name = os.fsdecode(self.paths[0])
        self._headers = [model_file.look_at(path) for path in paths]
        self.files = tuple(os.path.abspath(os.fsdecode(path)) for path in self.paths)

    def by_path(self) -> tuple[str, ...]:
        """Return the paths by which another process can open them."""
        return self.files

    def headers(self) -> list[Header]:
        """Return the headers of all of its files, those included that C finds by the name of the first."""
        if len(self._headers) == 1:
            files = fingerprint.with_splits(self.files, str(_count(self._headers[0])))
            for path in files[1:]:
                if not os.path.isfile(path):
                    break  # C says that it's missing; and a lying count is no reason to ask 65,535 times
                self._headers.append(model_file.look_at(path))
        return self._headers

    def tensor_names(self) -> list[str]:
        """Return the names of the tensors in all of its files."""
        return [name for header in self.headers() for name in header.tensors]

    def load(self, active: Binding, params: Any) -> Any:
        """Return what C makes of it, NULL if it refuses."""
        ffi, lib = active.ffi, active.lib
        if len(self.paths) == 1:
            return lib.llama_model_load_from_file(self.paths[0], params)
        names = [ffi.new("char[]", path) for path in self.paths]
        return lib.llama_model_load_from_splits(ffi.new("char *[]", names), len(names), params)


class _FromOffset:
    """A model that begins somewhere in a file; ``_opened`` lends the file, at that place."""

    name: str
    mappable: bool
    files: tuple[str, ...] = ()
    _has_path = False

    def _opened(self) -> AbstractContextManager[Any]:
        raise NotImplementedError

    def _begins_at(self, start: int, size: int) -> None:
        check.integer("offset", start, 0, size, "within the file")
        self.mappable = start % _MMAP_ALIGNMENT == 0
        with self._opened() as own:
            try:
                own.read(1)
            except OSError as error:
                raise InvalidArgumentError(
                    f"{self.name}: can't be read from ({error.strerror}); open it with mode 'rb'"
                ) from error
            self._header = model_file.look_into(self.name, own, start)
            parts = _count(self._header)
        if parts > 1:
            raise InvalidArgumentError(
                f"{self.name} is a part of a split model; the parts can be loaded by their paths only"
            )

    def by_path(self) -> tuple[str, ...]:
        """Return the path by which another process can open it.

        Raises:
            UnsupportedError: only this process has it open.
        """
        if not self._has_path:
            raise UnsupportedError(f"{self.name}: isolate=True needs a path: no other process sees the file")
        return (os.path.abspath(self.name),)

    def headers(self) -> list[Header]:
        """Return its header, in a list."""
        return [self._header]

    def tensor_names(self) -> list[str]:
        """Return the names of the tensors in it."""
        return list(self._header.tensors)

    def load(self, active: Binding, params: Any) -> Any:
        """Return what C makes of it, NULL if it refuses; it needs the file no longer afterwards."""
        with self._opened() as own:
            return active.lib.llama_model_load_from_file_ptr(own, params)


class OpenFile(_FromOffset):
    """A file that is open already, from a position on."""

    def __init__(self, file: Any, offset: int | None) -> None:
        self._descriptor = _descriptor(file)
        self._file = file  # keeps the descriptor open
        self.name = _name(file)
        if offset is None:
            with _reading:  # else it may be where another load has moved it
                offset = os.lseek(file, 0, os.SEEK_CUR) if isinstance(file, int) else file.tell()
        self._start = check.integer("offset", offset)
        self._begins_at(self._start, os.fstat(self._descriptor).st_size)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """Lend a duplicate; the owner's position is put back afterwards."""
        with _reading:
            before = os.lseek(self._descriptor, 0, os.SEEK_CUR)
            try:
                with os.fdopen(os.dup(self._descriptor), "rb", buffering=0) as own:
                    own.seek(self._start)
                    yield own
            finally:
                os.lseek(self._descriptor, before, os.SEEK_SET)


class InsideFile(_FromOffset):
    """A file by its path, from a position on."""

    _has_path = True

    def __init__(self, path: Path, offset: int) -> None:
        self._path = path
        self._start = offset
        self.name = os.fsdecode(text_.encode_path(path))
        with model_file.open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
        self._begins_at(offset, size)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with open(self._path, "rb", buffering=0) as own:
            own.seek(self._start)
            yield own


def source(path: Path | Sequence[Path] | BinaryIO | int, offset: int | None) -> Files | OpenFile | InsideFile:
    """Return what ``path`` stands for, looked at already.

    Raises:
        ModelLoadError: it can't be a model; what can be told by its first bytes.
        ArgumentTypeError, InvalidArgumentError: it is nothing that a model can be loaded from.
    """
    if isinstance(path, int) and not isinstance(path, bool):
        return OpenFile(path, offset)
    if hasattr(path, "read") or hasattr(path, "fileno"):
        return OpenFile(path, offset)
    if isinstance(path, Sequence) and not isinstance(path, str | bytes):
        if offset is not None:
            raise InvalidArgumentError("offset: the parts of a split model are whole files")
        return Files(check.listed("path", path, "paths"))
    if offset is not None:
        return InsideFile(path, check.integer("offset", offset, 0, 2**63 - 1))  # type: ignore[arg-type]
    return Files([path])  # type: ignore[list-item]


def _descriptor(file: Any) -> int:
    if isinstance(file, io.TextIOBase):
        raise ArgumentTypeError("the file is open for text; open it with mode 'rb'")
    try:
        descriptor = file if isinstance(file, int) else file.fileno()
    except (AttributeError, OSError):
        raise ArgumentTypeError(
            f"llama.cpp reads real files only, not a {type(file).__name__}; write it to a file first "
            f"(tempfile.NamedTemporaryFile)"
        ) from None
    except ValueError as error:  # closed
        raise InvalidArgumentError(f"the file can't be used: {error}") from None
    try:
        kind = os.fstat(descriptor).st_mode
    except OSError as error:
        raise InvalidArgumentError(f"descriptor {descriptor} can't be used: {error.strerror}") from None
    except OverflowError:
        raise InvalidArgumentError(
            f"{check.shown(descriptor)} is no file's descriptor: it is too large"
        ) from None
    if not stat.S_ISREG(kind):
        raise InvalidArgumentError(
            f"{_name(file)} is no regular file (a pipe, a socket, a directory …); write it to a file first"
        )
    if not isinstance(file, int):
        file.flush()  # what the program has written and Python still holds
    return descriptor


def _name(file: Any) -> str:
    name = getattr(file, "name", None)
    if isinstance(name, str | bytes) and name:
        return os.fsdecode(name)
    return f"descriptor {name if isinstance(name, int) else file}"


def _count(header: Header) -> int:
    """Return of how many parts the model says to be one."""
    entry = header.entries.get("split.count")
    if entry is None or entry.end - entry.start != 2:  # C takes 16 bits only
        return 1
    return int(header.values["split.count"])
