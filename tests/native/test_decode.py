"""Decoding: rows are right whatever the slices, and what can't be decoded is a typed error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi.errors import (
    ArgumentTypeError,
    ContextCreateError,
    InvalidBatchError,
    NoKvSlotError,
    NoOutputsError,
    SequenceRangeError,
    TokenRangeError,
    UnsupportedError,
)

pytestmark = pytest.mark.native

PROMPT = [1, 9038, 2501, 263, 931, 727, 471, 263, 2217, 2913]


def test_splits_of_a_prompt_give_the_same_logits(ctx: lf.Context) -> None:
    ctx.decode(lf.Batch.from_tokens(PROMPT))
    whole = ctx.logits()
    assert whole.shape == (32_000,)
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    for cut in (1, 4, 9):
        ctx.memory.clear()
        ctx.decode(lf.Batch.from_tokens(PROMPT[:cut], logits=None))
        ctx.decode(lf.Batch.from_tokens(PROMPT[cut:], pos0=cut))
        np.testing.assert_allclose(ctx.logits(), whole, atol=2e-3)


def test_rows_by_index(ctx: lf.Context) -> None:
    ctx.decode(lf.Batch.from_tokens(PROMPT, logits=[i in (2, 5, 9) for i in range(10)]))
    np.testing.assert_array_equal(ctx.logits(9), ctx.logits(-1))
    np.testing.assert_array_equal(ctx.logits(2), ctx.logits(-3))
    for index in (0, 1, 10, 63, 64, 10**6, -4, -(2**31)):
        with pytest.raises(NoOutputsError, match=str(index)):
            ctx.logits(index)


def test_logits_are_a_copy(ctx: lf.Context) -> None:
    ctx.decode(lf.Batch.from_tokens(PROMPT))
    first = ctx.logits()
    kept = first.copy()
    ctx.decode(lf.Batch.from_tokens([5], pos0=10))
    np.testing.assert_array_equal(first, kept)
    assert not np.array_equal(ctx.logits(), kept)


def test_no_logits_before_a_decode_and_after_a_failed_one(ctx: lf.Context) -> None:
    with pytest.raises(NoOutputsError, match="nothing was decoded"):
        ctx.logits()
    ctx.decode(lf.Batch.from_tokens(PROMPT))
    with pytest.raises(TokenRangeError):
        ctx.decode(lf.Batch.from_tokens([99_999], pos0=10))
    with pytest.raises(NoOutputsError):
        ctx.logits()
    ctx.decode(lf.Batch.from_tokens([5], pos0=10, logits=None))
    with pytest.raises(NoOutputsError, match="logits=True"):
        ctx.logits()


@pytest.mark.parametrize(
    ("batch", "error", "says"),
    [
        (lambda: lf.Batch(4), InvalidBatchError, "empty"),
        (
            lambda: lf.Batch.from_tokens([1] * 65),
            InvalidBatchError,
            "65 tokens, the context takes n_batch=64",
        ),
        (lambda: lf.Batch.from_tokens([1, 32_000]), TokenRangeError, "token 1 of the batch is 32000"),
        (lambda: lf.Batch.from_tokens([-1, -1]), TokenRangeError, "token 0 of the batch is -1"),
        (lambda: lf.Batch.from_tokens([1, -1]), TokenRangeError, "token 1 of the batch is -1"),
        (lambda: lf.Batch.from_tokens([1], seq_id=1), SequenceRangeError, "sequence 1"),
        (lambda: lf.Batch.from_tokens([1], seq_id=255), SequenceRangeError, "sequences 0 to 0"),
        (lambda: lf.Batch(4).add(1, 0).add(1, 2), InvalidBatchError, "must be consecutive"),
        (lambda: lf.Batch(4).add(1, 1).add(1, 0), InvalidBatchError, "must be consecutive"),
    ],
)
def test_batches_that_are_refused(ctx: lf.Context, batch: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ctx.decode(batch())  # type: ignore[operator]
    assert ctx.memory.seq_pos_max() == -1
    ctx.decode(lf.Batch.from_tokens(PROMPT))
    ctx.logits()


def test_objects_of_another_type(ctx: lf.Context) -> None:
    with pytest.raises(ArgumentTypeError, match="from_tokens"):
        ctx.decode([1, 2])  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="Model, not str"):
        lf.Context("x")  # type: ignore[arg-type]
    for wrong in ("x", None, ctx.model, lf.Batch.from_tokens([1, 2])):
        with pytest.raises(ArgumentTypeError, match="ctx must be a Context"):
            lf.SamplerChain().add_greedy().sample(wrong)  # type: ignore[arg-type]
    ctx.decode(lf.Batch.from_tokens([1, 2]))


def test_a_pooling_type_that_does_not_exist(random_model_path: Path) -> None:
    with lf.Model.load(random_model_path, n_gpu_layers=0, kv_overrides={"llama.pooling_type": 77}) as model:
        with pytest.raises(ContextCreateError, match="pooling type 77"):
            model.context(n_ctx=256)
        with pytest.raises(ContextCreateError, match="pooling type 77"):
            model.context(n_ctx=256, embeddings=True)
        model.context(n_ctx=256, pooling_type="none", embeddings=True).close()


def test_a_gap_after_the_memory_is_explained(ctx: lf.Context) -> None:
    ctx.decode(lf.Batch.from_tokens(PROMPT))
    for position in (9, 11, 500):
        with pytest.raises(InvalidBatchError, match="the next position is 10") as caught:
            ctx.decode(lf.Batch.from_tokens([5], pos0=position))
        assert caught.value.code == -1
        assert caught.value.log
    assert ctx.memory.seq_pos_max() == 9


def test_a_full_memory(ctx: lf.Context) -> None:
    for start in range(0, 256, 64):
        ctx.decode(lf.Batch.from_tokens([7] * 64, pos0=start))
    with pytest.raises(NoKvSlotError, match="no room for 1 tokens") as caught:
        ctx.decode(lf.Batch.from_tokens([7], pos0=256))
    assert caught.value.code == 1
    assert ctx.memory.seq_pos_max() == 255
    assert ctx.memory.seq_rm(0, 200, -1)
    ctx.decode(lf.Batch.from_tokens([7], pos0=200))


def test_non_causal_attention_needs_room_in_one_piece(ctx: lf.Context) -> None:
    ctx.set_causal_attn(False)
    assert not ctx.causal_attn
    with pytest.raises(InvalidBatchError, match="n_ubatch=32"):
        ctx.decode(lf.Batch.from_tokens([7] * 33))
    ctx.decode(lf.Batch.from_tokens([7] * 32))
    ctx.set_causal_attn(True)
    assert ctx.causal_attn


def test_sequences_apart_and_together(random_model: lf.Model) -> None:
    for unified in (False, True):
        with random_model.context(n_ctx=512, n_seq_max=2, kv_unified=unified, n_threads=1) as ctx:
            batch = lf.Batch(20, n_seq_max=2)
            for sequence, tokens in enumerate((PROMPT, PROMPT[:4])):
                for position, token in enumerate(tokens):
                    batch.add(token, position, [sequence], logits=position == len(tokens) - 1)
            ctx.decode(batch)
            both = ctx.logits(9), ctx.logits(13)
            ctx.memory.clear()
            for sequence, tokens in enumerate((PROMPT, PROMPT[:4])):
                ctx.decode(lf.Batch.from_tokens(tokens, seq_id=sequence))
                np.testing.assert_allclose(ctx.logits(), both[sequence], atol=2e-3)
            shared = lf.Batch(4, n_seq_max=2).add(1, 10, [0, 1], logits=True)
            if unified:
                with pytest.raises(InvalidBatchError):  # the sequences have diverged
                    ctx.decode(shared)
            else:
                with pytest.raises(InvalidBatchError, match="kv_unified=True"):
                    ctx.decode(shared)


def test_outputs_limit(random_model: lf.Model) -> None:
    with random_model.context(n_ctx=256, n_batch=64, n_outputs_max=4, n_threads=1) as ctx:
        with pytest.raises(InvalidBatchError, match=r"64 outputs, the context makes 4 \(n_outputs_max\)"):
            ctx.decode(lf.Batch.from_tokens([7] * 64, logits="all"))
        ctx.decode(lf.Batch.from_tokens([7] * 64))


def test_encode_needs_an_encoder(ctx: lf.Context) -> None:
    with pytest.raises(UnsupportedError, match="no encoder"):
        ctx.encode(lf.Batch.from_tokens(PROMPT))


def test_embeddings(random_model: lf.Model) -> None:
    with random_model.context(n_ctx=256, embeddings=True, n_threads=1) as ctx:
        ctx.decode(lf.Batch.from_tokens(PROMPT))
        assert ctx.embeddings().shape == (64,)
        assert ctx.embeddings(0).shape == (64,)
        with pytest.raises(UnsupportedError, match="doesn't pool"):
            ctx.embeddings_seq()
        with pytest.raises(NoOutputsError):
            ctx.embeddings(50)
    with random_model.context(n_ctx=256, embeddings=True, pooling_type="mean", n_threads=1) as ctx:
        assert ctx.pooling_type is lf.PoolingType.MEAN
        ctx.decode(lf.Batch.from_tokens(PROMPT))
        assert ctx.embeddings_seq(0).shape == (64,)
        with pytest.raises(UnsupportedError, match="embeddings_seq"):
            ctx.embeddings()
        with pytest.raises(SequenceRangeError):
            ctx.embeddings_seq(1)
    with random_model.context(n_ctx=256, n_threads=1) as ctx:
        ctx.decode(lf.Batch.from_tokens(PROMPT))
        with pytest.raises(NoOutputsError, match="embeddings=True"):
            ctx.embeddings()
        ctx.set_embeddings(True)
        ctx.decode(lf.Batch.from_tokens([5], pos0=10))
        assert ctx.embeddings().shape == (64,)
