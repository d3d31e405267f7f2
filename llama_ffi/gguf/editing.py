"""Change a GGUF file's metadata: everything else is copied as it is, byte for byte."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

from .._core import check
from .._core.gguf_types import ARRAY, ORDER
from .._core.model_file import Path
from ..errors import GgufKeyError
from .reader import Field, GgufFile, read
from .writer import GgufWriter


def edit(
    source: Path,
    target: Path,
    *,
    set: Mapping[str, Any] = {},
    remove: Iterable[str] = (),
    rename: Mapping[str, str] = {},
) -> None:
    """Copy a GGUF file with other metadata; the tensors are streamed, 4 MiB at a time.

    Arguments:
        source: the file to read.
        target: the file to write; it may be the source, which is replaced when the new one is complete.
        set: entries to change at their place, or to add at the end: key → value (see ``GgufWriter.add``).
            A value without a :class:`Typed` takes the type that the entry has, if it fits.
        remove: keys to leave out.
        rename: old key → new key.

    Raises:
        GgufError: the source is damaged.
        GgufKeyError: a key to remove or rename isn't there.
        GgufWriteError: the target can't be written; what was there before is still there.
        ArgumentTypeError, InvalidArgumentError: a value doesn't fit.

    Threads: any.
    """
    gone = check.names("remove", remove)
    check.instance("set", set, Mapping)
    check.instance("rename", rename, Mapping)
    with read(source) as file:
        for key in [*gone, *rename]:
            if key not in file.fields:
                raise GgufKeyError(f"{file.path} has no metadata {key!r}")
        with GgufWriter(target) as writer:
            copy_metadata(file, writer, {*gone, *set}, rename, set)
            for key, value in set.items():
                if key not in file.fields or key in gone:
                    writer.add(key, value)
            for name, tensor in file.tensors.items():
                writer.add_tensor(name, tensor)


def copy_metadata(
    file: GgufFile,
    writer: GgufWriter,
    skip: Iterable[str] = (),
    rename: Mapping[str, str] = {},
    replace: Mapping[str, Any] = {},
) -> None:
    """Copy entries as bytes, but for those in ``skip``; those in ``replace`` as well get a new value."""
    writer.be_like(file.version, pad_end=file.padded)
    skipped = frozenset(skip)
    for key, field in file.fields.items():
        if key not in skipped:
            writer.add_raw(rename.get(key, key), entry_bytes(field))
        elif key in replace:
            writer.add(rename.get(key, key), replace[key], _type_for(field, replace[key]))


def entry_bytes(field: Field) -> bytes:
    """Return type and value of an entry as they stand in the file."""
    entry = field.entry
    head = struct.pack(ORDER + "i", entry.type)
    if entry.type == ARRAY:
        head += struct.pack(ORDER + "iQ", entry.item, entry.length)
    return head + field.raw()


def _type_for(field: Field, value: Any) -> str | None:
    """Return the entry's own type if the new value is of the same kind."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # Typed has a type of its own
        return None
    many = isinstance(value, list | tuple) or getattr(value, "ndim", 0) > 0
    if many != field.is_array or field.type == "arr":
        return None
    one = value[0] if many and len(value) else value
    number = isinstance(one, int | float) and not isinstance(one, bool)
    same = {"str": isinstance(one, str | bytes), "bool": isinstance(one, bool)}.get(field.type, number)
    if field.type not in ("f32", "f64") and isinstance(one, float):
        same = False
    return field.type if same or (many and not len(value)) else None
