"""Training: the loss falls as gradient descent says, schedules, epochs, filters, and what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi import errors, testing
from llama_ffi.training import TRAINABLE

pytestmark = pytest.mark.native

N_CTX = 256


@pytest.fixture
def model() -> Iterator[lf.Model]:
    with testing.random_model("llama", n_layer=1) as made:
        yield made


def rows(count: int = 1, seed: int = 0) -> np.ndarray[Any, Any]:
    """Texts that repeat 16 tokens, so that there is something to learn."""
    dice = np.random.RandomState(seed)
    return np.stack([np.tile(dice.randint(5, 60, 16), 17)[: N_CTX + 1] for _ in range(count)]).astype(
        np.int32
    )


def test_the_loss_falls_and_the_trained_model_can_be_saved(model: lf.Model, tmp_path: Path) -> None:
    data = lf.Dataset(rows())
    with lf.Trainer(model, N_CTX) as trainer:
        before = trainer.measure(data)
        assert trainer.measure(data) == before and trainer.step == 0, "measuring changes nothing"
        losses = [trainer.train(data, 1e-3).loss for _ in range(12)]
        after = trainer.measure(data)
        assert trainer.step == 12
    assert losses[0] == pytest.approx(before.loss) and losses == sorted(losses, reverse=True)
    assert after.loss < before.loss - 2 and after.accuracy > before.accuracy
    assert model.n_ctx_train == N_CTX
    model.save_to_file(tmp_path / "trained.gguf")
    with (
        lf.Model.load(tmp_path / "trained.gguf", load_mode="none", use_extra_bufts=False) as loaded,
        lf.Trainer(loaded, N_CTX) as trainer,
    ):
        assert trainer.measure(data) == after


def test_gradients_do_not_add_up(model: lf.Model) -> None:
    # without momenta and with epsilon far above every gradient AdamW is w -= rate / epsilon * gradient
    data = lf.Dataset(rows())
    with lf.Trainer(model, N_CTX, beta1=0.0, beta2=0.0, epsilon=1.0) as trainer:
        losses = [trainer.train(data, 0.01).loss for _ in range(7)]
    falls = [before - after for before, after in itertools.pairwise(losses)]
    assert all(fall > 0 for fall in falls), losses
    assert falls[-1] < 1.5 * falls[0], "gradients of earlier steps would make it 6 times"


def test_sgd(model: lf.Model) -> None:
    with lf.Trainer(model, N_CTX, optimizer="sgd") as trainer:
        losses = [trainer.train(lf.Dataset(rows()), 0.05).loss for _ in range(4)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] - 0.01


def test_epochs_and_schedule(model: lf.Model) -> None:
    asked: list[int] = []
    seen: list[tuple[int, bool]] = []

    def rate(step: int) -> float:
        asked.append(step)
        return 1e-3 * 0.9**step

    with lf.Trainer(model, N_CTX) as trainer:
        done = trainer.fit(
            lf.Dataset(rows(3)),
            epochs=2,
            learning_rate=rate,
            validation=lf.Dataset(rows(1, 9)),
            on_epoch=lambda epoch, progress, measured: seen.append((epoch, measured is not None)),
        )
    assert asked == [0, 1, 2, 3, 4, 5] and seen == [(0, True), (1, True)]
    assert [each.steps for each in done] == [3, 3] and done[1].loss < done[0].loss


def test_errors_in_a_schedule_are_raised(model: lf.Model) -> None:
    data = lf.Dataset(rows())
    with lf.Trainer(model, N_CTX) as trainer:
        before = trainer.measure(data)
        with pytest.raises(ZeroDivisionError):
            trainer.train(data, lambda step: 1 / 0)
        for bad in (0.0, -1.0, float("nan"), 11.0):
            with pytest.raises(errors.InvalidArgumentError, match="learning_rate"):
                trainer.train(data, bad)
        assert trainer.measure(data) == before


def test_only_what_is_chosen_is_trained() -> None:
    with testing.random_model("llama", n_layer=1) as model:
        with lf.Trainer(model, N_CTX) as trainer:
            everything = trainer.trained
        assert "blk.0.attn_q.weight" in everything and "token_embd.weight" not in everything
        with lf.Trainer(model, N_CTX, trained=lambda name: name == "output.weight") as trainer:
            assert trainer.trained == ("output.weight",)
            one = trainer.train(lf.Dataset(rows()), 1e-3).loss
            two = trainer.measure(lf.Dataset(rows())).loss
        assert two < one


@pytest.mark.parametrize("kind", sorted(TRAINABLE - {"llama"}))
def test_other_kinds_that_can_be_trained(kind: str) -> None:
    with testing.random_model(kind) as model, lf.Trainer(model, N_CTX) as trainer:
        losses = [trainer.train(lf.Dataset(rows()), 1e-3).loss for _ in range(3)]
    assert losses[2] < losses[1] < losses[0] < 30


@pytest.mark.parametrize("kind", ["gpt2", "llama-moe", "gemma3", "jamba", "mamba", "bert", "t5", "dream"])
def test_kinds_that_cannot_be_trained(kind: str) -> None:
    with testing.random_model(kind) as model:
        with pytest.raises(errors.UnsupportedError, match=model.arch):
            with lf.Trainer(model, N_CTX) as trainer:
                trainer.train(lf.Dataset(rows()), 1e-3)


def test_weights_that_cannot_be_changed(tmp_path: Path) -> None:
    testing.save_random_model(tmp_path / "a.gguf", n_layer=1)
    with lf.Model.load(tmp_path / "a.gguf", load_mode="mmap") as model:
        with pytest.raises(errors.UnsupportedError, match="load_mode='none'"):
            lf.Trainer(model, N_CTX)
    with lf.Model.load(lf.tiny_model_path(), load_mode="none", use_extra_bufts=False) as model:
        with pytest.raises(errors.UnsupportedError, match="nothing to train"):
            lf.Trainer(model, N_CTX, trained=lambda name: name == "output.weight")


@pytest.mark.parametrize(
    ("given", "labels", "error"),
    [
        ([], None, errors.InvalidArgumentError),
        ([[1, 2], [1]], None, errors.InvalidArgumentError),
        ([[1.5, 2.5]], None, errors.ArgumentTypeError),
        ([[1, 2]], [[1]], errors.InvalidArgumentError),
        ([[1, 2]], [], errors.InvalidArgumentError),
        ([1, 2], None, errors.ArgumentTypeError),
    ],
)
def test_datasets_that_cannot_be(given: Any, labels: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        lf.Dataset(given, labels)


def test_wrong_arguments(model: lf.Model) -> None:
    for options, error in (
        ({"n_ctx": 200}, errors.InvalidArgumentError),
        ({"n_ctx": 300}, errors.InvalidArgumentError),
        ({"optimizer": "adam"}, errors.InvalidArgumentError),
        ({"beta1": 1.0}, errors.InvalidArgumentError),
        ({"epsilon": 0.0}, errors.InvalidArgumentError),
        ({"n_threads": 0}, errors.InvalidArgumentError),
        ({"trained": 3}, errors.ArgumentTypeError),
    ):
        with pytest.raises(error):
            lf.Trainer(model, **options)  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        lf.Trainer(model, trained=lambda name: {}[name])
    with lf.Trainer(model, N_CTX) as trainer:
        with pytest.raises(errors.InvalidArgumentError, match="256"):
            trainer.train(lf.Dataset([[1, 2, 3]]), 1e-3)
        for token in (-1, model.vocab.n_tokens):
            with pytest.raises(errors.TokenRangeError):
                trainer.train(lf.Dataset([[token] * (N_CTX + 1)]), 1e-3)
        with pytest.raises(errors.ArgumentTypeError):
            trainer.train(rows(), 1e-3)  # type: ignore[arg-type]
    with pytest.raises(errors.ClosedError):
        trainer.measure(lf.Dataset(rows()))


def test_labels_of_ones_own(model: lf.Model) -> None:
    tokens = rows()[:, :-1]
    labels = np.full_like(tokens, 7)
    with lf.Trainer(model, N_CTX) as trainer:
        for _ in range(15):
            trainer.train(lf.Dataset(tokens, labels), 1e-2)
        assert trainer.measure(lf.Dataset(tokens, labels)).accuracy == 1.0
