"""The model as a file and in memory: metadata, random start values, the f16 file that ships."""

from __future__ import annotations

import math
import random
import tempfile
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import llama_ffi as lf

from . import vocabulary

# The wording that llama_chat_apply_template recognises by its two marks, and a template for jinja too.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}<|im_sep|>{{ message['content'] }}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant<|im_sep|>{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """Hold the sizes of the network."""

    n_layer: int = 3
    n_embd: int = 256
    n_head: int = 8
    n_ff: int = 256
    n_ctx: int = 512
    embedding_std: float = 0.5

    @property
    def head_dim(self) -> int:
        """Return the width of one attention head."""
        return self.n_embd // self.n_head


def metadata(shape: Shape, vocab: vocabulary.Vocabulary) -> dict[str, Any]:
    """Return what the GGUF file says about the model."""
    return {
        "general.architecture": "llama",
        "general.name": "llama_ffi tiny",
        "general.author": "the llama_ffi authors",
        "general.license": "MIT",
        "general.description": "Short stories and chats from a grammar; made by examples/train_tiny",
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.chat_template": CHAT_TEMPLATE,
        "llama.context_length": shape.n_ctx,
        "llama.embedding_length": shape.n_embd,
        "llama.block_count": shape.n_layer,
        "llama.feed_forward_length": shape.n_ff,
        "llama.attention.head_count": shape.n_head,
        "llama.attention.head_count_kv": shape.n_head,
        "llama.rope.dimension_count": shape.head_dim,
        "llama.vocab_size": len(vocab.tokens),
        "tokenizer.ggml.bos_token_id": vocab.id(vocabulary.BEGIN),
        "tokenizer.ggml.eos_token_id": vocab.id(vocabulary.FINISH),
        "tokenizer.ggml.eot_token_id": vocab.id("<|im_end|>"),
        "tokenizer.ggml.unknown_token_id": vocab.id(vocabulary.UNKNOWN),
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": False,
        "tokenizer.ggml.add_space_prefix": True,
        "tokenizer.ggml.tokens": list(vocab.tokens),
        "tokenizer.ggml.scores": lf.gguf.Typed(list(vocab.scores), "f32"),
        "tokenizer.ggml.token_type": lf.gguf.Typed(list(vocab.types), "i32"),
    }


def is_weight(name: str) -> bool:
    """Tell whether a tensor belongs to the model.

    llama_model_init_from_user creates every tensor that the architecture may have, also those that files
    usually lack: biases, scales, frequency factors. Those get neutral values, are not trained, not saved.
    """
    return name.endswith(".weight") and not name.startswith("rope_freqs")


def random_values(shape: Shape, seed: int) -> Callable[[str, int], Any]:
    """Return a function that gives a tensor's random start values by its name and size, as float32."""
    rng = random.Random(seed)
    width = 1 / math.sqrt(shape.n_embd)
    special = {"token_embd.weight": shape.embedding_std, "output.weight": 0.02}

    def values(name: str, count: int) -> Any:
        if "norm" in name:
            return array("f", [1.0]) * count
        ends_branch = name.endswith(("attn_output.weight", "ffn_down.weight"))
        std = special.get(name, width / math.sqrt(2 * shape.n_layer) if ends_branch else width)
        return array("f", (rng.gauss(0.0, std) for _ in range(count)))

    return values


def create(shape: Shape, vocab: vocabulary.Vocabulary, values: Callable[[str, int], Any]) -> lf.Model:
    """Return a new model in memory; the caller closes it.

    Args:
        values: gives each weight's float32 values (any buffer, rows of the C layout) by name and size.
    """

    def fill(name: str, size: tuple[int, ...], _type: str) -> Any:
        if is_weight(name):
            return np.frombuffer(values(name, math.prod(size)), np.float32).reshape(size)
        return 0.0 if name.endswith(".bias") else 1.0

    return lf.Model.from_metadata(metadata(shape, vocab), fill)


def save(model: lf.Model, shape: Shape, vocab: vocabulary.Vocabulary, path: Path) -> None:
    """Write the model as f16 (norms f32) under our own metadata; replaces the file at once, never in part."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole = Path(folder, "f32.gguf")
        model.save_to_file(whole)
        with lf.gguf.read(whole, mmap=False) as file:
            tensors = {
                name: tensor.dequantize().astype(np.float16 if len(tensor.shape) == 2 else np.float32)
                for name, tensor in file.tensors.items()
                if is_weight(name)
            }
    lf.gguf.write(path, metadata(shape, vocab) | {"general.file_type": lf.Ftype.MOSTLY_F16.value}, tensors)
