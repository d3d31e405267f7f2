"""Arrays to C: every way to hold integers arrives equal, every other thing is refused by name."""

from __future__ import annotations

import ctypes
from array import array

import numpy as np
import pytest
from cffi import FFI
from hypothesis import given
from hypothesis import strategies as st

from llama_ffi._core.arrays import floats_to_numpy, int32_pointer, int32_to_numpy, int32_view
from llama_ffi.errors import ArgumentTypeError, TokenRangeError

ffi = FFI()
INT32 = st.integers(-(2**31), 2**31 - 1)


@given(st.lists(INT32, max_size=50))
def test_every_container_arrives_equal(values: list[int]) -> None:
    containers = [
        values,
        tuple(values),
        array("i", values),
        array("q", values),
        np.array(values, np.int32),
        np.array(values, np.int64),
        np.array([v for v in values for _ in range(2)], np.int32)[::2],
        iter(values),
        memoryview(array("i", values)),
    ]
    for container in containers:
        pointer, count = int32_pointer(ffi, container)
        assert list(ffi.unpack(pointer, count)) == values if count else values == []


def test_an_int32_buffer_is_not_copied() -> None:
    values = np.arange(5, dtype=np.int32)
    pointer, _ = int32_pointer(ffi, values)
    values[0] = 77
    assert pointer[0] == 77


def test_ctypes_arrays() -> None:
    values = (ctypes.c_int * 3)(1, 5, 6)
    view = int32_view(values)
    assert list(view) == [1, 5, 6] and max(view) == 6
    values[0] = 77
    assert view[0] == 77  # no copy
    assert int32_view((ctypes.c_int64 * 2)(7, 8)).tolist() == [7, 8]
    with pytest.raises(ArgumentTypeError):
        int32_view((ctypes.c_float * 2)())


def test_too_large_values_are_refused() -> None:
    for wrong in ([2**31], [-(2**31) - 1], np.array([2**40])):
        with pytest.raises(TokenRangeError, match="32 bits"):
            int32_view(wrong)


@pytest.mark.parametrize(
    "wrong", ["abc", ["a"], [1.5], b"abc", np.zeros((2, 2), np.int32), np.zeros(2), 5, None, {1: 2}.items]
)
def test_other_things_are_refused(wrong: object) -> None:
    with pytest.raises(ArgumentTypeError, match="tokens"):
        int32_view(wrong)


def test_numpy_results_are_copies() -> None:
    floats = ffi.new("float[]", [1.0, 2.0, 3.0, 4.0])
    ints = ffi.new("int32_t[]", [5, 6])
    rows, row = floats_to_numpy(ffi, floats, 2, 2), int32_to_numpy(ffi, ints, 2)
    floats[0], ints[0] = 9.0, 9
    assert rows.tolist() == [[1.0, 2.0], [3.0, 4.0]] and rows.dtype == np.float32
    assert row.tolist() == [5, 6] and rows.flags.writeable
