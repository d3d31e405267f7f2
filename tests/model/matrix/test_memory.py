"""What each kind's memory can do: forget, copy, keep, shift; and what it can't is an error that says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import llama_ffi as lf
from llama_ffi import errors, testing
from tests.model.matrix import kinds
from tests.model.matrix.kinds import alone, context, nmse, run, tokens, tolerance

pytestmark = pytest.mark.native

A, B, C, D = tokens(8, 1), tokens(4, 2), tokens(4, 3), tokens(2, 4)

ABSOLUTE = frozenset({"gpt2", "starcoder", "mpt"})
"""Kinds that learned an embedding of each position: a shifted text is another text to them."""

_WITHOUT_ROPE = "cohere2 cohere2moe llama4 smallthinker maple afmoe exaone-moe muse-glimmer baichuan"
SHIFTED_WRONG = {
    **dict.fromkeys(_WITHOUT_ROPE.split(), "the shift rotates keys of layers that know no positions"),
    "hunyuan-dense": "the shift rotates keys that were normed, with weights, after they had been rotated",
    "hunyuan-moe": "the same",
    "maincoder": "the same",
    "cogvlm": "the shift uses frequency factors (rope_freqs) that the graph doesn't",
    "falcon-h1": "the same",
    "pangu-embedded": "the same",
    "deepseek2-ocr": "cause unknown",
}
"""Kinds that llama.cpp shifts wrongly: their outputs change though their positions are relative."""


@pytest.fixture(scope="module", params=kinds.DECODERS)
def made(request: pytest.FixtureRequest) -> Iterator[tuple[str, lf.Model]]:
    with testing.random_model(request.param) as model:
        yield request.param, model


def test_what_is_forgotten_has_no_effect(made: tuple[str, lf.Model]) -> None:
    kind, model = made
    expected = alone(model, kind, A + B)
    with context(model, kind) as ctx:
        run(ctx, kind, {0: A + C})
        if ctx.memory.seq_rm(0, len(A), -1):
            assert not model.is_recurrent
            found = run(ctx, kind, {0: B}, len(A))[0]
            assert nmse(found, expected[len(A) :]) < tolerance(kind)
        else:
            assert model.is_recurrent or model.is_hybrid
            assert ctx.memory.seq_pos_max(0) == len(A + C) - 1, "nothing has changed"
            assert ctx.memory.seq_rm(0)
            assert nmse(run(ctx, kind, {0: A + B})[0], expected) < tolerance(kind)
        ctx.memory.clear()
        assert ctx.memory.seq_pos_max(0) == -1
        assert nmse(run(ctx, kind, {0: A + B})[0], expected) < tolerance(kind)


@pytest.mark.parametrize("unified", [False, True], ids=["streams", "unified"])
def test_a_copy_goes_its_own_way(made: tuple[str, lf.Model], unified: bool) -> None:
    kind, model = made
    if kind in kinds.NO_STREAMS and not unified:
        return  # test_outputs.py shows that there is no such context
    with context(model, kind, n_seq_max=2, n_ctx=512, kv_unified=unified) as ctx:
        run(ctx, kind, {0: A})
        ctx.memory.seq_cp(0, 1)
        assert ctx.memory.seq_pos_max(1) == len(A) - 1
        found = run(ctx, kind, {0: B, 1: C}, len(A))
        ctx.memory.seq_keep(1)
        assert ctx.memory.seq_pos_max(0) == -1 and ctx.memory.seq_pos_max(1) == len(A + C) - 1
        kept = run(ctx, kind, {1: D}, len(A + C))[1]
    copied = max(
        nmse(found[0], alone(model, kind, A + B)[len(A) :]),
        nmse(found[1], alone(model, kind, A + C)[len(A) :]),
    )
    then = nmse(kept, alone(model, kind, A + C + D)[len(A + C) :])
    if kind in kinds.MIXES_SEQUENCES:
        assert copied > 1e-4
    else:
        assert copied < tolerance(kind)
        assert (then > 1e-4) if kind in kinds.LOSES_TOKEN_SHIFT else (then < tolerance(kind))


def test_positions_are_relative(made: tuple[str, lf.Model]) -> None:
    kind, model = made
    with context(model, kind) as ctx:
        run(ctx, kind, {0: A})
        if not ctx.memory.can_shift:
            with pytest.raises(errors.MemoryOperationError, match="can't shift"):
                ctx.memory.seq_add(0, 0, -1, 5)
            with pytest.raises(errors.MemoryOperationError, match="can't shift"):
                ctx.memory.seq_div(0, 0, -1, 2)
            return
        ctx.memory.seq_add(0, 0, -1, 5)
        assert (ctx.memory.seq_pos_min(0), ctx.memory.seq_pos_max(0))[1] == len(A) + 4
        found = run(ctx, kind, {0: B}, len(A) + 5)[0]
    error = nmse(found, alone(model, kind, A + B)[len(A) :])
    if kind in SHIFTED_WRONG or kind in ABSOLUTE:
        assert 1e-5 < error < 1, "take the kind off the list"
    else:
        assert error < tolerance(kind)


def test_no_shift_where_a_cache_has_no_layers() -> None:
    """LFM2 with a sliding window: all its attention slides, and shifting the other, empty cache asserts."""
    with (
        testing.random_model("lfm2", metadata={"lfm2.attention.sliding_window": 32}) as model,
        context(model, "lfm2") as ctx,
    ):
        run(ctx, "lfm2", {0: A})
        assert not ctx.memory.can_shift
        with pytest.raises(errors.MemoryOperationError, match="can't"):
            ctx.memory.seq_add(0, 0, -1, 5)
        run(ctx, "lfm2", {0: B}, len(A))
