"""Odd values: what a sweep (``--odd``) gives to each parameter in turn, everything else being right.

Random calls rarely put the same value everywhere; each of these has once ended in an error of Python's own
somewhere: arrays where a flag or a name belongs, text that has no UTF-8, integers that have no text, times
beyond the system's clock, what says that it is a sequence and isn't.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Make = Callable[[Path], Any]
"""A value, made anew; with the folder of the case."""


def constant(value: Any) -> Make:
    return lambda folder: value


def within(levels: int) -> Any:
    made: Any = []
    for _ in range(levels):
        made = [made]
    return made


HUGE = 10**5000
"""More than the 4,300 digits that Python turns into text."""
SURROGATE, ESCAPED = "a\ud800b", "a\udcffb"
"""No UTF-8; no UTF-8, but a file's name on POSIX systems."""

ODD: dict[str, Make] = {
    "surrogate": constant(SURROGATE),
    "surrogate of a name": constant(ESCAPED),
    "surrogate in a list": lambda folder: [SURROGATE],
    "surrogate as a key": lambda folder: {SURROGATE: 1},
    "surrogate behind a key": lambda folder: {"a": SURROGATE},
    "surrogate in a path": lambda folder: folder / SURROGATE,
    "surrogate of a name in a path": lambda folder: folder / ESCAPED,
    "NUL": constant("a\0b"),
    "NUL in a path": lambda folder: folder / "a\0b",
    "NUL in bytes": constant(b"a\0b"),
    "bytes": constant(b"\xff\xfe"),
    "long name": constant("a" * 5000),
    "numpy's text": constant(np.str_("a")),
    "huge": constant(HUGE),
    "huge below 0": constant(-HUGE),
    "huge in a list": lambda folder: [HUGE],
    "huge behind a key": lambda folder: {"a": HUGE},
    "more than 64 bits": constant(10**30),
    "NaN": constant(float("nan")),
    "infinity": constant(float("inf")),
    "NaN in a list": lambda folder: [float("nan")],
    "numpy's NaN": constant(np.float64("nan")),
    "complex": constant(1j),
    "date": constant(np.datetime64("2020-01-01")),
    "True": constant(True),
    "set": lambda folder: {"a"},
    "integer as a key": lambda folder: {1: 1},
    "generator": lambda folder: (each for each in [1, "a"]),
    "list of an empty list": lambda folder: [[]],
    "lists of two lengths": lambda folder: [[1], [1, 2]],
    "deep list": lambda folder: within(100_000),
    "floats": lambda folder: np.ones(3, np.float32),
    "integers": lambda folder: np.ones(3, np.int64),
    "small integers": lambda folder: np.ones(3, np.int8),
    "truth values": lambda folder: np.array([True, False]),
    "table of floats": lambda folder: np.ones((2, 3), np.float32),
    "table of integers": lambda folder: np.ones((2, 3), np.int32),
    "half floats": lambda folder: np.ones((1, 3, 32), np.float16),
    "floats of the other byte order": lambda folder: np.ones((3, 32), ">f4"),
    "texts": lambda folder: np.array(["a", "b"]),
    "dates": lambda folder: np.array(["2020-01-01"], "M8[D]"),
    "objects": lambda folder: np.array([[1], [None]], object),
    "records": lambda folder: np.zeros(2, [("a", "i4")]),
    "empty array": lambda folder: np.array([], np.int32),
    "integer without dimensions": lambda folder: np.array(3),
    "float without dimensions": lambda folder: np.array(0.5),
    "masked": constant(np.ma.masked),
    "table in a list": lambda folder: [np.ones((2, 3))],
    "array behind a key": lambda folder: {"a": np.ones(3)},
    "table in a list behind a key": lambda folder: {"a": [np.ones((2, 2))]},
    "memory in parts": lambda folder: memoryview(np.arange(10, dtype=np.int32))[::2],
    "memory without dimensions": lambda folder: memoryview(np.array(3)),
}
