"""Embeddings as input: the rows of the token embedding matrix give what their tokens give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi.errors import (
    ArgumentTypeError,
    CancelledError,
    InvalidArgumentError,
    InvalidBatchError,
    NoKvSlotError,
    NoOutputsError,
    SequenceRangeError,
    UnsupportedError,
)

from .embedding_rows import TOKENS, Made, N, all_rows, context, saved

pytestmark = pytest.mark.native


def outputs(ctx: lf.Context, batch: lf.Batch) -> Any:
    ctx.decode(batch)
    return all_rows(ctx)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "mamba", "llama-moe", "qwen2vl", "gpt2", "lfm2"])
@pytest.mark.parametrize("n_ubatch", [4, 16])
def test_rows_of_the_matrix_equal_their_tokens(tmp_path: Path, kind: str, n_ubatch: int) -> None:
    model, rows = saved(tmp_path, kind)
    with model, context(model, n_ubatch=n_ubatch) as ctx:
        for flags in ("last", "all"):
            expected = outputs(ctx, lf.Batch.from_tokens(TOKENS, logits=flags))
            ctx.memory.clear()
            found = outputs(ctx, lf.Batch.from_embeddings(rows, logits=flags))
            np.testing.assert_array_equal(found, expected)
            assert ctx.memory.seq_pos_max(0) == N - 1
            ctx.decode(lf.Batch.from_tokens([5], pos0=N))  # tokens go on after embeddings
            ctx.memory.clear()


def test_gemma_scales_tokens_and_not_embeddings(tmp_path: Path) -> None:
    model, rows = saved(tmp_path, "gemma3")
    with model, context(model) as ctx:
        expected = outputs(ctx, lf.Batch.from_tokens(TOKENS))
        ctx.memory.clear()
        plain = outputs(ctx, lf.Batch.from_embeddings(rows))
        ctx.memory.clear()
        scaled = outputs(ctx, lf.Batch.from_embeddings(rows * np.float32(np.sqrt(model.n_embd))))
    assert np.abs(plain - expected).max() > 1e-2
    np.testing.assert_allclose(scaled, expected, atol=1e-4)


def test_encoders_take_embeddings(tmp_path: Path) -> None:
    model, rows = saved(tmp_path, "bert")
    with model, context(model, embeddings=True, pooling_type="mean") as ctx:
        for call in (ctx.decode, ctx.encode):
            call(lf.Batch.from_tokens(TOKENS))
            expected = ctx.embeddings_seq(0)
            call(lf.Batch.from_embeddings(rows))
            np.testing.assert_array_equal(ctx.embeddings_seq(0), expected)
    model, rows = saved(tmp_path, "t5")
    with model, context(model) as ctx:
        ctx.encode(lf.Batch.from_tokens(TOKENS))
        expected = outputs(ctx, lf.Batch.from_tokens([2, 3]))
        ctx.memory.clear()
        ctx.encode(lf.Batch.from_embeddings(rows))
        np.testing.assert_array_equal(outputs(ctx, lf.Batch.from_tokens([2, 3])), expected)


def test_several_sequences(llama: Made) -> None:
    model, rows = llama
    with context(model, n_seq_max=3, kv_unified=True) as ctx:
        tokens, batch = lf.Batch(8, 2), lf.Batch(8, 2, n_embd=model.n_embd_inp)
        for index, (sequences, place) in enumerate(
            [([0, 1], 0), ([0, 1], 1), ([2], 0), ([0], 2), ([1], 2), ([2], 1)]
        ):
            tokens.add(TOKENS[index], place, sequences, logits=index > 1)
            batch.add_embedding(rows[index], place, sequences, logits=index > 1)
        expected = outputs(ctx, tokens)
        ctx.memory.clear()
        np.testing.assert_array_equal(outputs(ctx, batch), expected)
        assert len(expected) == 4
    with context(model, n_seq_max=2) as ctx, pytest.raises(InvalidBatchError, match="kv_unified"):
        ctx.decode(batch)


def test_a_batch_is_filled_again(llama: Made) -> None:
    model, rows = llama
    batch = lf.Batch(N, n_embd=model.n_embd_inp)
    with context(model) as ctx:
        for place in range(N):
            batch.set_embeddings(rows[place : place + 1], pos0=place)
            ctx.decode(batch)
        one_by_one = ctx.logits()
        ctx.memory.clear()
        batch.clear()
        for place in range(N):
            batch.add_embedding(rows[place].tolist(), place, logits=place == N - 1)
        np.testing.assert_array_equal(batch.embeddings, rows)
        assert (len(batch), batch.n_embd, batch.tokens) == (N, model.n_embd_inp, [])
        ctx.decode(batch)
        np.testing.assert_allclose(ctx.logits(), one_by_one, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_goes_in_is_there(data: st.DataObject) -> None:
    count, width = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 5))
    dtype = data.draw(st.sampled_from([np.float16, np.float32, np.float64, np.int16, ">f4"]))
    values = np.arange(2 * count * width).reshape(2 * count, width).astype(dtype)[::2]
    if data.draw(st.booleans()):
        values = np.asfortranarray(values)
    places = data.draw(st.lists(st.integers(0, 99), min_size=count, max_size=count))
    batch = lf.Batch.from_embeddings(values, positions=places, seq_id=3, logits="all", capacity=count + 1)
    np.testing.assert_array_equal(batch.embeddings, values.astype(np.float32))
    assert batch.positions == places
    assert batch.sequences == [[3]] * count
    assert batch.n_outputs == count == len(batch)


# --- M-RoPE ---


def test_four_positions(tmp_path: Path) -> None:
    model, rows = saved(tmp_path, "qwen2vl")
    with model, context(model, n_ubatch=4) as ctx:
        expected = outputs(ctx, lf.Batch.from_tokens(TOKENS))
        ctx.memory.clear()
        line = np.arange(N)
        same = np.stack([line, line, line, np.zeros_like(line)], axis=1)
        np.testing.assert_array_equal(outputs(ctx, lf.Batch.from_embeddings(rows, positions=same)), expected)
        ctx.memory.clear()
        batch = lf.Batch(N, n_embd=model.n_embd_inp)
        for index, row in enumerate(rows):
            batch.add_embedding(row, [int(each) for each in same[index]], logits=index == N - 1)
        np.testing.assert_array_equal(outputs(ctx, batch), expected)
        ctx.memory.clear()
        # an image of 3 x 3 at one time: what is in a slice of its own sees those before
        image = np.array([[2, 2 + y, 2 + x, 0] for y in range(3) for x in range(3)])
        ctx.decode(lf.Batch.from_tokens(TOKENS[:2]))
        found = outputs(ctx, lf.Batch.from_embeddings(rows[:9], positions=image))
        turned = image[:, [0, 2, 1, 3]]
        assert ctx.memory.seq_pos_max(0) == 2
        with pytest.raises(InvalidBatchError, match="position 2 of sequence 0, whose memory ends at 2"):
            ctx.decode(lf.Batch.from_embeddings(rows[:9], positions=image))
        ctx.memory.seq_rm(0, 2, -1)
        other = outputs(ctx, lf.Batch.from_embeddings(rows[:9], positions=turned))
        assert np.abs(found - other).max() > 1e-5
        ctx.decode(lf.Batch.from_tokens([5], pos0=5))


def test_four_positions_need_mrope(llama: Made) -> None:
    model, rows = llama
    with context(model) as ctx, pytest.raises(InvalidBatchError, match="M-RoPE"):
        ctx.decode(lf.Batch.from_embeddings(rows[:1], positions=[[0, 0, 0, 0]]))


# --- failures ---


def test_wrong_arrays(llama: Made) -> None:
    model, rows = llama
    make = lf.Batch.from_embeddings
    bad = rows.copy()
    bad[3, 1] = np.nan
    for wrong, error, said in [
        (bad, InvalidArgumentError, r"\[3, 1\] is nan"),
        (rows.astype(np.float64) * 1e300, InvalidArgumentError, "finite in float32"),
        (rows[0], InvalidArgumentError, r"\(n, n_embd\)"),
        (rows[:0], InvalidArgumentError, "at least one"),
        (rows[:, :0], InvalidArgumentError, "at least one"),
        (rows.astype(complex), ArgumentTypeError, "complex"),
        (rows > 0, ArgumentTypeError, "bool"),
        ([["a"]], ArgumentTypeError, "floats"),
        ([[1.0], [1.0, 2.0]], ArgumentTypeError, "one length"),
        (None, ArgumentTypeError, "object"),
    ]:
        with pytest.raises(error, match=said):
            make(wrong)
    for positions, error in [
        ([0], InvalidArgumentError),
        ([[0] * 3] * N, InvalidArgumentError),
        ([-1] * N, InvalidArgumentError),
        ([2**31] * N, InvalidArgumentError),
        ([0.5] * N, ArgumentTypeError),
    ]:
        with pytest.raises(error, match="positions"):
            make(rows, positions=positions)
    with pytest.raises(InvalidArgumentError, match="seq_id"):
        make(rows, seq_id=256)
    batch = lf.Batch(2, n_embd=model.n_embd_inp)
    for call in (lambda: batch.set([1]), lambda: batch.add(1, 0)):
        with pytest.raises(InvalidArgumentError, match="takes embeddings"):
            call()
    with pytest.raises(InvalidArgumentError, match="don't fit"):
        batch.set_embeddings(rows)
    with pytest.raises(InvalidArgumentError, match="wide"):
        batch.add_embedding(rows[0, 1:], 0)
    with pytest.raises(InvalidArgumentError, match="one position or four"):
        batch.add_embedding(rows[0], [1, 2])
    batch.add_embedding(rows[0], 0).add_embedding(rows[1], 1)
    with pytest.raises(InvalidArgumentError, match="full"):
        batch.add_embedding(rows[0], 2)
    with pytest.raises(InvalidArgumentError, match="takes tokens"):
        lf.Batch(3).add_embedding(rows[0], 0)
    with pytest.raises(InvalidArgumentError, match="memory"):
        lf.Batch(2**31 - 1, n_embd=2**20)


def test_what_the_context_refuses(llama: Made) -> None:
    model, rows = llama
    with context(model) as ctx:
        with pytest.raises(InvalidBatchError, match=r"7 wide.*n_embd_inp"):
            ctx.decode(lf.Batch.from_embeddings(rows[:, :7]))
        with pytest.raises(SequenceRangeError):
            ctx.decode(lf.Batch.from_embeddings(rows, seq_id=1))
        with pytest.raises(InvalidBatchError, match="n_batch"):
            ctx.decode(lf.Batch.from_embeddings(np.repeat(rows, 4, axis=0)))
        with pytest.raises(InvalidBatchError, match="empty"):
            ctx.decode(lf.Batch(1, n_embd=model.n_embd_inp))
        ctx.decode(lf.Batch.from_embeddings(rows))
        with pytest.raises(InvalidBatchError, match="the next position is 11"):
            ctx.decode(lf.Batch.from_embeddings(rows))
        with pytest.raises(NoOutputsError):
            ctx.logits()
        with pytest.raises(UnsupportedError, match="no encoder"):
            ctx.encode(lf.Batch.from_embeddings(rows))


def test_failures_are_undone(llama: Made) -> None:
    model, rows = llama
    with context(model, n_ubatch=4, n_batch=256) as ctx:
        ctx.decode(lf.Batch.from_embeddings(rows))
        kept = ctx.memory.seq_pos_max(0)
        ctx.cancel()
        with pytest.raises(CancelledError, match="cancelled"):
            ctx.decode(lf.Batch.from_embeddings(rows, pos0=N))
        assert ctx.memory.seq_pos_max(0) == kept
        decode, calls = ctx._decoder._decode, []

        def cancelled_after_one(*arguments: Any) -> int:
            calls.append(decode(*arguments))
            ctx.cancel()
            return calls[-1]

        ctx._decoder._decode = cancelled_after_one
        with pytest.raises(CancelledError, match="the memory is as before"):
            ctx.decode(lf.Batch.from_embeddings(rows, pos0=N))
        ctx._decoder._decode = decode
        assert len(calls) == 1
        assert ctx.memory.seq_pos_max(0) == kept
        with pytest.raises(NoKvSlotError):
            ctx.decode(lf.Batch.from_embeddings(np.tile(rows, (23, 1)), pos0=N))
        assert ctx.memory.seq_pos_max(0) == kept
        ctx.decode(lf.Batch.from_embeddings(rows, pos0=N))


def test_a_kind_that_takes_none() -> None:
    model = lf.testing.random_model("graniteswitch")
    with model, context(model) as ctx, pytest.raises(UnsupportedError, match="graniteswitch models need"):
        ctx.decode(lf.Batch.from_embeddings(np.zeros((1, model.n_embd_inp))))


def test_deepseek4_takes_embeddings_of_one_sequence_each() -> None:
    model = lf.testing.random_model("deepseek4")
    with model, context(model, n_seq_max=2, kv_unified=True) as ctx:
        batch = lf.Batch(2, 2, n_embd=model.n_embd_inp)
        batch.add_embedding(np.ones(model.n_embd_inp), 0, [0, 1])
        with pytest.raises(InvalidBatchError, match="one sequence each"):
            ctx.decode(batch)
        batch.clear()
        batch.add_embedding(np.ones(model.n_embd_inp), 0, [1], logits=True)
        ctx.decode(batch)
        assert np.isfinite(ctx.logits()).all()


# --- all rows at once ---


def test_borrowed_embeddings(llama: Made) -> None:
    model, rows = llama
    with context(model, embeddings=True) as ctx:
        with pytest.raises(NoOutputsError), ctx.borrow_embeddings():
            pass
        ctx.decode(lf.Batch.from_embeddings(rows, logits="all"))
        with ctx.borrow_embeddings() as found:
            assert found.shape == (N, model.n_embd_out)
            assert not found.flags.writeable
            for index in range(N):
                np.testing.assert_array_equal(found[index], ctx.embeddings(index))
            with pytest.raises(lf.errors.BorrowedError):
                ctx.decode(lf.Batch.from_embeddings(rows, pos0=N))
        ctx.close()
        assert np.isfinite(found).all()  # it keeps the context
    with context(model, embeddings=True, pooling_type="mean") as ctx:
        ctx.decode(lf.Batch.from_tokens(TOKENS))
        with pytest.raises(UnsupportedError, match="embeddings_seq"), ctx.borrow_embeddings():
            pass
    with context(model) as ctx:
        ctx.decode(lf.Batch.from_tokens(TOKENS))
        with pytest.raises(NoOutputsError, match="embeddings=True"), ctx.borrow_embeddings():
            pass
