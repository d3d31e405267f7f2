"""Batches: what goes in comes out, and what no batch can hold."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi.errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    TokenRangeError,
)

pytestmark = pytest.mark.native

PROMPT = [1, 9038, 2501, 263, 931, 727, 471, 263, 2217, 2913]


@pytest.mark.parametrize(
    "make", [list, tuple, lambda t: array("i", t), lambda t: np.array(t, np.int32), np.array]
)
def test_from_tokens_takes_every_kind_of_sequence(make: object) -> None:
    batch = lf.Batch.from_tokens(make(PROMPT), pos0=3, seq_id=2)  # type: ignore[operator]
    assert batch.tokens == PROMPT
    assert batch.positions == list(range(3, 13))
    assert batch.sequences == [[2]] * 10
    assert batch.outputs == [False] * 9 + [True]
    assert batch.n_outputs == 1
    assert len(batch) == batch.capacity == 10


def test_flags() -> None:
    outputs = {
        flags: lf.Batch.from_tokens([5, 6, 7], logits=flags).outputs for flags in ("all", "last", None)
    }
    assert outputs == {"all": [True] * 3, "last": [False, False, True], None: [False] * 3}
    assert lf.Batch.from_tokens([5, 6, 7], logits=[1, 0, 1]).outputs == [True, False, True]
    assert lf.Batch.from_tokens([5, 6, 7], logits=np.array([True, False, False])).n_outputs == 1


def test_add_and_clear() -> None:
    batch = lf.Batch(3, n_seq_max=2)
    batch.add(7, 0, [0, 1], logits=True).add(8, 1, [0])
    assert batch.tokens == [7, 8]
    assert batch.sequences == [[0, 1], [0]]
    batch.set([1, 2, 3], seq_id=1)
    assert batch.sequences == [[1], [1], [1]]
    batch.clear()
    assert len(batch) == 0
    assert "0 of 3" in repr(batch)


def test_what_no_batch_can_hold() -> None:
    full = lf.Batch(1).add(1, 0)
    for call, error in (
        (lambda: full.add(1, 1), InvalidArgumentError),
        (lambda: lf.Batch(0), InvalidArgumentError),
        (lambda: lf.Batch(1, n_seq_max=257), InvalidArgumentError),
        (lambda: lf.Batch(2).add(1, -1), InvalidArgumentError),
        (lambda: lf.Batch(2).add(1, 2**31 - 1), InvalidArgumentError),
        (lambda: lf.Batch(2).add(1, 0, []), InvalidArgumentError),
        (lambda: lf.Batch(2).add(1, 0, [0, 1]), InvalidArgumentError),
        (lambda: lf.Batch(2).add(1, 0, [-1]), InvalidArgumentError),
        (lambda: lf.Batch(2).add(1, 0, [256]), InvalidArgumentError),
        (lambda: lf.Batch(2).add(1, 0, 5), ArgumentTypeError),
        (lambda: lf.Batch(2).add(2**31, 0), InvalidArgumentError),
        (lambda: lf.Batch.from_tokens([]), InvalidArgumentError),
        (lambda: lf.Batch.from_tokens([2**31]), TokenRangeError),
        (lambda: lf.Batch.from_tokens(["a"]), ArgumentTypeError),
        (lambda: lf.Batch.from_tokens(b"abcd"), ArgumentTypeError),
        (lambda: lf.Batch.from_tokens(np.zeros((2, 2), np.int32)), ArgumentTypeError),
        (lambda: lf.Batch.from_tokens(np.zeros(3)), ArgumentTypeError),
        (lambda: lf.Batch.from_tokens([1], pos0=-1), InvalidArgumentError),
        (lambda: lf.Batch.from_tokens([1, 2], pos0=2**31 - 3), InvalidArgumentError),
        (lambda: lf.Batch.from_tokens([1], logits="some"), InvalidArgumentError),
        (lambda: lf.Batch.from_tokens([1], logits=[1, 0]), InvalidArgumentError),
        (lambda: lf.Batch.from_tokens([1], logits=5), ArgumentTypeError),
        (lambda: lf.Batch(1).set([1, 2]), InvalidArgumentError),
    ):
        with pytest.raises(error):
            call()
