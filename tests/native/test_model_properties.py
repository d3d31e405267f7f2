"""What a model says of itself, on models that say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import llama_ffi as lf
from llama_ffi import testing
from llama_ffi.errors import ClosedError
from llama_ffi.gguf import Typed

pytestmark = pytest.mark.native


def model_with(entries: dict[str, Any]) -> lf.Model:
    metadata = {**testing.random_metadata("llama"), **entries}
    return lf.Model.from_metadata(metadata, None, vocab_only=True)


def test_recommended_sampling() -> None:
    said = {
        "temp": 0.5,
        "top_k": 20,
        "top_p": 0.25,
        "min_p": 0.0,
        "xtc_probability": 0.5,
        "xtc_threshold": 0.125,
        "penalty_last_n": 64,
        "penalty_repeat": 1.5,
        "mirostat": 2,
        "mirostat_tau": 5.0,
        "mirostat_eta": 0.125,
        "sequence": "top_k;temp " + "x" * 400,
    }
    with model_with({f"general.sampling.{name}": value for name, value in said.items()}) as model:
        assert dict(model.sampling) == said
        with pytest.raises(TypeError):
            model.sampling["temp"] = 1.0  # type: ignore[index]
    with pytest.raises(ClosedError):
        _ = model.sampling


def test_nothing_is_recommended(tiny_model: Path) -> None:
    with lf.Model.load(tiny_model, vocab_only=True) as model:
        assert model.sampling == {}
    with model_with({"general.sampling.temp": "warm"}) as model:
        assert model.sampling == {"temp": "warm"}


@pytest.mark.parametrize(
    ("said", "name"), [(1, "MOSTLY_F16"), (1024 | 7, "MOSTLY_Q8_0"), (999, None), (2**32 - 1, None)]
)
def test_quantization(said: int, name: str | None) -> None:
    entries = {"general.file_type": Typed(said, "u32")}
    with model_with(entries) as words, testing.random_model("llama", metadata=entries) as model:
        for each in (words, model):
            assert (each.ftype.name if name else each.ftype) == name
            assert each.ftype_name
        assert words.ftype_name == model.ftype_name


def test_guessed_quantization() -> None:
    with model_with({}) as words, testing.random_model("llama") as model:
        assert "general.file_type" not in model.metadata
        assert words.ftype is None and model.ftype.name == "ALL_F32"
