"""The sound files that are mutated: tiny models of several kinds, an adapter, vectors for control.

Libllama says which tensors a kind of model has; weights are random. All are small: a case must not cost
more than a few milliseconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import llama_ffi as lf

Metadata = dict[str, Any]
Typed = lf.gguf.Typed

_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]


def make_all(folder: Path) -> dict[str, Path]:
    """Write every base into ``folder``; returns their paths by name."""
    paths: dict[str, Path] = {}
    for name, metadata in MODELS.items():
        paths[name] = folder / f"{name}.gguf"
        lf.gguf.write(paths[name], metadata, _tensors(metadata))
    paths["quantized"] = _quantized(paths["llama"], folder / "quantized.gguf")
    paths["lora"] = _lora(paths["llama"], folder / "lora.gguf")
    paths["control"] = _control(folder / "control.gguf")
    paths["imatrix"] = _imatrix(folder / "imatrix.gguf")
    paths["projector"] = _projector(folder / "projector.gguf")
    paths["split"] = _split(paths["llama"], folder)
    return paths


def _tensors(metadata: Metadata) -> dict[str, Any]:
    """Return the tensors that libllama asks for when it makes the model, with random values.

    Not ``save_to_file``: llama_model_save_to_file leaves tensors of some architectures out.
    """
    random, tensors = np.random.default_rng(7), {}

    def fill(name: str, shape: tuple[int, ...], _type: str) -> Any:
        if "norm" in name and "weight" in name:
            tensors[name] = np.ones(shape, np.float32)
        else:
            tensors[name] = random.standard_normal(shape, np.float32) * np.float32(0.1)
        return tensors[name]

    lf.Model.from_metadata(metadata, fill).close()
    return tensors


def _spm() -> Metadata:
    tokens = ["<unk>", "<s>", "</s>", *_BYTES, "▁", *_LETTERS, "▁t", "he", "▁the"]
    types = [2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259)
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [-float(index) for index in range(len(tokens))],
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": "{% for m in messages %}<|im_start|>{{ m.role }}{% endfor %}",
    }


def _bpe() -> Metadata:
    tokens = ["<|endoftext|>", *_LETTERS, "Ġ", "th", "the", "Ġt"]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] + [1] * (len(tokens) - 1),
        "tokenizer.ggml.merges": ["t h", "th e", "Ġ t"],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0,
    }


def _wpm() -> Metadata:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"▁{each}" for each in _LETTERS), *_LETTERS]
    return {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] * 5 + [1] * (len(tokens) - 5),
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.eos_token_id": 3,
        "tokenizer.ggml.unknown_token_id": 1,
        "tokenizer.ggml.seperator_token_id": 3,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.cls_token_id": 2,
        "tokenizer.ggml.mask_token_id": 4,
    }


def _ugm() -> Metadata:
    tokens = ["<pad>", "</s>", "<unk>", "▁", *_LETTERS, "▁the"]
    return {
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0, 0.0, 0.0] + [-float(index) for index in range(len(tokens) - 3)],
        "tokenizer.ggml.token_type": [3, 3, 2] + [1] * (len(tokens) - 3),
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.unknown_token_id": 2,
        "tokenizer.ggml.padding_token_id": 0,
    }


def _sizes(arch: str, **more: Any) -> Metadata:
    sizes = {
        "context_length": 64,
        "embedding_length": 32,
        "block_count": 2,
        "feed_forward_length": 64,
        "attention.head_count": 2,
        **more,
    }
    return {"general.architecture": arch, **{f"{arch}.{name}": value for name, value in sizes.items()}}


_RMS = {"attention.layer_norm_rms_epsilon": 1e-5}
_NORM = {"attention.layer_norm_epsilon": 1e-5}

MODELS: dict[str, Metadata] = {
    "llama": {
        **_sizes(
            "llama",
            **_RMS,
            **{"attention.head_count_kv": 1, "rope.dimension_count": 16, "rope.freq_base": 10000.0},
            **{"rope.scaling.type": "linear", "rope.scaling.factor": 2.0},
        ),
        **_spm(),
    },
    "gpt2": {**_sizes("gpt2", **_NORM), **_bpe()},
    "bert": {
        **_sizes("bert", **_NORM, **{"attention.causal": False, "pooling_type": 1}),
        **_wpm(),
    },
    "moe": {
        **_sizes(
            "qwen2moe",
            **_RMS,
            **{"attention.head_count_kv": 2, "expert_count": 4, "expert_used_count": 2},
            expert_feed_forward_length=32,
            expert_shared_feed_forward_length=32,
        ),
        **_bpe(),
    },
    "gemma": {
        **_sizes(
            "gemma3",
            **_RMS,
            **{"attention.head_count_kv": 1, "attention.key_length": 16, "attention.value_length": 16},
            **{"attention.sliding_window": 8, "rope.freq_base": 10000.0},
        ),
        **_spm(),
    },
    "mamba": {
        **_sizes(
            "mamba",
            **_RMS,
            **{"ssm.conv_kernel": 4, "ssm.inner_size": 64, "ssm.state_size": 16, "ssm.time_step_rank": 2},
        ),
        **_bpe(),
    },
    "rwkv": {
        **_sizes(
            "rwkv6",
            **_NORM,
            **{
                "attention.head_count": 0,
                "wkv.head_size": 64,
                "embedding_length": 64,
                "time_mix_extra_dim": 8,
            },
            time_decay_extra_dim=8,
            rescale_every_n_layers=1,
        ),
        **_bpe(),
    },
    "t5": {
        **_sizes(
            "t5encoder",
            **_RMS,
            **{"attention.relative_buckets_count": 8, "attention.key_length": 16},
            **{"attention.value_length": 16},
        ),
        **_ugm(),
    },
}


def _quantized(path: Path, target: Path) -> Path:
    """The llama with Q4_0 matrices, by bytes: any are blocks of some numbers."""
    random = np.random.default_rng(5)
    with lf.gguf.read(path) as file, lf.gguf.GgufWriter(target) as writer:
        for key, field in file.fields.items():
            writer.add(key, field.typed)
        for name, tensor in file.tensors.items():
            if len(tensor.ne) == 2:
                row = tensor.ne[0] // 32 * 18
                writer.add_tensor(name, random.integers(0, 40, (tensor.ne[1], row), np.uint8), type="q4_0")
            else:
                writer.add_tensor(name, tensor)
    return target


def _lora(path: Path, target: Path) -> Path:
    random = np.random.default_rng(5)
    metadata = {
        "general.architecture": "llama",
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 4.0,
    }
    tensors: dict[str, Any] = {}
    with lf.gguf.read(path) as file:
        for name in ("blk.0.attn_q.weight", "blk.1.attn_output.weight", "blk.1.ffn_up.weight"):
            width, height = file.tensors[name].ne
            tensors[f"{name}.lora_a"] = random.standard_normal((2, width), np.float32)
            tensors[f"{name}.lora_b"] = random.standard_normal((height, 2), np.float32)
    lf.gguf.write(target, metadata, tensors)
    return target


def _control(target: Path) -> Path:
    metadata = {
        "general.architecture": "controlvector",
        "controlvector.model_hint": "llama",
        "controlvector.layer_count": 1,
    }
    lf.gguf.write(target, metadata, {"direction.1": np.ones(32, np.float32)})
    return target


def _imatrix(target: Path) -> Path:
    names = [f"blk.{layer}.{name}.weight" for layer in range(2) for name in ("attn_q", "ffn_up")]
    entries = {name: (np.ones((1, 32), np.float32), np.ones(1, np.float32)) for name in names}
    lf.ImportanceMatrix(entries, datasets=["text"], chunk_count=1, chunk_size=64).save(target)
    return target


def _projector(target: Path) -> Path:
    """What turns pictures into embeddings: a CLIP of one layer, as mtmd reads it."""
    random = np.random.default_rng(5)
    metadata = {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "clip.has_vision_encoder": True,
        "clip.projector_type": "mlp",
        "clip.use_gelu": True,
        "clip.vision.image_size": 28,
        "clip.vision.patch_size": 14,
        "clip.vision.embedding_length": 16,
        "clip.vision.feed_forward_length": 32,
        "clip.vision.projection_dim": 32,
        "clip.vision.block_count": 1,
        "clip.vision.attention.head_count": 2,
        "clip.vision.attention.layer_norm_epsilon": 1e-5,
        "clip.vision.image_mean": [0.5, 0.5, 0.5],
        "clip.vision.image_std": [0.5, 0.5, 0.5],
    }
    shapes = {
        "v.patch_embd.weight": (16, 3, 14, 14),
        "v.position_embd.weight": (5, 16),
        "v.blk.0.attn_q.weight": (16, 16),
        "v.blk.0.ffn_up.weight": (32, 16),
        "mm.0.weight": (32, 16),
        "mm.0.bias": (32,),
    }
    tensors = {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    lf.gguf.write(target, metadata, tensors)
    return target


def _split(path: Path, folder: Path) -> Path:
    """The llama in two parts, by the names that llama.cpp looks for; returns the first."""
    with lf.gguf.read(path) as file:
        names = list(file.tensors)
        for number, part in enumerate((names[:4], names[4:])):
            target = folder / f"split-{number + 1:05}-of-00002.gguf"
            with lf.gguf.GgufWriter(target) as writer:
                for key, field in file.fields.items() if number == 0 else ():
                    writer.add(key, field.typed)
                writer.add("split.no", number, "u16")
                writer.add("split.count", 2, "u16")
                writer.add("split.tensors.count", len(names), "i32")
                for name in part:
                    writer.add_tensor(name, file.tensors[name])
    return folder / "split-00001-of-00002.gguf"
