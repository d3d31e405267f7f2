"""The model of the measurements: 2 layers, 64 wide, a vocabulary of 32,000 tokens, random weights.

So little work per token makes the cost of the calls around it visible. The model is made in memory from
metadata; the vocabulary is that of llama.cpp's own test file `ggml-vocab-llama-spm.gguf`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from llama_ffi.raw import ffi, lib

ROOT = Path(__file__).resolve().parent.parent
N_VOCAB = 32_000
SIZES = {
    "context_length": 1024,
    "embedding_length": 64,
    "block_count": 2,
    "feed_forward_length": 128,
    "attention.head_count": 2,
    "attention.head_count_kv": 2,
    "rope.dimension_count": 32,
}


def vocabulary_file() -> Path:
    command = [sys.executable, str(ROOT / "vendor" / "fetch.py"), "--print-path"]
    source = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return Path(source) / "models" / "ggml-vocab-llama-spm.gguf"


def write(path: Path, seed: int = 1) -> None:
    """Make the model and save it as a GGUF file.

    C: llama_model_init_from_user, llama_model_save_to_file

    Args:
        path: the file to write, about 17 MB.
        seed: of the weights.
    """
    metadata = lib.gguf_init_empty()
    vocabulary = lib.gguf_init_from_file(
        str(vocabulary_file()).encode(), ffi.new("struct gguf_init_params *", {"no_alloc": True})[0]
    )
    lib.gguf_set_kv(metadata, vocabulary)
    lib.gguf_set_val_str(metadata, b"general.architecture", b"llama")
    for name, value in SIZES.items():
        lib.gguf_set_val_u32(metadata, f"llama.{name}".encode(), value)
    lib.gguf_set_val_u32(metadata, b"llama.vocab_size", N_VOCAB)
    lib.gguf_set_val_f32(metadata, b"llama.attention.layer_norm_rms_epsilon", 1e-5)

    random = np.random.default_rng(seed)

    @ffi.callback("void(struct ggml_tensor *, void *)")
    def fill(tensor: Any, _: Any) -> None:
        n = lib.ggml_nelements(tensor)
        norm = b"norm" in ffi.string(tensor.name)
        values = np.ones(n, np.float32) if norm else random.standard_normal(n, np.float32) * np.float32(0.1)
        lib.ggml_backend_tensor_set(tensor, ffi.from_buffer(values), 0, values.nbytes)

    params = lib.llama_model_default_params()
    params.n_gpu_layers = 0
    model = lib.llama_model_init_from_user(metadata, fill, ffi.NULL, params)
    if model == ffi.NULL:
        raise RuntimeError("libllama refused the toy model's metadata")
    try:
        lib.llama_model_save_to_file(model, str(path).encode())
    finally:
        lib.llama_model_free(model)
        lib.gguf_free(vocabulary)
        lib.gguf_free(metadata)
