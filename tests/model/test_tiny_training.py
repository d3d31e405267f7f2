"""The example's training: the loss falls, and what it saves is a model that talks."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import llama_ffi as lf
from examples.train_tiny import corpus, modelfile, train

pytestmark = pytest.mark.native


def test_it_learns_and_saves(tmp_path: Path) -> None:
    data = corpus.load()
    shape = modelfile.Shape(n_layer=1, n_ctx=256)
    rng = random.Random(4)
    rows = train.dataset(data.sequence(rng, shape.n_ctx) for _ in range(2))
    with (
        modelfile.create(shape, data.vocab, modelfile.random_values(shape, seed=3)) as model,
        lf.Trainer(model, shape.n_ctx, trained=modelfile.is_weight) as trainer,
    ):
        assert all(modelfile.is_weight(name) for name in trainer.trained)
        losses = [trainer.train(rows, 1e-3).loss for _ in range(6)]
        assert losses == sorted(losses, reverse=True)
        path = tmp_path / "new.gguf"
        modelfile.save(model, shape, data.vocab, path)
    with lf.gguf.read(path) as file:
        assert {tensor.type for tensor in file.tensors.values()} == {"f16", "f32"}
        assert all(modelfile.is_weight(name) for name in file.tensors)
    with lf.Model.load(path) as loaded:
        assert loaded.n_layer == 1
        assert loaded.metadata["general.name"] == "llama_ffi tiny"
        assert "".join(lf.generate("Once", model=loaded, max_tokens=4, seed=1))


def test_the_rate_rises_and_falls() -> None:
    rates = [train.learning_rate(step, 1000, 1e-3) for step in range(1000)]
    assert max(rates) == pytest.approx(1e-3) and min(rates) > 0
    assert rates[0] < rates[100] < rates[500] and rates[999] < rates[800] < rates[500]
