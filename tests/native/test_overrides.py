"""kv_overrides: what llama.cpp takes, and what it would pass over without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

import llama_ffi as lf

pytestmark = pytest.mark.model


@pytest.mark.parametrize(
    "overrides",
    [
        {"llama.context_length": 128},
        {"llama.rope.freq_base": 20000.0, "general.name": "other"},
        {"tokenizer.ggml.add_bos_token": False},
        {"llama.attention.layer_norm_rms_epsilon": 1e-6},
        {},
    ],
)
def test_what_is_taken(tiny_model: Path, overrides: dict[str, bool | int | float | str]) -> None:
    with lf.Model.load(tiny_model, kv_overrides=overrides) as model:
        assert model.n_ctx_train == overrides.get("llama.context_length", 512)


def test_a_misspelt_key_is_refused(tiny_model: Path) -> None:
    with pytest.raises(lf.errors.InvalidArgumentError, match=r"'llama\.context_length' is") as caught:
        lf.Model.load(tiny_model, kv_overrides={"llama.context_length": 64, "llama.contxt_length": 64})
    assert "llama.contxt_length" in str(caught.value)


def test_a_key_that_is_read_otherwise_is_refused(tiny_model: Path) -> None:
    with pytest.raises(lf.errors.InvalidArgumentError, match=r"would change nothing.*gguf\.edit"):
        lf.Model.load(tiny_model, kv_overrides={"tokenizer.chat_template": "x"})


def test_a_vocabulary_doesnt_read_the_rest(tiny_model: Path) -> None:
    with lf.Model.load(tiny_model, vocab_only=True, kv_overrides={"llama.nothing": 1}) as model:
        assert model.vocab_only


@pytest.mark.parametrize("wrong", [[], 3, "llama.context_length"])
def test_no_mapping(tiny_model: Path, wrong: object) -> None:
    with pytest.raises(lf.errors.ArgumentTypeError, match="kv_overrides must be a dict"):
        lf.Model.load(tiny_model, kv_overrides=wrong)  # type: ignore[arg-type]
    with pytest.raises(lf.errors.ArgumentTypeError, match="kv_overrides must be a dict"):
        lf.Model.from_metadata({}, lambda *_: 0, kv_overrides=wrong)  # type: ignore[arg-type]
