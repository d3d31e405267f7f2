"""Contexts, batches and memories: what comes out is right, and what can't be is a typed error."""

from __future__ import annotations

import threading
from array import array
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi.errors import (
    ArgumentTypeError,
    BusyError,
    ClosedError,
    ContextCreateError,
    InvalidArgumentError,
    InvalidBatchError,
    MemoryOperationError,
    NoKvSlotError,
    NoOutputsError,
    SequenceRangeError,
    TokenRangeError,
    UnsupportedError,
)

pytestmark = pytest.mark.native

PROMPT = [1, 9038, 2501, 263, 931, 727, 471, 263, 2217, 2913]


# --- batches -----------------------------------------------------------------------------------------


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


# --- decoding ----------------------------------------------------------------------------------------


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
    for wrong in ("x", None, ctx.model):
        with pytest.raises(ArgumentTypeError, match="ctx must be a Context"):
            lf.SamplerChain().add_greedy().sample(wrong)  # type: ignore[arg-type]
    ctx.decode(lf.Batch.from_tokens([1, 2]))


def test_a_pooling_type_that_does_not_exist(random_model_path: Path) -> None:
    with lf.Model.load(random_model_path, n_gpu_layers=0, kv_overrides={"llama.pooling_type": 77}) as model:
        with pytest.raises(ContextCreateError, match="pooling type 77"):
            model.context(n_ctx=256)
        with pytest.raises(ContextCreateError, match="unknown pooling type"):
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


# --- making contexts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "error", "says"),
    [
        ({"n_ctx": 2**31 - 256}, ContextCreateError, "MiB are free"),
        ({"n_ctx": 2**31}, InvalidArgumentError, "n_ctx is 2147483648"),
        ({"n_ctx": 2**32}, InvalidArgumentError, "n_ctx"),
        ({"n_ctx": -1}, InvalidArgumentError, "n_ctx is -1"),
        ({"n_ctx": 1.5}, ArgumentTypeError, "n_ctx must be an integer"),
        ({"n_ctx": True}, ArgumentTypeError, "n_ctx"),
        ({"n_batch": 0}, InvalidArgumentError, "n_batch"),
        ({"n_seq_max": 257}, InvalidArgumentError, "n_seq_max"),
        ({"n_seq_max": 0}, InvalidArgumentError, "n_seq_max"),
        ({"n_batch": 4, "n_seq_max": 5}, ContextCreateError, "n_seq_max is 5"),
        ({"n_ctx": 2, "n_seq_max": 5}, ContextCreateError, "n_seq_max is 5"),
        ({"n_outputs_max": 2, "n_seq_max": 5}, ContextCreateError, "n_outputs_max"),
        ({"n_threads": 0}, InvalidArgumentError, "n_threads is 0"),
        ({"n_threads": 513}, InvalidArgumentError, "n_threads is 513"),
        ({"type_k": "q4_k"}, InvalidArgumentError, "choose one of"),
        ({"type_k": "f8"}, InvalidArgumentError, "type_k is 'f8'"),
        ({"type_v": "q8_0", "flash_attn": False}, ContextCreateError, "flash attention"),
        ({"pooling_type": "median"}, InvalidArgumentError, "choose one of"),
        ({"attention_type": 7}, InvalidArgumentError, "attention_type"),
        ({"flash_attn": "maybe"}, InvalidArgumentError, "flash_attn"),
        ({"rope_freq_base": float("nan")}, InvalidArgumentError, "finite"),
        ({"rope_freq_scale": -1.0}, InvalidArgumentError, "rope_freq_scale"),
        ({"ctx_type": "mtp"}, ContextCreateError, "MTP"),
        ({"n_rs_seq": 600, "n_ubatch": 512}, ContextCreateError, "n_rs_seq"),
        (
            {"embeddings": True, "pooling_type": "mean", "n_seq_max": 8, "n_batch": 33},
            ContextCreateError,
            "multiple of n_seq_max",
        ),
    ],
)
def test_parameters_that_no_context_has(
    random_model: lf.Model, params: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        random_model.context(**params)


@pytest.mark.parametrize("type_k", ["f32", "f16", "bf16", "q8_0", "q4_0", "iq4_nl"])
@pytest.mark.parametrize("flash_attn", [None, True, False])
def test_cache_types(random_model: lf.Model, type_k: str, flash_attn: bool | None) -> None:
    type_v = "f16" if flash_attn is False else type_k
    with random_model.context(
        n_ctx=256, type_k=type_k, type_v=type_v, flash_attn=flash_attn, n_threads=1
    ) as ctx:
        ctx.decode(lf.Batch.from_tokens(PROMPT))
        assert np.isfinite(ctx.logits()).all()


def test_sizes_are_read_from_the_context(random_model: lf.Model) -> None:
    with random_model.context(n_ctx=100, n_batch=5000, n_threads=1, n_threads_batch=2) as ctx:
        assert (ctx.n_ctx, ctx.n_batch, ctx.n_ubatch) == (256, 100, 100)
        assert (ctx.n_threads, ctx.n_threads_batch) == (1, 2)
        ctx.set_n_threads(2)
        assert (ctx.n_threads, ctx.n_threads_batch) == (2, 2)
        with pytest.raises(InvalidArgumentError):
            ctx.set_n_threads(0)
    with random_model.context(n_ctx=0, n_threads=1) as ctx:
        assert ctx.n_ctx == 512


# --- memory ------------------------------------------------------------------------------------------


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


# --- life --------------------------------------------------------------------------------------------


def test_closed_objects(random_model_path: object) -> None:
    model = lf.Model.load(random_model_path)  # type: ignore[arg-type]
    ctx = model.context(n_ctx=256, n_threads=1)
    memory, batch = ctx.memory, lf.Batch.from_tokens(PROMPT)
    model.close()
    model.close()
    with pytest.raises(ClosedError, match="model is closed"):
        model.context()
    ctx.decode(batch)  # its own reference keeps the model's C object alive
    ctx.close()
    assert ctx.closed
    for call in (
        lambda: ctx.decode(batch),
        ctx.logits,
        memory.seq_pos_max,
        lambda: memory.seq_rm(0),
        memory.clear,
        lambda: memory.ptr,
        lambda: ctx.n_threads,
        lambda: ctx.ptr,
        lambda: ctx.set_embeddings(True),
        ctx.__enter__,
    ):
        with pytest.raises(ClosedError, match="context is closed"):
            call()
    assert "closed" in repr(ctx)
    assert "closed" in repr(memory)


def test_two_threads_on_one_context(ctx: lf.Context) -> None:
    batch, errors, stop = lf.Batch.from_tokens([7] * 64), [], threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                ctx.memory.clear()
                ctx.decode(lf.Batch.from_tokens([7] * 64))
            except BusyError as error:
                errors.append(error)
            except InvalidBatchError:
                pass  # the other one came in between

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    threading.Event().wait(1.0)
    stop.set()
    for thread in threads:
        thread.join()
    ctx.memory.clear()
    ctx.decode(batch)
    assert errors
    assert "another thread" in str(errors[0])
