"""The example's training step is plain gradient descent: nothing of one step leaks into the next."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

import llama_ffi as lf
from examples.train_tiny import corpus, modelfile, train
from llama_ffi.raw import lib

pytestmark = pytest.mark.native


def test_gradients_do_not_add_up_and_the_trained_model_can_be_saved(tmp_path: Path) -> None:
    data = corpus.load()
    shape = modelfile.Shape(n_layer=1, n_ctx=256)
    model = modelfile.create(shape, data.vocab, modelfile.random_values(shape, seed=3))
    trainer = train.Trainer(model, shape.n_ctx, n_threads=1, rows=1)
    # Without momenta and with eps far above every gradient AdamW is w -= alpha / eps * gradient.
    trainer.rates.adamw = {"beta1": 0.0, "beta2": 0.0, "eps": 1.0, "wd": 0.0}
    row = data.sequence(random.Random(4), shape.n_ctx)
    losses = [trainer.chunk(lambda: row, 0.01) for _ in range(7)]
    falls = [before - after for before, after in itertools.pairwise(losses)]
    assert all(fall > 0 for fall in falls), losses
    # Small steps downhill are equally long; with gradients that add up the last one is 6 times the first.
    assert falls[-1] < 1.5 * falls[0], falls
    assert trainer.chunk(lambda: row, 0.0) < losses[-1], "measuring sees the last step too"

    path = tmp_path / "new.gguf"
    modelfile.save(model, shape, data.vocab, path)
    trainer.close()
    lib.llama_model_free(model)
    with lf.Model.load(path) as loaded:
        assert loaded.n_layer == 1
        assert loaded.metadata["general.name"] == "llama_ffi tiny"
        assert "".join(lf.generate("Once", model=loaded, max_tokens=4, seed=1))
