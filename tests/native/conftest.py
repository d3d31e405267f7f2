"""Fixtures of the tests on the real library: the pinned source's vocabularies, and a model made in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi.raw import ffi, lib

from .embedding_rows import saved

ROOT = Path(__file__).resolve().parents[2]

SIZES = {
    "context_length": 512,
    "embedding_length": 64,
    "block_count": 2,
    "feed_forward_length": 128,
    "attention.head_count": 2,
    "attention.head_count_kv": 2,
    "rope.dimension_count": 32,
}
"""A model that computes a token in a millisecond."""


@pytest.fixture(scope="session")
def source() -> Path:
    """The pinned source of llama.cpp, fetched if it isn't there."""
    command = [sys.executable, str(ROOT / "vendor" / "fetch.py"), "--print-path"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def vocabularies(source: Path) -> list[Path]:
    files = sorted((source / "models").glob("ggml-vocab-*.gguf"))
    assert files, "the fetched source has no vocabularies"
    return files


@pytest.fixture(scope="session")
def random_model_path(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama with random weights and a vocabulary of 32,000 tokens, as a file."""
    path = tmp_path_factory.mktemp("random") / "random.gguf"
    metadata = lib.gguf_init_empty()
    params = ffi.new("struct gguf_init_params *", {"no_alloc": True, "ctx": ffi.NULL})
    vocabulary = lib.gguf_init_from_file(str(source / "models/ggml-vocab-llama-spm.gguf").encode(), params[0])
    lib.gguf_set_kv(metadata, vocabulary)
    lib.gguf_set_val_str(metadata, b"general.architecture", b"llama")
    for name, value in SIZES.items():
        lib.gguf_set_val_u32(metadata, f"llama.{name}".encode(), value)
    lib.gguf_set_val_u32(metadata, b"llama.vocab_size", 32_000)
    lib.gguf_set_val_f32(metadata, b"llama.attention.layer_norm_rms_epsilon", 1e-5)
    random = np.random.default_rng(1)

    @ffi.callback("llama_model_set_tensor_data_t")
    def fill(tensor: Any, _user_data: Any) -> None:
        count = lib.ggml_nelements(tensor)
        if b"norm" in ffi.string(tensor.name):
            values = np.ones(count, np.float32)
        else:
            values = random.standard_normal(count, np.float32) * np.float32(0.1)
        lib.ggml_backend_tensor_set(tensor, ffi.from_buffer(values), 0, 4 * count)

    model_params = lib.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = lib.llama_model_init_from_user(metadata, fill, ffi.NULL, model_params)
    assert model != ffi.NULL
    lib.llama_model_save_to_file(model, str(path).encode())
    lib.llama_model_free(model)
    lib.gguf_free(vocabulary)
    lib.gguf_free(metadata)
    return path


@pytest.fixture(scope="session")
def random_model(random_model_path: Path) -> Iterator[lf.Model]:
    with lf.Model.load(random_model_path, n_gpu_layers=0) as model:
        yield model


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with f32 weights."""
    path = tmp_path_factory.mktemp("plain") / "plain.gguf"
    lf.quantize(lf.tiny_model_path(), path, "f32", n_threads=1)
    return path


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[lf.Model, Any]]:
    """A random llama, and the rows of its token embedding matrix for ``embedding_rows.TOKENS``."""
    model, rows = saved(tmp_path_factory.mktemp("llama"), "llama")
    with model:
        yield model, rows


@pytest.fixture
def ctx(random_model: lf.Model) -> Iterator[lf.Context]:
    with random_model.context(n_ctx=256, n_batch=64, n_ubatch=32, n_threads=1) as context:
        yield context


@pytest.fixture
def ready(ctx: lf.Context) -> lf.Context:
    """A context with one row of logits."""
    ctx.decode(lf.Batch.from_tokens([1, 9038, 2501, 263]))
    return ctx
