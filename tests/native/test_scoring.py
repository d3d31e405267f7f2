"""Log-probabilities and perplexity, against numpy on the context's own logits."""

from __future__ import annotations

import math

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi import errors, testing

pytestmark = pytest.mark.model

TEXT = "Once upon a time there was a little cat. The cat had a red ball. One day it went to the park. " * 4


@pytest.fixture(scope="module")
def model() -> lf.Model:
    return lf.Model.load(lf.tiny_model_path())


def reference(model: lf.Model, tokens: list[int], given: int) -> np.ndarray:
    """One token at a time, one row of logits at a time."""
    found = []
    with model.context(n_ctx=len(tokens), n_threads=1) as context:
        for position, token in enumerate(tokens[:-1]):
            context.decode(lf.Batch.from_tokens([token], pos0=position))
            if position + 1 >= given:
                row = context.logits(-1).astype(np.float64)
                found.append(row[tokens[position + 1]] - np.log(np.exp(row - row.max()).sum()) - row.max())
    return np.array(found)


@pytest.mark.parametrize("n_batch", [7, 32, 512])
def test_scores_are_those_of_the_logits(model: lf.Model, n_batch: int) -> None:
    score = lf.score(
        model, " there was a little cat.", prompt="Once upon a time", n_batch=n_batch, n_threads=1
    )
    tokens = model.vocab.tokenize("Once upon a time there was a little cat.")
    assert score.tokens == tokens[-len(score.tokens) :]
    expected = reference(model, tokens, len(tokens) - len(score.tokens))
    assert np.allclose(score.log_probs, expected, atol=2e-3)
    assert score.total == pytest.approx(float(score.log_probs.sum()))
    assert score.perplexity == pytest.approx(math.exp(-score.log_probs.mean()))


def test_a_text_alone_is_scored_from_its_beginning(model: lf.Model) -> None:
    tokens = model.vocab.tokenize(TEXT[:60])
    score = lf.score(model, TEXT[:60], n_threads=1)
    assert score.tokens == tokens[1:]
    by_ids = lf.score(model, tokens[1:], prompt=tokens[:1], n_threads=1)
    assert by_ids.tokens == score.tokens
    assert np.allclose(by_ids.log_probs, score.log_probs)


def test_perplexity_is_that_of_the_windows(model: lf.Model) -> None:
    n_ctx = 32
    tokens = model.vocab.tokenize(TEXT)
    losses = []
    for begin in range(0, len(tokens) - n_ctx + 1, n_ctx):
        window = tokens[begin : begin + n_ctx]
        if model.vocab.add_bos:
            window[0] = model.vocab.bos
        losses.append(-reference(model, window, n_ctx // 2 + 1))
    expected = np.concatenate(losses)
    found = lf.perplexity(model, TEXT, n_ctx=n_ctx, n_threads=1)
    assert found.n_tokens == len(expected) == (len(tokens) // n_ctx) * (n_ctx - n_ctx // 2 - 1)
    assert float(found) == pytest.approx(math.exp(expected.mean()), rel=1e-3)
    error = expected.std() / math.sqrt(len(expected) - 1) * found.value
    assert found.error == pytest.approx(error, rel=1e-2)


def test_windows_that_slide(model: lf.Model) -> None:
    n_ctx, stride = 32, 8
    tokens = model.vocab.tokenize(TEXT)
    losses = []
    for begin in range(0, len(tokens) - n_ctx + 1, stride):
        window = tokens[begin : begin + n_ctx]
        if model.vocab.add_bos:
            window[0] = model.vocab.bos
        losses.append(-reference(model, window, n_ctx - stride))
    expected = np.concatenate(losses)
    found = lf.perplexity(model, TEXT, n_ctx=n_ctx, stride=stride, n_threads=1)
    assert found.n_tokens == len(expected)
    assert found.value == pytest.approx(math.exp(expected.mean()), rel=1e-3)
    some = lf.perplexity(model, TEXT, n_ctx=n_ctx, stride=stride, max_windows=2, n_threads=1)
    assert some.n_tokens == 2 * stride


def test_progress_can_end_it(model: lf.Model) -> None:
    seen: list[float] = []
    lf.perplexity(model, TEXT, n_ctx=32, n_threads=1, progress=seen.append)
    assert seen[0] == 0.0
    assert seen[-1] == 1.0
    part = lf.perplexity(model, TEXT, n_ctx=32, n_threads=1, progress=lambda done: done < 0.1)
    assert part.n_tokens == 15


@pytest.mark.parametrize("kind", ["llama", "mamba", "rwkv6", "gemma3", "gpt2"])
def test_random_models(kind: str) -> None:
    with testing.random_model(kind, seed=1) as model:
        text = list(range(5, 70))
        found = lf.perplexity(model, text, n_ctx=16, n_threads=1)
        assert 1 < found.value < 100 * model.vocab.n_tokens
        score = lf.score(model, text, n_threads=1, n_batch=16)
        assert np.allclose(score.log_probs, reference(model, text, 1), atol=5e-3)


def test_mistakes(model: lf.Model) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="tokens, a window"):
        lf.perplexity(model, "too short")
    for options in (
        {"n_ctx": 3},
        {"n_ctx": -1},
        {"n_ctx": 32, "stride": 32},
        {"max_windows": -1},
        {"n_batch": 0},
    ):
        with pytest.raises(errors.InvalidArgumentError):
            lf.perplexity(model, TEXT, **options)
    with pytest.raises(errors.InvalidArgumentError, match="no token is left"):
        lf.score(model, "")
    with pytest.raises(errors.InvalidArgumentError, match="two of a kind"):
        lf.score(model, "text", prompt=[1, 2])
    with pytest.raises(errors.InvalidArgumentError, match="two of a kind"):
        lf.score(model, [1, 2], prompt="text")
    with pytest.raises(errors.TokenRangeError):
        lf.score(model, [1, 10**6])
    with pytest.raises(errors.PromptTooLongError):
        lf.score(model, [5] * 5000)
    with pytest.raises(errors.ModelNotFoundError):
        lf.score("no such file", "text")
    with testing.random_model("bert", seed=1) as encoder, pytest.raises(errors.LlamaError):
        lf.score(encoder, "text")
    with testing.random_model("t5", seed=1) as both, pytest.raises(errors.UnsupportedError, match="encoder"):
        lf.score(both, "text here")
