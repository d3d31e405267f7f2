"""Snapshots: going back to one equals never having gone on, for every kind of memory."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi._core import handle
from llama_ffi.errors import (
    ArgumentTypeError,
    ClosedError,
    InvalidArgumentError,
    MemoryOperationError,
    SequenceRangeError,
    UnsupportedError,
)

pytestmark = pytest.mark.native

KINDS = ("llama", "gemma2", "mamba", "rwkv6", "jamba")
SMALL: dict[str, Any] = {"n_ctx": 256, "n_batch": 32, "n_seq_max": 2, "n_threads": 1}


@pytest.fixture(scope="module", params=KINDS)
def any_model(request: pytest.FixtureRequest) -> Any:
    with lf.testing.random_model(request.param, seed=1) as model:
        yield model


@pytest.fixture
def small(random_model: lf.Model) -> Any:
    with random_model.context(**SMALL) as ctx:
        ctx.decode(lf.Batch.from_tokens([5, 6, 7]))
        yield ctx


def next_row(ctx: lf.Context, token: int = 9, seq_id: int = 0) -> Any:
    position = ctx.memory.seq_pos_max(seq_id) + 1
    ctx.decode(lf.Batch.from_tokens([token], pos0=position, seq_id=seq_id))
    return ctx.logits(-1)


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("partial", [False, True])
def test_going_back(any_model: lf.Model, partial: bool, on_device: bool) -> None:
    with any_model.context(**SMALL) as ctx:
        ctx.decode(lf.Batch.from_tokens([5, 6, 7, 8]))
        ctx.decode(lf.Batch.from_tokens([10, 11], seq_id=1))
        snapshot = ctx.snapshot(partial=partial, on_device=on_device)
        assert (snapshot.pos_max, snapshot.valid, snapshot.seq_id) == (3, True, 0)
        expected = next_row(ctx)
        for more in (1, 4):
            for token in range(20, 20 + more):
                next_row(ctx, token)
            ctx.restore(snapshot)
            assert ctx.memory.seq_pos_max(0) == 3
            assert ctx.memory.seq_pos_max(1) == 1, "the other sequence stays"
            with pytest.raises(lf.errors.NoOutputsError):
                ctx.logits(-1)
            assert np.allclose(next_row(ctx), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("on_device", [False, True])
def test_into_another_sequence(any_model: lf.Model, on_device: bool) -> None:
    with any_model.context(**SMALL) as ctx:
        ctx.decode(lf.Batch.from_tokens([5, 6, 7, 8]))
        ctx.decode(lf.Batch.from_tokens([10, 11, 12, 13, 14], seq_id=1))
        snapshot = ctx.snapshot(0, on_device=on_device)
        expected = next_row(ctx)
        ctx.restore(snapshot, 1)
        assert ctx.memory.seq_pos_max(1) == 3
        assert np.allclose(next_row(ctx, seq_id=1), expected, atol=1e-5 * np.abs(expected).max())


def test_into_another_context(any_model: lf.Model) -> None:
    with any_model.context(**SMALL) as ctx, any_model.context(**SMALL | {"n_batch": 16}) as other:
        ctx.decode(lf.Batch.from_tokens([5, 6, 7, 8]))
        snapshot = ctx.snapshot()
        expected = next_row(ctx)
        ctx.close()
        other.restore(snapshot)
        assert np.allclose(next_row(other), expected, atol=1e-5 * np.abs(expected).max())


def test_an_empty_sequence(small: lf.Context) -> None:
    """C leaves the sequence as it is when it reads the state of an empty one."""
    for options in ({}, {"on_device": True}, {"partial": True}):
        small.memory.clear()
        empty = small.snapshot(0, **options)
        assert empty.pos_max == -1
        small.decode(lf.Batch.from_tokens([5, 6, 7]))
        small.restore(empty)
        assert small.memory.seq_pos_max(0) == -1
        small.decode(lf.Batch.from_tokens([5, 6, 7]))


def test_a_newer_one_on_the_device_takes_the_place(small: lf.Context) -> None:
    older = small.snapshot(on_device=True)
    host = small.snapshot()
    other = small.snapshot(1, on_device=True)
    newer = small.snapshot(on_device=True)
    assert (older.valid, host.valid, other.valid, newer.valid) == (False, True, True, True)
    assert "invalid" in repr(older)
    with pytest.raises(ClosedError, match="newer one of sequence 0"):
        small.restore(older)
    for each in (host, other, newer):
        small.restore(each)


def test_what_can_not_be(small: lf.Context, random_model: lf.Model) -> None:
    snapshot = small.snapshot()
    device, partial = small.snapshot(on_device=True), small.snapshot(partial=True)
    with pytest.raises(SequenceRangeError):
        small.snapshot(2)
    with pytest.raises(SequenceRangeError):
        small.restore(snapshot, 2)
    with pytest.raises(ArgumentTypeError, match="must be a Snapshot"):
        small.restore(b"GGSQ")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="partial"):
        small.restore(partial, 1)
    with random_model.context(**SMALL) as other:
        with pytest.raises(InvalidArgumentError, match="lies on the device of another context"):
            other.restore(device)
        with pytest.raises(InvalidArgumentError, match="a part of the memory of another context"):
            other.restore(partial)
    with (
        random_model.context(**SMALL | {"type_k": "f32"}) as other,
        pytest.raises(InvalidArgumentError, match="type_k='f16', this one with 'f32'"),
    ):
        other.restore(snapshot)
    with (
        lf.testing.random_model("llama", seed=2) as model,
        model.context(**SMALL) as other,
        pytest.raises(InvalidArgumentError, match="another model"),
    ):
        other.restore(snapshot)
    small.memory.clear()
    with pytest.raises(InvalidArgumentError, match="ends at -1 now"):
        small.restore(partial)
    snapshot.close()
    snapshot.close()
    assert snapshot.closed and snapshot.size == 0 and "closed" in repr(snapshot)
    with pytest.raises(ClosedError, match="snapshot is closed"):
        small.restore(snapshot)


def test_quantized_memory_on_the_device(random_model: lf.Model) -> None:
    with random_model.context(**SMALL, type_k="q8_0") as ctx:
        ctx.decode(lf.Batch.from_tokens([5, 6, 7]))
        with pytest.raises(UnsupportedError, match="type_k is 'q8_0'"):
            ctx.snapshot(on_device=True)
        snapshot = ctx.snapshot()
        expected = next_row(ctx)
        ctx.restore(snapshot)
        assert np.array_equal(next_row(ctx), expected)


def test_a_pending_copy(small: lf.Context) -> None:
    small.memory.seq_cp(0, 1)
    with pytest.raises(MemoryOperationError, match="decode first"):
        small.snapshot(1)
    next_row(small)
    small.snapshot(1)


def test_no_room(random_model: lf.Model) -> None:
    with random_model.context(**SMALL, kv_unified=True) as ctx:
        for start in range(0, 128, 32):
            ctx.decode(lf.Batch.from_tokens([5] * 32, pos0=start))
        snapshot = ctx.snapshot()
        for start in range(128, 224, 32):
            ctx.decode(lf.Batch.from_tokens([5] * 32, pos0=start))
        for on_device in (False, True):
            with pytest.raises(MemoryOperationError, match="sequence 1 is empty now"):
                ctx.restore(snapshot, 1)
            assert ctx.memory.seq_pos_max(1) == -1
            ctx.memory.seq_rm(0, 128, -1)
            snapshot = ctx.snapshot(on_device=on_device)
            for start in range(128, 224, 32):
                ctx.decode(lf.Batch.from_tokens([5] * 32, pos0=start))
        next_row(ctx)


def test_who_keeps_whom(random_model: lf.Model) -> None:
    gc.collect()
    before = handle.live()
    ctx = random_model.context(**SMALL)
    ctx.decode(lf.Batch.from_tokens([5, 6, 7]))
    host, device = ctx.snapshot(), ctx.snapshot(on_device=True)
    ctx.close()
    assert handle.live() == before + 1, "what lies on the device is the context's"
    with pytest.raises(ClosedError, match="context is closed"):
        ctx.restore(device)
    device.close()
    gc.collect()
    assert handle.live() == before
    with random_model.context(**SMALL) as other:
        other.restore(host)


def test_models_without_a_memory() -> None:
    with lf.testing.random_model("bert", seed=1) as model, model.context(n_ctx=64, n_threads=1) as ctx:
        with pytest.raises(UnsupportedError, match="no memory"):
            ctx.snapshot()
