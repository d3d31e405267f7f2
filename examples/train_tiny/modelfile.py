"""The model as a file and in memory: metadata, random start values, the f16 file that ships.

Everything goes through llama.cpp's C API: a metadata-only `gguf_context` describes the model,
`llama_model_init_from_user` creates it and asks for each tensor's values.
"""

from __future__ import annotations

import math
import random
import tempfile
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_ffi.raw import ffi, lib

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


def _set_strings(gguf: Any, key: bytes, values: Sequence[str]) -> None:
    kept = [ffi.new("char[]", value.encode()) for value in values]
    lib.gguf_set_arr_str(gguf, key, ffi.new("const char *[]", kept), len(kept))


def metadata(shape: Shape, vocab: vocabulary.Vocabulary) -> Any:
    """Return a new gguf_context that describes the model; the caller frees it with gguf_free."""
    gguf = lib.gguf_init_empty()
    strings = {
        b"general.architecture": "llama",
        b"general.name": "llama_ffi tiny",
        b"general.author": "the llama_ffi authors",
        b"general.license": "MIT",
        b"general.description": "Short stories and chats from a grammar; made by examples/train_tiny",
        b"tokenizer.ggml.model": "llama",
        b"tokenizer.ggml.pre": "default",
        b"tokenizer.chat_template": CHAT_TEMPLATE,
    }
    for key, text in strings.items():
        lib.gguf_set_val_str(gguf, key, text.encode())
    numbers = {
        b"llama.context_length": shape.n_ctx,
        b"llama.embedding_length": shape.n_embd,
        b"llama.block_count": shape.n_layer,
        b"llama.feed_forward_length": shape.n_ff,
        b"llama.attention.head_count": shape.n_head,
        b"llama.attention.head_count_kv": shape.n_head,
        b"llama.rope.dimension_count": shape.head_dim,
        b"llama.vocab_size": len(vocab.tokens),
        b"tokenizer.ggml.bos_token_id": vocab.id(vocabulary.BEGIN),
        b"tokenizer.ggml.eos_token_id": vocab.id(vocabulary.FINISH),
        b"tokenizer.ggml.eot_token_id": vocab.id("<|im_end|>"),
        b"tokenizer.ggml.unknown_token_id": vocab.id(vocabulary.UNKNOWN),
    }
    for key, number in numbers.items():
        lib.gguf_set_val_u32(gguf, key, number)
    lib.gguf_set_val_f32(gguf, b"llama.attention.layer_norm_rms_epsilon", 1e-5)
    lib.gguf_set_val_f32(gguf, b"llama.rope.freq_base", 10000.0)
    for key, switch in {b"add_bos_token": True, b"add_eos_token": False, b"add_space_prefix": True}.items():
        lib.gguf_set_val_bool(gguf, b"tokenizer.ggml." + key, switch)
    _set_strings(gguf, b"tokenizer.ggml.tokens", vocab.tokens)
    scores, types = ffi.new("float[]", vocab.scores), ffi.new("int32_t[]", vocab.types)
    count = len(vocab.tokens)
    lib.gguf_set_arr_data(gguf, b"tokenizer.ggml.scores", lib.GGUF_TYPE_FLOAT32, scores, count)
    lib.gguf_set_arr_data(gguf, b"tokenizer.ggml.token_type", lib.GGUF_TYPE_INT32, types, count)
    return gguf


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


def create(shape: Shape, vocab: vocabulary.Vocabulary, values: Callable[[str, int], Any]) -> Any:
    """Return a new llama_model in memory; the caller frees it with llama_model_free.

    Args:
        values: gives each weight's float32 values (any buffer, rows of the C layout) by name and size.
    """

    @ffi.callback("llama_model_set_tensor_data_t")  # type: ignore[untyped-decorator]
    def fill(tensor: Any, _: Any) -> None:
        name = ffi.string(lib.ggml_get_name(tensor)).decode()
        count = lib.ggml_nelements(tensor)
        if is_weight(name):
            data = values(name, count)
        else:
            data = array("f", [0.0 if name.endswith(".bias") else 1.0]) * count
        lib.ggml_backend_tensor_set(tensor, ffi.from_buffer(data), 0, lib.ggml_nbytes(tensor))

    gguf = metadata(shape, vocab)
    model = lib.llama_model_init_from_user(gguf, fill, ffi.NULL, lib.llama_model_default_params())
    lib.gguf_free(gguf)
    if model == ffi.NULL:
        raise RuntimeError("llama.cpp refused the model's metadata")
    return model


def save(model: Any, shape: Shape, vocab: vocabulary.Vocabulary, path: Path) -> None:
    """Write the model as f16 (norms f32) under our own metadata; replaces the file at once, never in part."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole, half = Path(folder, "f32.gguf"), Path(folder, "f16.gguf")
        lib.llama_model_save_to_file(model, str(whole).encode())
        _convert(whole, half, shape, vocab)
        half.replace(path)


def _convert(source: Path, target: Path, shape: Shape, vocab: vocabulary.Vocabulary) -> None:
    held = ffi.new("struct ggml_context **")
    read = lib.gguf_init_from_file(str(source).encode(), {"no_alloc": False, "ctx": held})
    if read == ffi.NULL:
        raise RuntimeError(f"{source} can't be read back")
    size = source.stat().st_size + 64 * 1024 * 1024
    made = lib.ggml_init({"mem_size": size, "mem_buffer": ffi.NULL, "no_alloc": False})
    gguf = metadata(shape, vocab)
    tensor = lib.ggml_get_first_tensor(held[0])
    while tensor != ffi.NULL:
        name = ffi.string(lib.ggml_get_name(tensor))
        if not is_weight(name.decode()):
            pass
        elif lib.ggml_n_dims(tensor) == 2:
            copy = lib.ggml_new_tensor(made, lib.GGML_TYPE_F16, 2, tensor.ne)
            data = ffi.cast("float *", lib.ggml_get_data(tensor))
            out = ffi.cast("ggml_fp16_t *", lib.ggml_get_data(copy))
            lib.ggml_fp32_to_fp16_row(data, out, lib.ggml_nelements(tensor))
            lib.ggml_set_name(copy, name)
            lib.gguf_add_tensor(gguf, copy)
        else:
            lib.gguf_add_tensor(gguf, tensor)
        tensor = lib.ggml_get_next_tensor(held[0], tensor)
    lib.gguf_set_val_u32(gguf, b"general.file_type", lib.LLAMA_FTYPE_MOSTLY_F16)
    written = lib.gguf_write_to_file(gguf, str(target).encode(), False)
    for context in (gguf, read):
        lib.gguf_free(context)
    for memory in (made, held[0]):
        lib.ggml_free(memory)
    if not written:
        raise OSError(f"{target} can't be written")
