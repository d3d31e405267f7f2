"""Random models compute what independent implementations in numpy compute from the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi import testing
from tests.model import reference_bert, reference_llama
from tests.model.matrix.kinds import alone, context, nmse, tokens
from tests.model.reference_numpy import Weights

pytestmark = pytest.mark.native

LIMIT = 1e-5


def values(name: str, shape: tuple[int, ...], seed: int) -> Any:
    """Optional scales are no part of these networks; all else is random, biases and RoPE factors too."""
    return np.ones(shape, np.float32) if "scale" in name else testing.random_weights(name, shape, seed)


def weights(seed: int) -> Weights:
    return lambda name, *shape: values(name, shape, seed).astype(np.float64)


def made(kind: str, seed: int, **sizes: int) -> lf.Model:
    metadata = testing.random_metadata(kind, **sizes)
    return lf.Model.from_metadata(metadata, lambda name, shape, _: values(name, shape, seed), n_gpu_layers=0)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"n_layer": 4, "n_head": 2, "n_head_kv": 1},
        {"n_embd": 128, "n_head": 8, "n_head_kv": 8, "n_ff": 200},
    ],
    ids=["grouped", "one key head", "all heads"],
)
def test_llama(seed: int, sizes: dict[str, int]) -> None:
    part = tokens(24, seed)
    with made("llama", seed, **sizes) as model:
        found = alone(model, "llama", part)
        net = reference_llama.Llama(model.vocab.n_tokens, **sizes)
    expected = reference_llama.logits(part, net, weights(seed))
    assert nmse(found, expected) < LIMIT


@pytest.mark.parametrize(
    "sizes", [{}, {"n_expert": 8, "n_expert_used": 3, "n_layer": 3}], ids=["2 of 4", "3 of 8"]
)
def test_a_mixture_of_experts(sizes: dict[str, int]) -> None:
    part = tokens(24, 3)
    with made("llama-moe", 3, **sizes) as model:
        found = alone(model, "llama-moe", part)
        net = reference_llama.Llama(model.vocab.n_tokens, **{"n_expert": 4, **sizes})
    expected = reference_llama.logits(part, net, weights(3))
    assert nmse(found, expected) < LIMIT


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("sizes", [{}, {"n_layer": 4, "n_head_kv": 4}], ids=["grouped", "all heads"])
def test_bert(seed: int, sizes: dict[str, int]) -> None:
    part = tokens(24, seed)
    with made("bert", seed, **sizes) as model:
        found = alone(model, "bert", part)
        net = reference_bert.Bert(model.vocab.n_tokens, **sizes)
    expected = reference_bert.embeddings(part, net, weights(seed))
    assert nmse(found, expected) < LIMIT


def test_the_reference_can_fail() -> None:
    """A wrong epsilon, base or token shows: the limit isn't so wide that anything passes."""
    part = tokens(24, 0)

    net = reference_llama.Llama(len(testing.random_metadata("llama")["tokenizer.ggml.tokens"]))
    right = reference_llama.logits(part, net, weights(0))
    for wrong in (
        reference_llama.Llama(net.n_vocab, base=5000.0),
        reference_llama.Llama(net.n_vocab, epsilon=0.1),
    ):
        assert nmse(reference_llama.logits(part, wrong, weights(0)), right) > 10 * LIMIT
    with made("llama", 0) as model, context(model, "llama") as ctx:
        ctx.decode(lf.Batch.from_tokens([*part[:-1], part[0]]))
        assert nmse(ctx.logits(-1), right[-1]) > 10 * LIMIT
