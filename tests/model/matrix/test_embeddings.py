"""Embeddings of tokens and of sequences, with every pooling; classifiers' outputs with their labels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi import errors, testing
from tests.model.matrix import kinds
from tests.model.matrix.kinds import context, nmse, run, tokens, tolerance

pytestmark = pytest.mark.native

_POOLED = sorted(kinds.EMBEDDERS - {"wavtokenizer-dec", "reranker", "classifier"})
PARTS = {0: tokens(6, 1), 1: tokens(4, 2)}


@pytest.fixture(scope="module", params=[*_POOLED, "llama", "gemma2", "qwen2", "gpt2", "llama-moe"])
def made(request: pytest.FixtureRequest) -> Iterator[tuple[str, lf.Model]]:
    with testing.random_model(request.param) as model:
        yield request.param, model


def compute(ctx: lf.Context) -> None:
    batch = lf.Batch(10)
    for sequence, part in PARTS.items():
        for position, token in enumerate(part):
            batch.add(token, position, [sequence], logits=True)
    (ctx.encode if ctx.model.has_encoder else ctx.decode)(batch)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_pooling_is_what_its_name_says(made: tuple[str, lf.Model], pooling: str) -> None:
    kind, model = made
    options = {"n_seq_max": 2, "n_ctx": 512, "kv_unified": True, "embeddings": True}
    with context(model, kind, **options | {"pooling_type": "none"}) as ctx:
        compute(ctx)
        rows = np.stack([ctx.embeddings(index) for index in range(10)])
    assert rows.shape == (10, model.n_embd_out)
    each = {0: rows[:6], 1: rows[6:]}
    with context(model, kind, **options | {"pooling_type": pooling}) as ctx:
        compute(ctx)
        found = {sequence: ctx.embeddings_seq(sequence) for sequence in PARTS}
    pick = {
        "mean": lambda rows: rows.mean(axis=0),
        "cls": lambda rows: rows[0],
        "last": lambda rows: rows[-1],
    }
    for sequence, rows in each.items():
        assert nmse(found[sequence], pick[pooling](rows)) < tolerance(kind)


@pytest.mark.parametrize(
    ("kind", "labels"), [("reranker", ["relevance"]), ("classifier", ["bad", "fair", "good"])]
)
def test_classifiers(kind: str, labels: list[str]) -> None:
    with testing.random_model(kind) as model:
        assert model.cls_labels == labels
        with model.context(n_ctx=512, n_seq_max=2, n_threads=1, embeddings=True) as ctx:
            assert ctx.pooling_type.name == "RANK"
            compute(ctx)
            scores = [ctx.embeddings_seq(sequence) for sequence in PARTS]
            for sequence, expected in zip(PARTS, scores, strict=True):
                found = ctx.class_scores(sequence)
                assert [each.label for each in found] == labels
                assert [each.score for each in found] == expected.tolist()
        with model.context(n_ctx=512, n_threads=1, embeddings=True, pooling_type="mean") as ctx:
            with pytest.raises(errors.UnsupportedError, match="rank"):
                ctx.class_scores()
    assert all(len(each) == len(labels) and np.isfinite(each).all() for each in scores)
    assert abs(scores[0] - scores[1]).max() > 1e-3


def test_an_encoder_gives_the_decoder_what_it_saw() -> None:
    with testing.random_model("t5") as model, context(model, "t5") as ctx:
        assert model.has_encoder and model.has_decoder and model.decoder_start_token is not None

        def answer(prompt: list[int]) -> kinds.Rows:
            ctx.memory.clear()
            ctx.encode(lf.Batch.from_tokens(prompt))
            ctx.decode(lf.Batch.from_tokens([model.decoder_start_token or 0], logits="all"))
            return ctx.logits(-1)

        first = answer(tokens(6, 1))
        assert nmse(answer(tokens(6, 2)), first) > 0.01
        np.testing.assert_array_equal(answer(tokens(6, 1)), first)


def test_decoding_before_encoding_is_an_error() -> None:
    with (
        testing.random_model("t5") as model,
        context(model, "t5") as ctx,
        pytest.raises(errors.LlamaError, match="encode"),
    ):
        ctx.decode(lf.Batch.from_tokens([0]))


@pytest.mark.parametrize("kind", sorted(kinds.DIFFUSION))
def test_diffusion_sees_what_comes_later(kind: str) -> None:
    part = tokens(8, 1)
    with testing.random_model(kind) as model:
        assert model.is_diffusion
        with context(model, kind) as ctx:
            before = run(ctx, kind, {0: part})[0]
            with pytest.raises(errors.UnsupportedError, match="no memory"):
                _ = ctx.memory
            after = run(ctx, kind, {0: [*part[:-1], 64]})[0]
    assert nmse(after[:1], before[:1]) > 1e-6
