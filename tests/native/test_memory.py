"""A context's memory: its operations, in any order, and what would kill."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi.errors import (
    InvalidArgumentError,
    InvalidBatchError,
    MemoryOperationError,
    NoKvSlotError,
    SequenceRangeError,
)

pytestmark = pytest.mark.native

PROMPT = [1, 9038, 2501, 263, 931, 727, 471, 263, 2217, 2913]


def test_memory_operations(ctx: lf.Context) -> None:
    memory = ctx.memory
    assert (memory.seq_pos_min(), memory.seq_pos_max()) == (-1, -1)
    ctx.decode(lf.Batch.from_tokens(PROMPT))
    assert (memory.seq_pos_min(), memory.seq_pos_max()) == (0, 9)
    assert memory.seq_rm(0, 4)
    assert memory.seq_pos_max() == 3
    assert memory.can_shift
    memory.seq_add(0, 0, -1, 5)
    assert (memory.seq_pos_min(), memory.seq_pos_max()) == (5, 8)
    memory.seq_div(0, 0, -1, 2)
    assert memory.seq_pos_max() == 4
    ctx.decode(lf.Batch.from_tokens([5], pos0=5))
    memory.seq_keep(0)
    assert memory.seq_pos_max() == 5
    assert memory.seq_rm(-1)
    assert memory.seq_pos_max() == -1


def test_what_would_kill_in_memory(ctx: lf.Context) -> None:
    memory = ctx.memory
    ctx.decode(lf.Batch.from_tokens(PROMPT))
    with pytest.raises(InvalidArgumentError, match="d is 0"):
        memory.seq_div(0, 0, -1, 0)
    for sequence in (1, 255, 256, 2**31 - 1, -2):
        for call in (
            memory.seq_rm,
            lambda s: memory.seq_cp(s, 0),
            lambda s: memory.seq_cp(0, s),
            memory.seq_keep,
            lambda s: memory.seq_add(s, 0, -1, 1),
            lambda s: memory.seq_div(s, 0, -1, 2),
            memory.seq_pos_min,
            memory.seq_pos_max,
        ):
            with pytest.raises(SequenceRangeError, match=str(sequence)):
                call(sequence)
    with pytest.raises(InvalidArgumentError, match="32 bits"):
        memory.seq_add(0, 0, -1, 2**31 - 1)
    with pytest.raises(InvalidArgumentError):
        memory.seq_rm(0, -5, 2)


@pytest.mark.parametrize(
    "type_k", ["f32", "F16", lf.GgmlType.F16, "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl"]
)
def test_which_keys_can_shift(random_model: lf.Model, type_k: str) -> None:
    """All but f16 and f32 would die in the next decode, so the call is refused and nothing has changed."""
    with random_model.context(n_ctx=256, n_threads=1, type_k=type_k) as ctx:
        memory = ctx.memory
        ctx.decode(lf.Batch.from_tokens(PROMPT))
        if str(type_k).lower() in ("f16", "f32") or type_k is lf.GgmlType.F16:
            assert memory.can_shift
            memory.seq_add(0, 0, -1, 5)
            ctx.decode(lf.Batch.from_tokens([5], pos0=15))
            memory.seq_div(0, 0, -1, 2)
            ctx.decode(lf.Batch.from_tokens([5], pos0=8))
            return
        assert not memory.can_shift
        with pytest.raises(MemoryOperationError, match=r"seq_add: .*type_k 'f16' or 'f32'"):
            memory.seq_add(0, 0, -1, 5)
        with pytest.raises(MemoryOperationError, match="seq_div: "):
            memory.seq_div(0, 0, -1, 2)
        assert memory.seq_pos_max() == 9
        ctx.decode(lf.Batch.from_tokens([5], pos0=10))


@pytest.mark.parametrize(("p0", "p1"), [(-1, -1), (0, -1), (0, 5)])
def test_an_empty_sequence_is_copied_whole(random_model: lf.Model, p0: int, p1: int) -> None:
    with random_model.context(n_ctx=512, n_seq_max=2, kv_unified=False, n_threads=1) as ctx:
        ctx.decode(lf.Batch.from_tokens(PROMPT, seq_id=1))
        ctx.memory.seq_cp(0, 1, p0, p1)
        assert [ctx.memory.seq_pos_max(s) for s in range(2)] == [-1, -1]
        ctx.decode(lf.Batch.from_tokens(PROMPT, seq_id=1))
        assert ctx.memory.seq_pos_max(1) == 9


def test_copies_between_streams(random_model: lf.Model) -> None:
    with random_model.context(n_ctx=1024, n_seq_max=4, n_threads=1) as ctx:
        memory = ctx.memory
        ctx.decode(lf.Batch.from_tokens(PROMPT))
        with pytest.raises(MemoryOperationError, match="whole sequences only"):
            memory.seq_cp(0, 1, 2, 5)
        memory.seq_cp(0, 1)
        memory.seq_cp(0, 2, 0, 10)  # the whole sequence in other words
        memory.seq_cp(0, 0, 3, 5)
        assert [memory.seq_pos_max(s) for s in range(4)] == [9, 9, 9, -1]
        ctx.decode(lf.Batch.from_tokens([5], pos0=10, seq_id=0))
        expected = ctx.logits()
        ctx.decode(lf.Batch.from_tokens([5], pos0=10, seq_id=2))
        np.testing.assert_allclose(ctx.logits(), expected, atol=2e-3)
        memory.seq_keep(2)
        assert [memory.seq_pos_max(s) for s in range(4)] == [-1, -1, 10, -1]
    with random_model.context(n_ctx=256, n_seq_max=4, kv_unified=True, n_threads=1) as ctx:
        ctx.decode(lf.Batch.from_tokens(PROMPT))
        ctx.memory.seq_cp(0, 1, 0, 5)
        assert ctx.memory.seq_pos_max(1) == 4
        ctx.memory.seq_keep(1)
        assert [ctx.memory.seq_pos_max(s) for s in range(4)] == [-1, 4, -1, -1]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_order_of_memory_operations_and_decodes(random_model: lf.Model, data: st.DataObject) -> None:
    sequence = st.integers(0, 2)
    position = st.integers(-1, 40)
    unified = data.draw(st.booleans())
    with random_model.context(n_ctx=256, n_batch=16, n_seq_max=3, kv_unified=unified, n_threads=1) as ctx:
        memory = ctx.memory
        for _ in range(data.draw(st.integers(1, 12))):
            kind = data.draw(st.sampled_from(["decode", "rm", "cp", "keep", "add", "div", "clear"]))
            s = data.draw(sequence)
            try:
                if kind == "decode":
                    start = memory.seq_pos_max(s) + 1 + data.draw(st.sampled_from([0, 0, 0, 0, 1, -1]))
                    tokens = data.draw(st.lists(st.integers(0, 31_999), min_size=1, max_size=16))
                    ctx.decode(lf.Batch.from_tokens(tokens, pos0=max(0, start), seq_id=s))
                    assert np.isfinite(ctx.logits()).all()
                elif kind == "rm":
                    memory.seq_rm(data.draw(st.integers(-1, 2)), data.draw(position), data.draw(position))
                elif kind == "cp":
                    memory.seq_cp(s, data.draw(sequence), data.draw(position), data.draw(position))
                elif kind == "keep":
                    memory.seq_keep(s)
                elif kind == "add":
                    memory.seq_add(
                        s, data.draw(position), data.draw(position), data.draw(st.integers(-50, 50))
                    )
                elif kind == "div":
                    memory.seq_div(s, data.draw(position), data.draw(position), data.draw(st.integers(1, 4)))
                else:
                    memory.clear(data.draw(st.booleans()))
            except (InvalidBatchError, NoKvSlotError, MemoryOperationError):
                pass
