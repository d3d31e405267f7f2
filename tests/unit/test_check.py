"""Checks of arguments: the right value passes unchanged, the wrong one is named with its range."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_ffi._core import check
from llama_ffi.errors import ArgumentTypeError, InvalidArgumentError, SequenceRangeError, TokenRangeError


@given(st.integers(), st.integers(-100, 100), st.integers(0, 200))
def test_integer_passes_exactly_its_range(value: int, low: int, width: int) -> None:
    if low <= value <= low + width:
        assert check.integer("n", value, low, low + width) == value
    else:
        with pytest.raises(
            InvalidArgumentError, match=rf"n is {value}; it must lie in \[{low}, {low + width}\]"
        ):
            check.integer("n", value, low, low + width)


def test_integer_takes_numpy_and_refuses_the_rest() -> None:
    assert check.integer("n", np.int64(3)) == 3
    for wrong in (True, 1.0, "1", None):
        with pytest.raises(ArgumentTypeError, match="n must be an integer"):
            check.integer("n", wrong)  # type: ignore[arg-type]


def test_integer_says_why() -> None:
    with pytest.raises(InvalidArgumentError, match=r"n_ctx is -1; .* \(0 means from the model\)"):
        check.integer("n_ctx", -1, 0, 10, "0 means from the model")


def test_numbers_without_text_are_refused_like_others() -> None:
    """Python turns no integer of more than 4,300 digits into text, and no list in 100,000 lists."""
    huge = 10**5000
    with pytest.raises(
        InvalidArgumentError, match=r"n is an object of type int too large to be shown; it must"
    ):
        check.integer("n", huge)
    with pytest.raises(TokenRangeError, match="token is an object"):
        check.token(-huge, 10)
    with pytest.raises(SequenceRangeError, match="seq_id is an object"):
        check.sequence(huge, 4)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (huge, deep):
        with pytest.raises(InvalidArgumentError, match=f"an object of type {type(value).__name__} too large"):
            check.choice("type", value, {"a": 1})


def test_values_in_messages_are_short() -> None:
    assert check.shown("a") == "'a'"
    assert len(check.shown("a" * 10**6)) <= 200


def test_lists() -> None:
    assert check.listed("tools", (1, 2), "dicts") == [1, 2]
    for wrong in ("ab", b"ab", 3, np.array(3), memoryview(np.array(3))):  # the last two say they are iterable
        with pytest.raises(ArgumentTypeError, match="tools must be a list of dicts"):
            check.listed("tools", wrong, "dicts")  # type: ignore[arg-type]


def test_seconds() -> None:
    assert check.seconds("timeout", 3) == 3.0
    for wrong in (-1, 1e30, math.inf):
        with pytest.raises(InvalidArgumentError, match="timeout"):
            check.seconds("timeout", wrong)


def test_real() -> None:
    assert check.real("temp", np.float32(0.5)) == 0.5
    assert check.real("temp", math.inf, finite=False) == math.inf
    for wrong in (math.nan, math.inf, -math.inf, -1.0, 10**400):
        with pytest.raises(InvalidArgumentError, match="temp"):
            check.real("temp", wrong, 0)
    for odd in ("0.5", None, b"1"):
        with pytest.raises(ArgumentTypeError, match="temp must be a number"):
            check.real("temp", odd)  # type: ignore[arg-type]


@given(st.integers(-10, 50), st.integers(1, 40))
def test_token(value: int, n_vocab: int) -> None:
    if 0 <= value < n_vocab:
        assert check.token(value, n_vocab) == value
    else:
        with pytest.raises(
            TokenRangeError, match=f"token is {value}; the vocabulary has the ids 0 to {n_vocab - 1}"
        ):
            check.token(value, n_vocab)


def test_sequence() -> None:
    assert check.sequence(0, 1) == 0
    assert check.sequence(-1, 1, any_below_zero=True) == -1
    for value in (-1, 1, 10**9):
        with pytest.raises(SequenceRangeError, match=r"seq_id is .*n_seq_max=1"):
            check.sequence(value, 1)


def test_instance_and_listed() -> None:
    check.instance("name", "a", str)
    with pytest.raises(ArgumentTypeError, match="name must be a str, not int"):
        check.instance("name", 5, str)
    assert check.listed("stops", iter(["a", "b"]), "texts") == ["a", "b"]
    for wrong in ("abc", b"abc", 5, None):
        with pytest.raises(ArgumentTypeError, match="stops must be a list of texts"):
            check.listed("stops", wrong, "texts")  # type: ignore[arg-type]


def test_choice() -> None:
    allowed = {"f16": 1, "q8_0": 8}
    assert check.choice("type_k", "F16", allowed) == 1
    assert check.choice("type_k", 8, allowed) == 8
    for wrong in ("q9", 2, True, None):
        with pytest.raises(InvalidArgumentError, match=r"type_k is .*choose one of: f16, q8_0"):
            check.choice("type_k", wrong, allowed)
