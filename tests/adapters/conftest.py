"""Fixtures of the adapters' tests: the shipped model in float32, and a LoRA for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import llama_ffi as lf
from tests.adapters import lora_files


@pytest.fixture(scope="session")
def base_path(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model in float32, so that what is merged isn't rounded."""
    folder = tmp_path_factory.mktemp("adapters")
    return lora_files.write_model(folder / "base.gguf", tiny_model, lora_files.weights(tiny_model))


@pytest.fixture(scope="session")
def matrices(base_path: Path) -> lora_files.Pairs:
    return lora_files.pairs(base_path)


@pytest.fixture(scope="session")
def lora_path(base_path: Path, matrices: lora_files.Pairs) -> Path:
    return lora_files.write(base_path.with_name("lora.gguf"), matrices)


@pytest.fixture
def model(base_path: Path) -> Iterator[lf.Model]:
    with lf.Model.load(base_path, n_gpu_layers=0) as loaded:
        yield loaded


@pytest.fixture
def ctx(model: lf.Model) -> Iterator[lf.Context]:
    with model.context(n_ctx=256, n_threads=1, type_k="f32", type_v="f32", flash_attn=False) as context:
        yield context
