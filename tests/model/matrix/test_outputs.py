"""Every kind of model computes: outputs differ, repeat, and don't hang on what else is in the batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi import errors, testing
from tests.model.matrix import kinds
from tests.model.matrix.kinds import alone, context, nmse, run, tokens, tolerance

pytestmark = pytest.mark.native

PARTS = {0: tokens(9, 1), 1: tokens(5, 2), 2: tokens(12, 3)}


@pytest.fixture(scope="module", params=kinds.KINDS)
def made(request: pytest.FixtureRequest) -> Iterator[tuple[str, lf.Model]]:
    with testing.random_model(request.param) as model:
        yield request.param, model


def test_each_token_has_outputs_of_its_own(made: tuple[str, lf.Model]) -> None:
    kind, model = made
    rows = alone(model, kind, PARTS[0])
    finite = np.isfinite(rows)
    assert finite.any(axis=1).all() and not np.isnan(rows).any()
    values = np.where(finite, rows, 0)
    assert 0.01 < values[:, finite[0]].std() < 100, "neither nothing nor overflow"
    for index in range(1, len(rows)):
        assert nmse(values[index], values[0]) > 0.01
    np.testing.assert_array_equal(alone(model, kind, PARTS[0]), rows)
    if kind not in kinds.EMBEDDERS:
        assert model.has_decoder and (kind == "chameleon" or rows.shape[1] == model.vocab.n_tokens)


def test_logits_are_refused_where_c_gives_zeros(made: tuple[str, lf.Model]) -> None:
    kind, model = made
    if kind not in kinds.EMBEDDERS:
        return  # the other tests read their logits
    with context(model, kind, n_ubatch=64) as ctx:
        (ctx.encode if model.has_encoder else ctx.decode)(lf.Batch.from_tokens(PARTS[0], logits="all"))
        chain = lf.SamplerChain().add_greedy()
        for read in (
            lambda: ctx.logits(-1),
            lambda: ctx.borrow_logits().__enter__(),
            lambda: chain.sample(ctx),
        ):
            with pytest.raises(errors.UnsupportedError, match="no logits"):
                read()
        raw = lf.raw.lib.llama_get_logits_ith(ctx.ptr, -1)
        assert not any(raw[0 : model.vocab.n_tokens]), "llama.cpp computes them: take the kind off both lists"


@pytest.mark.parametrize("unified", [False, True], ids=["streams", "unified"])
def test_sequences_in_one_batch_equal_each_alone(made: tuple[str, lf.Model], unified: bool) -> None:
    kind, model = made
    options = {"n_seq_max": 3, "n_ctx": 512, "kv_unified": unified}
    if kind in kinds.NO_STREAMS and not unified:
        with pytest.raises(errors.ContextCreateError), context(model, kind, **options):
            pass
        return
    expected = {sequence: alone(model, kind, part) for sequence, part in PARTS.items()}
    with context(model, kind, **options) as ctx:
        found = run(ctx, kind, PARTS)
    error = max(nmse(found[sequence], expected[sequence]) for sequence in PARTS)
    wrong = (
        kind in kinds.MIXES_SEQUENCES
        or kind in kinds.LOSES_TOKEN_SHIFT
        or (kind in kinds.LEAKS_BETWEEN_STREAMS and not unified)
    )
    if wrong:
        assert error > 1e-4, "llama.cpp has got it right: take the kind off the list"
    else:
        assert error < tolerance(kind)


def test_a_token_at_a_time_equals_all_at_once(made: tuple[str, lf.Model]) -> None:
    kind, model = made
    part = PARTS[2]
    with context(model, kind) as ctx:
        if kind == "t5":
            ctx.encode(lf.Batch.from_tokens(part, logits="all"))
            at_once = decoded(ctx, part)
            ctx.memory.clear()
            rows = np.stack([decoded(ctx, [token], position)[0] for position, token in enumerate(part)])
            assert nmse(rows, at_once) < tolerance(kind)
            return
        rows = np.concatenate([run(ctx, kind, {0: [token]}, at)[0] for at, token in enumerate(part)])
    error = nmse(rows, alone(model, kind, part))
    if kind in kinds.DECODERS:
        assert error < tolerance(kind)
    else:
        assert error > 1e-3, "a token that sees all others can't be computed alone"


def decoded(ctx: lf.Context, part: list[int], position: int = 0) -> kinds.Rows:
    ctx.decode(lf.Batch.from_tokens(part, pos0=position, logits="all"))
    return np.stack([ctx.logits(index) for index in range(len(part))])


def test_another_seed_is_another_model(made: tuple[str, lf.Model]) -> None:
    kind, model = made
    with testing.random_model(kind, seed=1) as other:
        assert nmse(alone(other, kind, PARTS[1]), alone(model, kind, PARTS[1])) > 0.1
        assert other.fingerprint != model.fingerprint


def test_text_goes_through_the_vocabulary(made: tuple[str, lf.Model]) -> None:
    _, model = made
    text = "once upon a time there was a little day"
    found = model.vocab.tokenize(text, add_special=False)
    assert 0 < len(found) < len(text)
    assert model.vocab.detokenize(found).strip() == text
