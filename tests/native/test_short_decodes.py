"""The short way that a decode of few tokens takes, and what sends it the long way."""

from __future__ import annotations

import pytest

import llama_ffi as lf
from llama_ffi._core import logs
from llama_ffi.errors import InvalidBatchError

pytestmark = pytest.mark.native


@pytest.mark.parametrize("unified", [True, False])
def test_a_copy_between_streams_is_pending_until_the_next_decode(
    random_model: lf.Model, unified: bool
) -> None:
    with random_model.context(n_ctx=512, n_seq_max=2, kv_unified=unified, n_threads=1) as ctx:
        ctx.decode(lf.Batch.from_tokens([7, 8]))
        ctx.memory.seq_cp(0, 1)
        assert ctx.memory.copy_pending is not unified
        ctx.decode(lf.Batch.from_tokens([9], pos0=2, seq_id=1))
        assert not ctx.memory.copy_pending
        assert ctx._decoder._room > 0


@pytest.mark.parametrize("n_tokens", [1, 40])  # the short way, and two slices
def test_what_a_log_handler_raises_undoes_the_decode(ctx: lf.Context, n_tokens: int) -> None:
    ctx.decode(lf.Batch.from_tokens([7, 8]))
    plain = ctx._decoder._decode

    def noisy(context: object, batch: object) -> object:
        code = plain(context, batch)
        logs._keep(KeyboardInterrupt())  # what the log callback does with an exception
        return code

    ctx._decoder._decode = noisy
    with pytest.raises(KeyboardInterrupt):
        ctx.decode(lf.Batch.from_tokens([9] * n_tokens, pos0=2))
    assert ctx.memory.seq_pos_max() == 1
    with pytest.raises(lf.errors.NoOutputsError):
        ctx.logits(-1)
    ctx._decoder._decode = plain
    ctx.decode(lf.Batch.from_tokens([9] * n_tokens, pos0=2))


def test_positions_beyond_the_learned_ones(ctx: lf.Context) -> None:
    ctx._limits.position_limit = 4  # as a model that has learned four positions
    ctx._decoder._measure()
    ctx.decode(lf.Batch.from_tokens([7, 8, 9]))
    with pytest.raises(InvalidBatchError, match="position 4"):
        ctx.decode(lf.Batch.from_tokens([7, 8], pos0=3))
    with pytest.raises(InvalidBatchError, match="position 4"):
        ctx.decode(lf.Batch(3).add(7, 3).add(7, 4))
    ctx.decode(lf.Batch.from_tokens([7], pos0=3))


def test_batches_count_what_they_hold(ctx: lf.Context) -> None:
    """What decode goes by is right after every way of filling: nothing is counted again."""
    batch = lf.Batch(4, n_seq_max=2)
    with pytest.raises(InvalidBatchError, match="empty"):
        ctx.decode(batch)
    batch.add(7, 0, [0, 1]).add(8, 1, logits=True)
    assert (len(batch), batch._plain, batch._end, batch.n_outputs) == (2, False, 2, 1)
    batch.set([5, 6, 7], pos0=10)
    assert (len(batch), batch._plain, batch._end, batch.n_outputs) == (3, True, 13, 1)
    batch.add(5, 4, [1])
    assert (len(batch), batch._plain, batch._end) == (4, True, 13)
    batch.set([])
    assert (len(batch), batch._plain) == (0, False)
    batch.clear()
    assert (len(batch), batch._plain, batch._end, batch.n_outputs) == (0, False, 0, 0)
    with pytest.raises(InvalidBatchError, match="empty"):
        ctx.decode(batch)
