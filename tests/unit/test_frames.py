"""Messages between processes: what goes in comes out, and what is no message is no message."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi._core import frames
from llama_ffi.errors import ArgumentTypeError

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES: st.SearchStrategy[Any] = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def result_class(name: str) -> Any:
    return getattr(lf, name)


def sent(message: dict[str, Any]) -> dict[str, Any] | None:
    """Return what arrives of a message."""
    pipe = io.BytesIO()
    frames.Frames(io.BytesIO(), pipe).send(message)
    pipe.seek(0)
    received = frames.Frames(pipe, io.BytesIO())
    first = received.receive()
    assert received.receive() is None
    return first


@given(VALUES)
def test_there_and_back(value: Any) -> None:
    message = sent({"v": frames.encode("v", value)})
    assert message is not None
    assert frames.decode(message["v"], result_class) == value


def test_arrays_and_results() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    back = frames.decode(frames.encode("a", array), result_class)
    assert back.dtype == array.dtype and (back == array).all() and back.flags.writeable
    usage = lf.Usage(3, 4, 1)
    assert frames.decode(frames.encode("u", usage), result_class) == usage
    found = frames.decode(frames.encode("s", lf.Score([1, 2], np.array([-1.0, -2.0]))), result_class)
    assert isinstance(found, lf.Score) and found.total == -3.0


@pytest.mark.parametrize("value", [object(), print, {1: 2}, lf.LlamaError, 1j], ids=range(5))
def test_what_stays_here(value: object) -> None:
    with pytest.raises(ArgumentTypeError, match="thing"):
        frames.encode("thing", [value])


@given(st.binary(max_size=200))
def test_nonsense_is_the_end(data: bytes) -> None:
    message = frames.Frames(io.BytesIO(data), io.BytesIO()).receive()
    assert message is None or isinstance(message, dict)


@given(st.integers(0, 40))
def test_a_message_that_is_cut_off(length: int) -> None:
    pipe = io.BytesIO()
    frames.Frames(io.BytesIO(), pipe).send({"text": "x" * 40})
    assert frames.Frames(io.BytesIO(pipe.getvalue()[:length]), io.BytesIO()).receive() is None
