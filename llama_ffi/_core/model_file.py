"""Model files: what is wrong with one, before and after llama.cpp has tried to load it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from typing import IO, Any

from ..errors import (
    GgufError,
    InvalidArgumentError,
    ModelFileError,
    ModelLoadError,
    ModelNotFoundError,
    ModelPermissionError,
)
from . import check, gguf_scan, gguf_types, model_checks
from . import text as text_
from .gguf_scan import Header

_EPSILON = "_epsilon"
"""What the keys of the norms' epsilons end with; below 0 or NaN, every decode aborts on a worker thread."""
_WKV_HEAD = ".wkv.head_size"
"""What the key of RWKV's head width ends with; ggml's kernels go beyond heads of no multiple of 64."""
_FLOAT_MAX = 3.4028234663852886e38

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def open_file(path: Path) -> IO[bytes]:
    """Open a file for reading, unbuffered, or say what is in the way."""
    name = os.fsdecode(text_.encode_path(path))
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):  # opening it would wait for a writer
            raise ModelFileError(f"{name}: is a pipe; llama.cpp reads real files only")
        return open(path, "rb", buffering=0)
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise ModelFileError(f"{name}: is a directory; give a .gguf file in it") from error
    except PermissionError as error:
        if os.path.isdir(name):  # Windows says "permission denied" for directories
            raise ModelFileError(f"{name}: is a directory; give a .gguf file in it") from error
        raise ModelPermissionError(f"{name}: may not be read by this user") from error
    except OSError as error:
        if isinstance(error, ModelLoadError):
            raise
        raise ModelLoadError(f"{name}: {error.strerror or error}") from error


def look_at(path: Path) -> Header:
    """Check a GGUF file before C sees it; returns its header, raises what is wrong with it."""
    with open_file(path) as file:
        return look_into(os.fsdecode(text_.encode_path(path)), file, 0)


def look_into(name: str, file: IO[bytes], start: int) -> Header:
    """Check what begins at byte ``start`` of an open file; as :func:`look_at`."""
    try:
        size = os.fstat(file.fileno()).st_size - start
        empty = "the file is empty" if start == 0 else "it ends there"
        return look_through(name, _Shifted(file, start), size, empty)
    except OSError as error:
        if isinstance(error, ModelLoadError):
            raise
        raise ModelLoadError(f"{name}: {error.strerror or error}") from error


def look_through(
    name: str,
    file: gguf_scan.Readable,
    size: int,
    empty: str = "the file is empty",
    *,
    header_only: bool = False,
) -> Header:
    """Check ``size`` bytes of anything with ``seek`` and ``read``; as :func:`look_at`."""
    file.seek(0)
    head = file.read(24)
    if not head:
        raise ModelFileError(f"{name}: {empty}")
    if head[:4] != b"GGUF":
        raise ModelFileError(f"{name}: not a GGUF file: {kind_of(head)}")
    try:
        return gguf_scan.scan(file, size, gguf_types.tensor_type, header_only=header_only)
    except GgufError as error:
        raise ModelFileError(f"{name}: {error}") from error


def check_model(name: str, headers: Sequence[Header], overrides: Mapping[str, object]) -> None:
    """Raise what libllama would die of in a model that is sound as a file.

    Arguments:
        headers: of its files, the first part first.
        overrides: metadata that replaces the file's own.
    """
    for key in overrides:
        check.instance("a key of kv_overrides", key, str)
    own = headers[0].values
    arch = own.get("general.architecture")
    problem = None
    if isinstance(arch, str):
        values = {**own, **overrides}
        problem = model_checks.metadata_problem(arch, values.get, values)
        if problem and overrides and model_checks.metadata_problem(arch, own.get, own) != problem:
            raise InvalidArgumentError(f"kv_overrides: {problem}")
    hint = ", or give the right value in kv_overrides" if problem else ""
    tensors = {key: info for header in headers for key, info in header.tensors.items()}
    problem = problem or model_checks.tensors_problem(str(arch), tensors, {**own, **overrides}.get)
    if problem:
        raise ModelFileError(f"{name}: {problem}; fix the file{hint}")


class _Shifted:
    """A file that begins later than it does."""

    def __init__(self, file: IO[bytes], start: int) -> None:
        self._start = start
        self._seek = file.seek
        self.read = file.read
        self.seek(0)

    def seek(self, position: int) -> int:
        return self._seek(self._start + position)


def kind_of(head: bytes) -> str:
    """Say what a file that isn't GGUF seems to be, by its first bytes."""
    start = head[:4]
    if start in (b"lmgg", b"fmgg", b"tjgg", b"ggml", b"ggmf", b"ggjt"):
        return "it has the older GGML format; convert it to GGUF"
    if start[:2] == b"PK":
        return "it is a zip archive or a PyTorch checkpoint; convert it to GGUF"
    if len(head) > 8 and head[8:9] == b"{":
        return "it looks like a safetensors file; convert it to GGUF"
    if start == b"vers":
        return "it looks like a Git LFS pointer; fetch the file itself (git lfs pull)"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return f"it looks like a text file, beginning with {head[:16]!r}"
    return f"it begins with {start!r} instead of b'GGUF'"


def check_overrides(overrides: Mapping[str, object]) -> None:
    """Raise for a value of ``kv_overrides`` that every decode would die of."""
    for key, value in overrides.items():
        check.instance("a key of kv_overrides", key, str)
        if key.endswith(_EPSILON) and isinstance(value, float) and not 0 <= value <= _FLOAT_MAX:
            raise InvalidArgumentError(
                f"kv_overrides[{key!r}] is {value}; it must be finite and not below 0, such as 1e-5"
            )
        if key.endswith(_WKV_HEAD) and isinstance(value, int) and (value <= 0 or value % 64):
            raise InvalidArgumentError(f"kv_overrides[{key!r}] is {value}; it must be a multiple of 64")


def load_error(name: str, lines: Sequence[str], cancellable: bool) -> ModelLoadError:
    said = [words(line) for line in lines]
    if cancellable and any("cancelled model load" in line for line in said):
        return ModelLoadError(f"{name}: the progress callback cancelled the load", log=lines)
    telling = [
        line
        for line in said
        if ("error" in line or "fail" in line or "invalid" in line) and line != "failed to load model"
    ]
    reason = "; ".join(dict.fromkeys(telling[-3:])) or "llama.cpp refused it without a word"
    damaged = (
        "not within the file bounds",
        "failed to read",
        "failed to load model from",
        "invalid magic",
        "failed to initialize",
    )
    kind = ModelFileError if any(mark in reason for mark in damaged) else ModelLoadError
    hint = " (the file is cut off or damaged; fetch it again)" if kind is ModelFileError else ""
    return kind(f"{name}: {reason}{hint}", log=lines)


def words(line: str) -> str:
    """Return a line of llama.cpp's log without the C function's name in front."""
    head, colon, rest = line.partition(": ")
    return rest.strip() if colon and head.replace("_", "").isalnum() else line.strip()


def is_complete(ffi: Any, lib: Any, path: str) -> bool:
    """Return whether a GGUF file that C wrote (and reports nothing about) has all of its tensors' bytes."""
    params = ffi.new("struct gguf_init_params *", {"no_alloc": True, "ctx": ffi.NULL})
    gguf = lib.gguf_init_from_file(text_.encode_path(path), params[0])
    if gguf == ffi.NULL:
        return False
    try:
        end = lib.gguf_get_data_offset(gguf)
        count = lib.gguf_get_n_tensors(gguf)
        if count:
            end += lib.gguf_get_tensor_offset(gguf, count - 1) + lib.gguf_get_tensor_size(gguf, count - 1)
        return bool(os.path.getsize(path) >= end)
    finally:
        lib.gguf_free(gguf)
