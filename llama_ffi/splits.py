"""Names of the parts of a split model: ``big-00001-of-00003.gguf``.

:meth:`Model.load` finds the parts by these names when it is given the first one; parts with other names are
given to it as a list.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import SupportsIndex

from ._core import binding, check
from ._core import text as text_
from ._core.model_file import Path as AnyPath
from .errors import InvalidArgumentError

_MOST = 65_535
"""``split.count`` in a file has 16 bits."""


def path(prefix: AnyPath, number: SupportsIndex, count: SupportsIndex) -> Path:
    """Return the path of one part.

    C: llama_split_path

    Arguments:
        prefix: what all parts' paths begin with: "big" for "big-00001-of-00003.gguf".
        number: which part, 0 to count - 1, as C counts them; the name says one more.
        count: how many parts there are, 1 to 65,535.

    Raises:
        InvalidArgumentError: a number outside of its range.
        ArgumentTypeError: the prefix is no path.

    Threads: any.
    """
    parts = check.integer("count", count, 1, _MOST)
    index = check.integer("number", number, 0, parts - 1)
    active = binding.active()
    data = text_.encode_path(prefix, "prefix")
    room = len(data) + 32
    buffer = active.ffi.new("char[]", room)
    length = active.lib.llama_split_path(buffer, room, data, index, parts)
    return Path(os.fsdecode(active.ffi.buffer(buffer, length)[:]))


def prefix(path: AnyPath, number: SupportsIndex, count: SupportsIndex) -> Path | None:
    """Return what the paths of all parts begin with, or None if ``path`` isn't named like that part.

    C: llama_split_prefix

    Arguments:
        path: the path of a part.
        number: which part it should be, 0 to count - 1.
        count: how many parts there should be, 1 to 65,535.

    Raises:
        InvalidArgumentError: a number outside of its range.
        ArgumentTypeError: ``path`` is no path.

    Threads: any.
    """
    parts = check.integer("count", count, 1, _MOST)
    index = check.integer("number", number, 0, parts - 1)
    active = binding.active()
    data = text_.encode_path(path)
    buffer = active.ffi.new("char[]", len(data) + 1)
    length = active.lib.llama_split_prefix(buffer, len(data) + 1, data, index, parts)
    return Path(os.fsdecode(active.ffi.buffer(buffer, length)[:])) if length else None


def parts(path_of_one: AnyPath) -> list[Path]:
    """Return the paths of all parts of a split model, in their order, whether they exist or not.

    Arguments:
        path_of_one: any part of it; its name says how many there are.

    Returns:
        the paths, as many as the name says.

    Raises:
        InvalidArgumentError: it isn't named like a part.
        ArgumentTypeError: it is no path.

    Threads: any.
    """
    name = os.fsdecode(text_.encode_path(path_of_one))
    number, _, count = name.removesuffix(".gguf").rpartition("-of-")
    number = number.rpartition("-")[2]
    if name.endswith(".gguf") and number.isdecimal() and count.isdecimal():
        total, index = int(count), int(number) - 1
        if 1 <= total <= _MOST and 0 <= index < total:
            common = prefix(name, index, total)
            if common is not None:
                return [path(common, each, total) for each in range(total)]
    raise InvalidArgumentError(
        f"{name}: not named like a part of a split model, such as {'big-00001-of-00003.gguf'!r}"
    )
