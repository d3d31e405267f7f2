"""Borrowed logits: zero-copy, read-only, never dangling."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi._core import handle
from llama_ffi.errors import BorrowedError, ClosedError, NoOutputsError, UnsupportedError

pytestmark = pytest.mark.model

TOKENS = [1, 300, 301, 302]


@pytest.fixture(scope="module")
def model() -> lf.Model:
    return lf.Model.load(lf.tiny_model_path())


@pytest.fixture
def ctx(model: lf.Model) -> Iterator[lf.Context]:
    with model.context(n_ctx=512) as ctx:
        ctx.decode(lf.Batch.from_tokens(TOKENS, logits="all"))
        yield ctx


def test_rows_are_the_logits(ctx: lf.Context) -> None:
    with ctx.borrow_logits() as rows:
        assert rows.shape == (len(TOKENS), ctx.model.vocab.n_tokens)
        assert rows.dtype == np.float32
        for index in range(len(TOKENS)):
            assert (rows[index] == ctx.logits(index)).all()


def test_it_is_no_copy_and_read_only(ctx: lf.Context) -> None:
    address = int(lf.raw.ffi.cast("uintptr_t", lf.raw.lib.llama_get_logits(ctx.ptr)))
    with ctx.borrow_logits() as rows:
        assert rows.__array_interface__["data"] == (address, True)
        with pytest.raises(ValueError, match="read-only"):
            rows[0, 0] = 1.0


def test_only_marked_tokens_have_rows(ctx: lf.Context) -> None:
    ctx.memory.clear()
    ctx.decode(lf.Batch.from_tokens(TOKENS, logits=[True, False, True, False]))
    with ctx.borrow_logits() as rows:
        assert rows.shape[0] == 2
        assert (rows[1] == ctx.logits(2)).all()


def test_no_decode_inside(ctx: lf.Context) -> None:
    with ctx.borrow_logits(), pytest.raises(BorrowedError, match="leave the `with` block"):
        ctx.decode(lf.Batch.from_tokens([5], pos0=4))
    ctx.decode(lf.Batch.from_tokens([5], pos0=4))


def test_close_waits_for_the_last_view(model: lf.Model) -> None:
    gc.collect()
    before = handle.live()
    ctx = model.context(n_ctx=512)
    ctx.decode(lf.Batch.from_tokens(TOKENS, logits="all"))
    with ctx.borrow_logits() as rows:
        kept = memoryview(rows[2][5:9])
        expected = kept.tolist()
    del rows
    ctx.close()
    gc.collect()
    with pytest.raises(ClosedError):
        ctx.logits(0)
    assert handle.live() == before + 1, "freed under a view"
    assert kept.tolist() == expected
    del kept
    gc.collect()
    assert handle.live() == before


def test_a_call_that_would_move_the_memory_is_refused(ctx: lf.Context) -> None:
    with ctx.borrow_logits() as rows:
        kept = rows[0]
    del rows
    more = [1, *range(300, 310)]
    ctx.memory.clear()
    with pytest.raises(BorrowedError, match="11 outputs"):
        ctx.decode(lf.Batch.from_tokens(more, logits="all"))
    with pytest.raises(BorrowedError, match="embeddings"):
        ctx.set_embeddings(True)
    ctx.decode(lf.Batch.from_tokens(more))  # as many outputs as before: nothing moves
    assert np.isfinite(kept).all()
    del kept
    ctx.memory.clear()
    ctx.decode(lf.Batch.from_tokens(more, logits="all"))


def test_nothing_to_borrow(model: lf.Model) -> None:
    ctx = model.context(n_ctx=512)
    with pytest.raises(NoOutputsError), ctx.borrow_logits():
        pass
    ctx.decode(lf.Batch.from_tokens(TOKENS, logits=None))
    with pytest.raises(NoOutputsError), ctx.borrow_logits():
        pass


def test_borrowed_embeddings_are_the_embeddings(model: lf.Model) -> None:
    with model.context(n_ctx=256, n_ubatch=16, n_threads=1, embeddings=True) as ctx:
        with pytest.raises(NoOutputsError, match="nothing was decoded"), ctx.borrow_embeddings():
            pass
        ctx.decode(lf.Batch.from_tokens([1, *range(300, 339)]))
        address = int(lf.raw.ffi.cast("uintptr_t", lf.raw.lib.llama_get_embeddings(ctx.ptr)))
        with ctx.borrow_embeddings() as rows:
            assert rows.shape == (40, model.n_embd_out) and rows.dtype == np.float32
            assert rows.__array_interface__["data"] == (address, True)
            for index in range(40):
                assert (rows[index] == ctx.embeddings(index)).all()
            with pytest.raises(BorrowedError, match="leave the `with` block"):
                ctx.decode(lf.Batch.from_tokens([5], pos0=40))
        with pytest.raises(BorrowedError, match="switching embeddings"):
            ctx.set_embeddings(False)
        del rows
        ctx.set_embeddings(False)
        ctx.decode(lf.Batch.from_tokens([5], pos0=40))
        with pytest.raises(NoOutputsError, match="embeddings=True"), ctx.borrow_embeddings():
            pass
    with (
        model.context(n_ctx=256, n_threads=1, embeddings=True, pooling_type="mean") as ctx,
        pytest.raises(UnsupportedError, match="embeddings_seq"),
        ctx.borrow_embeddings(),
    ):
        pass
