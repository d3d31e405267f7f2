"""Batches of libllama's own kind: what ``process`` makes of them is what ``decode`` makes."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi.errors import (
    ArgumentTypeError,
    BusyError,
    CancelledError,
    ClosedError,
    InvalidArgumentError,
    InvalidBatchError,
    LlamaError,
    NoKvSlotError,
    NoOutputsError,
    SequenceRangeError,
    TokenRangeError,
    UnsupportedError,
)

from .embedding_rows import TOKENS, Made, N, all_rows, context, saved

pytestmark = pytest.mark.native


@pytest.fixture
def ctx(llama: Made) -> Iterator[lf.Context]:
    with context(llama[0], n_seq_max=3, kv_unified=True, n_ubatch=4) as made:
        yield made


def filled(ctx: lf.Context, pos0: int = 0, seq_id: int = 0) -> lf.BatchExt:
    batch = lf.BatchExt(ctx)
    for index, token in enumerate(TOKENS):
        batch.add_token(token, seq_id, pos0 + index, output=index == N - 1)
    return batch


@pytest.mark.parametrize("kind", ["llama", "mamba", "qwen2vl", "gemma3", "lfm2"])
def test_process_equals_decode(tmp_path: Path, kind: str) -> None:
    model, rows = saved(tmp_path, kind)
    with model, context(model, n_ubatch=4) as ctx:
        ctx.decode(lf.Batch.from_tokens(TOKENS, logits="all"))
        expected = all_rows(ctx)
        ctx.memory.clear()
        batch = lf.BatchExt(ctx)
        for index, token in enumerate(TOKENS):
            assert batch.add_token(token, pos=index, output=True) == index
        ctx.process(batch)
        np.testing.assert_array_equal(all_rows(ctx), expected)
        np.testing.assert_array_equal(ctx.logits(4), expected[4])
        assert ctx.memory.seq_pos_max(0) == N - 1
        ctx.memory.clear()
        ctx.decode(lf.Batch.from_embeddings(rows, logits="all"))
        from_rows = all_rows(ctx)
        ctx.memory.clear()
        batch.clear()
        assert len(batch) == batch.n_embd == 0
        for index, row in enumerate(rows):
            if index % 2:
                batch.add_embd(row, pos=index)
            else:
                batch.set_embd_token(batch.add(pos=index), row)
            batch.set_output_embd(index)
        ctx.process(batch)
        np.testing.assert_array_equal(all_rows(ctx), from_rows)
        ctx.memory.clear()
        batch.clear()
        for index, token in enumerate(TOKENS):  # both: the model computes from the token
            batch.set_embd_token(batch.add_token(token, pos=index, output=True), rows[0])
        ctx.process(batch)
        np.testing.assert_array_equal(all_rows(ctx), expected)


def test_several_sequences(ctx: lf.Context) -> None:
    old, new = lf.Batch(8, 2), lf.BatchExt(ctx)
    for index, (sequences, place) in enumerate(
        [([0, 1], 0), ([0, 1], 1), ([2], 0), ([0], 2), ([1], 2), ([2], 1)]
    ):
        old.add(TOKENS[index], place, sequences, logits=index > 1)
        new.add_token(TOKENS[index], sequences[0])
        for more in sequences[1:]:
            new.add_seq(index, more)
            new.add_seq(index, more)
        new.set_pos(index, place)
        new.set_output_logits(index, index > 1)
    assert (new.tokens, new.positions, new.sequences, new.outputs) == (
        old.tokens,
        old.positions,
        old.sequences,
        old.outputs,
    )
    ctx.decode(old)
    expected = all_rows(ctx)
    ctx.memory.clear()
    ctx.process(new)
    np.testing.assert_array_equal(all_rows(ctx), expected)
    assert [ctx.memory.seq_pos_max(each) for each in range(3)] == [2, 2, 1]


def test_encoders(tmp_path: Path) -> None:
    model, _rows = saved(tmp_path, "t5")
    with model, context(model) as ctx:
        source, target = filled(ctx), lf.BatchExt(ctx)
        target.add_token(2, pos=0, output=True)
        with pytest.raises(InvalidBatchError, match="encode"):
            ctx.process(target)
        ctx.encode(lf.Batch.from_tokens(TOKENS))
        ctx.decode(lf.Batch.from_tokens([2]))
        expected = ctx.logits()
        ctx.memory.clear()
        ctx.encode(lf.Batch.from_tokens(TOKENS[::-1]))
        ctx.process(source, encode=True)
        ctx.process(target)
        np.testing.assert_array_equal(ctx.logits(), expected)
    model, _rows = saved(tmp_path, "bert")
    with model, context(model, embeddings=True, pooling_type="mean") as ctx:
        ctx.encode(lf.Batch.from_tokens(TOKENS))
        expected = ctx.embeddings_seq(0)
        for encode in (False, True):
            ctx.process(filled(ctx), encode=encode)
            np.testing.assert_array_equal(ctx.embeddings_seq(0), expected)


def test_four_positions(tmp_path: Path) -> None:
    model, rows = saved(tmp_path, "qwen2vl")
    image = [[2, 2 + y, 2 + x, 0] for y in range(3) for x in range(3)]
    with model, context(model) as ctx:
        ctx.decode(lf.Batch.from_tokens(TOKENS[:2]))
        ctx.decode(lf.Batch.from_embeddings(rows[:9], positions=image))
        expected = ctx.logits()
        ctx.memory.seq_rm(0, 2, -1)
        batch = lf.BatchExt(ctx)
        for row, place in zip(rows, image, strict=False):
            batch.set_pos(batch.add_embd(row), place)
        batch.set_output_logits(8)
        ctx.process(batch)
        np.testing.assert_array_equal(ctx.logits(), expected)
        with pytest.raises(InvalidBatchError, match="whose memory ends at 2"):
            ctx.process(batch)
        batch.clear()
        with pytest.raises(InvalidArgumentError, match="a token has one"):
            batch.add_token(1, pos=[1, 2, 3, 4])
        assert len(batch) == 0


# --- wrong things ---


def test_what_cant_go_in(ctx: lf.Context, llama: Made) -> None:
    row = llama[1][0]
    batch = lf.BatchExt(ctx)
    wrong: list[tuple[Callable[[], object], type[LlamaError], str]] = [
        (lambda: lf.BatchExt(llama[0]), ArgumentTypeError, "must be a Context"),  # type: ignore[arg-type]
        (lambda: batch.add(3), SequenceRangeError, "3"),
        (lambda: batch.add(-1), SequenceRangeError, "-1"),
        (lambda: batch.add_token(10**6), TokenRangeError, "1000000"),
        (lambda: batch.add_token(-1), TokenRangeError, "-1"),
        (lambda: batch.add_token("a"), ArgumentTypeError, "token"),  # type: ignore[arg-type]
        (lambda: batch.add_token(1, pos=-1), InvalidArgumentError, "pos"),
        (lambda: batch.add_token(1, pos=2**31), InvalidArgumentError, "pos"),
        (lambda: batch.add(pos=[1, 2, 3, 4]), InvalidArgumentError, "without M-RoPE"),
        (lambda: batch.add_embd(row[1:]), InvalidArgumentError, "n_embd_inp"),
        (lambda: batch.add_embd(row * np.inf), InvalidArgumentError, "finite"),
        (lambda: batch.add_embd([row]), InvalidArgumentError, r"\(n_embd,\)"),
        (lambda: batch.add_seq(0, 0), InvalidArgumentError, "no entries"),
        (lambda: batch.set_pos(0, 0), InvalidArgumentError, "no entries"),
        (lambda: ctx.process(batch), InvalidBatchError, "empty"),
        (lambda: ctx.process(lf.Batch(1)), ArgumentTypeError, "BatchExt"),  # type: ignore[arg-type]
        (lambda: ctx.decode(batch), ArgumentTypeError, "BatchExt"),  # type: ignore[arg-type]
        (lambda: ctx.process(batch, encode=True), UnsupportedError, "no encoder"),
    ]
    for call, error, said in wrong:
        with pytest.raises(error, match=said):
            call()
        assert len(batch) == 0
    batch.add_token(1)
    for call, error, said in [
        (lambda: batch.set_pos(1, 0), InvalidArgumentError, "index"),
        (lambda: batch.set_output_embd(-1), InvalidArgumentError, "index"),
        (lambda: batch.add_seq(0, 3), SequenceRangeError, "3"),
        (lambda: batch.set_embd_state(0, [row]), UnsupportedError, "set_embd_state"),
        (lambda: ctx.process(batch), InvalidBatchError, "entry 0 has no position"),
    ]:
        with pytest.raises(error, match=said):
            call()
    batch.set_pos(0, 0)
    batch.add(pos=1)
    with pytest.raises(InvalidBatchError, match="entry 1 has neither"):
        ctx.process(batch)
    batch.set_embd_token(1, row)
    with pytest.raises(InvalidBatchError, match="entry 1 is of another kind"):
        ctx.process(batch)
    for index in (0, 1):  # C would take the one for the other
        with pytest.raises(InvalidArgumentError, match="in the order of the entries"):
            batch.set_embd_token(index, row)


def test_full_and_too_many(ctx: lf.Context) -> None:
    batch = lf.BatchExt(ctx)
    for place in range(batch.capacity):
        batch.add_token(1, pos=place)
    with pytest.raises(InvalidBatchError, match="n_batch=32"):
        batch.add_token(1)
    ctx.set_causal_attn(False)
    with pytest.raises(InvalidBatchError, match="n_ubatch"):
        ctx.process(batch)
    ctx.set_causal_attn(True)
    ctx.process(batch)
    with pytest.raises(InvalidBatchError, match="next position is 32"):
        ctx.process(batch)
    with pytest.raises(NoOutputsError):
        ctx.logits()


def test_streams_that_are_separate(llama: Made) -> None:
    with context(llama[0], n_seq_max=2) as ctx:
        batch = lf.BatchExt(ctx)
        batch.add_seq(batch.add_token(1, pos=0), 1)
        with pytest.raises(InvalidBatchError, match="kv_unified"):
            ctx.process(batch)


def test_gemma3n_takes_one_of_both(tmp_path: Path) -> None:
    model, rows = saved(tmp_path, "gemma3n")
    with model, context(model) as ctx:
        batch = lf.BatchExt(ctx)
        batch.set_embd_token(batch.add_token(1, pos=0), rows[0])
        with pytest.raises(UnsupportedError, match="not both"):
            ctx.process(batch)
        batch.clear()
        batch.add_embd(rows[0], pos=0, output=True)
        ctx.process(batch)
        assert np.isfinite(ctx.logits()).all()


# --- failures are undone ---


def test_cancelled(ctx: lf.Context) -> None:
    ctx.process(filled(ctx))
    ctx.cancel()
    with pytest.raises(CancelledError, match="process was cancelled"):
        ctx.process(filled(ctx, N))
    assert ctx.memory.seq_pos_max(0) == N - 1
    with pytest.raises(NoOutputsError):
        ctx.logits()
    ctx.process(filled(ctx, N))
    assert ctx.memory.seq_pos_max(0) == 2 * N - 1


def test_no_room(llama: Made) -> None:
    with context(llama[0], n_batch=200) as ctx:
        ctx.decode(lf.Batch.from_tokens([1] * 200))
        batch = lf.BatchExt(ctx)
        for place in range(200, 300):
            batch.add_token(1, pos=place)
        with pytest.raises(NoKvSlotError, match="100 tokens"):
            ctx.process(batch)
        assert ctx.memory.seq_pos_max(0) == 199


def test_what_stops_it_from_inside(llama: Made) -> None:
    stop = threading.Event()

    def see(tensor: lf.ComputedTensor) -> bool:
        if stop.is_set():
            raise KeyError(tensor.name)
        return True

    with llama[0].context(n_ctx=256, n_threads=1, on_tensor=see, tensor_names="result_output") as ctx:
        ctx.process(filled(ctx))
        stop.set()
        with pytest.raises(KeyError, match="result_output"):
            ctx.process(filled(ctx, N))
        assert ctx.memory.seq_pos_max(0) == N - 1
        stop.clear()
        ctx.process(filled(ctx, N))


def test_ctrl_c(tmp_path: Path) -> None:
    program = """
import os, signal, llama_ffi as lf
model = lf.testing.random_model("llama")
ctx = model.context(n_ctx=256, n_threads=1, on_tensor=lambda tensor: None, tensor_names="result_norm")
ctx.decode(lf.Batch.from_tokens([1, 2]))
batch = lf.BatchExt(ctx)
for place in range(2, 9):
    batch.add_token(3, pos=place)
process = ctx._decoder._lib.llama_process
class Struck:
    def __getattr__(self, name):
        return getattr(lib, name)
    def llama_process(self, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return process(*arguments)
lib, ctx._decoder._lib = ctx._decoder._lib, Struck()
try:
    ctx.process(batch)
    print("not struck")
except KeyboardInterrupt:
    print("struck", ctx.memory.seq_pos_max(0))
ctx._decoder._lib = lib
ctx.process(batch)
print(ctx.memory.seq_pos_max(0))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["struck", "1", "8"], done.stderr


# --- lives ---


def test_close_orders(llama: Made) -> None:
    first, second = context(llama[0]), context(llama[0])
    batch = filled(first)
    with pytest.raises(InvalidArgumentError, match="another context"):
        second.process(batch)
    first.close()
    with pytest.raises(ClosedError, match="context"):
        first.process(batch)
    batch.add_token(1, pos=N)  # the context lives for it
    batch.close()
    batch.close()
    for call in (batch.clear, lambda: batch.add_token(1), lambda: batch.ptr):
        with pytest.raises(ClosedError, match="batch"):
            call()
    with pytest.raises(ClosedError, match="batch"):
        second.process(_moved(batch, second))
    with lf.BatchExt(second) as third:
        third.add_token(1, pos=0)
        second.process(third)
    assert third.closed
    with pytest.raises(ClosedError):
        lf.BatchExt(first)
    second.close()


def _moved(batch: lf.BatchExt, ctx: lf.Context) -> lf.BatchExt:
    batch.context = ctx
    return batch


def test_a_closed_batch_is_freed_at_once(llama: Made) -> None:
    from llama_ffi._core import handle

    with context(llama[0]) as ctx:
        gc.collect()
        before = handle.live()
        batch = filled(ctx)
        ctx.process(batch)
        assert handle.live() == before + 1
        batch.close()
        assert handle.live() == before
        for _ in range(50):
            filled(ctx)
        gc.collect()
        assert handle.live() == before


def test_one_thread_at_a_time(ctx: lf.Context) -> None:
    batch, errors = filled(ctx), []

    def other() -> None:
        try:
            batch.add_token(1)
        except LlamaError as error:
            errors.append(error)

    with batch._handle:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert [type(error) for error in errors] == [BusyError]


def test_sampled_on_the_back_end(llama: Made) -> None:
    with context(llama[0]) as ctx:
        ctx.decode(lf.Batch.from_tokens(TOKENS))
        best = int(ctx.logits().argmax())
        ctx.memory.clear()
        chain = lf.SamplerChain()
        chain.add_greedy()
        ctx.set_sampler(0, chain)
        ctx.process(filled(ctx))
        assert ctx.sampled_token() == best
