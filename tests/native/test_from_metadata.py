"""Models made in memory: what fill may return, what is refused, what can't crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi import errors, testing
from llama_ffi.gguf import GgufContext, Typed

pytestmark = pytest.mark.native

TOKENS = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁a", "b"]
METADATA: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.context_length": 64,
    "llama.embedding_length": 64,
    "llama.block_count": 1,
    "llama.feed_forward_length": 64,
    "llama.attention.head_count": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.scores": [0.0] * len(TOKENS),
    "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1, 1],
}


def values(name: str, shape: tuple[int, ...], _type: str) -> Any:
    return np.random.default_rng(crc32(name.encode())).standard_normal(shape, np.float32) * np.float32(0.1)


def logits(model: lf.Model) -> Any:
    with model.context(n_ctx=64, n_threads=1, type_k="f32", type_v="f32") as ctx:
        ctx.decode(lf.Batch.from_tokens([1, 100, 200]))
        return ctx.logits(-1)


def test_it_decodes_and_is_what_the_metadata_say(tmp_path: Path) -> None:
    seen: list[tuple[str, tuple[int, ...], str]] = []

    def fill(name: str, shape: tuple[int, ...], type: str) -> Any:
        seen.append((name, shape, type))
        return values(name, shape, type)

    with lf.Model.from_metadata(METADATA, fill) as model:
        assert (model.arch, model.n_layer, model.n_embd, model.path) == ("llama", 1, 64, "")
        assert model.vocab.n_tokens == len(TOKENS)
        assert ("token_embd.weight", (len(TOKENS), 64), "f32") in seen
        assert len({name for name, *_ in seen}) == len(seen)
        before = logits(model)
        model.save_to_file(tmp_path / "a.gguf")
    assert np.isfinite(before).all() and before.std() > 0
    with lf.Model.load(tmp_path / "a.gguf", n_gpu_layers=0, use_extra_bufts=False) as model:
        assert model.n_params == sum(int(np.prod(shape)) for _, shape, _ in seen)
        np.testing.assert_array_equal(logits(model), before)


def test_vocabulary_only() -> None:
    with lf.Model.from_metadata(METADATA, vocab_only=True) as model:
        assert model.vocab_only and model.vocab.tokenize(" ab") != []


def test_types_of_tensors_and_bytes() -> None:
    kinds = {"blk.0.ffn_up.weight": "f16", "blk.0.ffn_down.weight": "bf16", "output.weight": "q8_0"}
    with GgufContext(METADATA) as gguf:
        for name, type in kinds.items():
            gguf.add_tensor(name, (64,), type)
        types = {}

        def fill(name: str, shape: tuple[int, ...], type: str) -> Any:
            types[name] = type
            if name == "token_embd.weight":
                return values(name, shape, type).tobytes()
            return 0.5 if name == "blk.0.attn_q.bias" else values(name, shape, type).astype(np.float64)

        with (
            lf.Model.from_metadata(gguf, fill) as model,
            lf.Model.from_metadata(
                METADATA, lambda *a: 0.5 if a[0] == "blk.0.attn_q.bias" else values(*a)
            ) as full,
        ):
            a, b = logits(model), logits(full)
    assert {name: types[name] for name in kinds} == kinds
    assert set(types.values()) == {"f32", *kinds.values()}
    error = ((a - b) ** 2).sum() / (b**2).sum()
    assert 0 < error < 1e-3


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (None, errors.ArgumentTypeError),
        ("text", errors.ArgumentTypeError),
        ([[1], [1, 2]], errors.ArgumentTypeError),
        (np.zeros(3), errors.InvalidArgumentError),
        (b"abc", errors.InvalidArgumentError),
        (1j, errors.ArgumentTypeError),
    ],
)
def test_values_that_are_refused(given: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"token_embd\.weight"):
        lf.Model.from_metadata(METADATA, lambda *_: given)


def test_what_fill_raises_is_raised_and_it_is_not_called_again() -> None:
    calls = []

    def fill(*_: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        lf.Model.from_metadata(METADATA, fill)
    assert len(calls) == 3


def test_quantized_values_must_be_finite_and_quantizable() -> None:
    for type, error in (("q8_0", errors.InvalidArgumentError), ("iq2_xxs", errors.UnsupportedError)):
        metadata = METADATA | {"llama.embedding_length": 256, "llama.feed_forward_length": 256}
        with GgufContext(metadata) as gguf:
            gguf.add_tensor("output.weight", (256,), type)
            with pytest.raises(error, match=r"output\.weight"):
                lf.Model.from_metadata(gguf, lambda *_: float("nan"))
    with GgufContext(METADATA) as gguf:
        gguf.add_tensor("output.weight", (256,), "q4_K")  # 64 wide rows have no blocks of 256
        with pytest.raises(errors.ModelLoadError):
            lf.Model.from_metadata(gguf, lambda *_: 0.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("general.architecture", None),
        ("general.architecture", 3),
        ("llama.block_count", 0),
        ("llama.block_count", 513),
        ("llama.embedding_length", 0),
        ("llama.context_length", 0),
        ("llama.nextn_predict_layers", 2),
        ("llama.expert_count", 4),
        ("llama.expert_used_count", 4),
        ("llama.expert_count", 2000),
        ("llama.expert_group_count", 2),
        ("llama.rope.scaling.type", "spiral"),
        ("llama.attention.layer_norm_rms_epsilon", -1e-5),
        ("llama.attention.layer_norm_rms_epsilon", float("nan")),
    ],
)
def test_metadata_that_would_abort(key: str, value: Any) -> None:
    metadata = {name: each for name, each in (METADATA | {key: value}).items() if each is not None}
    with pytest.raises(errors.InvalidArgumentError, match=key.rsplit("_", 1)[0]):
        lf.Model.from_metadata(metadata, lambda *_: 0.0)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("general.architecture", "abacus", "unknown model architecture: 'abacus'"),
        ("llama.context_length", None, "key not found in model: llama.context_length"),
        ("llama.embedding_length", Typed(64, "u8"), "wrong type u8"),
        ("llama.attention.head_count", [1, 2, 3], "wrong array length"),
        ("llama.attention.head_count", 0, ""),
        ("llama.feed_forward_length", 0, ""),
        ("tokenizer.ggml.model", None, "tokenizer.ggml.model"),
        ("tokenizer.ggml.tokens", ["a", "a"], ""),
        ("tokenizer.ggml.scores", [1.0], "scores"),
    ],
)
def test_metadata_that_libllama_refuses(key: str, value: Any, words: str) -> None:
    metadata = {name: each for name, each in (METADATA | {key: value}).items() if each is not None}
    with pytest.raises(errors.ModelLoadError) as caught:
        lf.Model.from_metadata(metadata, lambda *_: 0.0)
    assert words in str(caught.value) and caught.value.log


def test_wrong_arguments() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="vocab_only"):
        lf.Model.from_metadata(METADATA)
    with pytest.raises(errors.ArgumentTypeError, match="function"):
        lf.Model.from_metadata(METADATA, 3)  # type: ignore[arg-type]
    with pytest.raises(errors.ArgumentTypeError, match="mapping"):
        lf.Model.from_metadata([1], values)  # type: ignore[arg-type]
    with GgufContext(METADATA) as gguf:

        def meddle(*_: Any) -> Any:
            gguf.set("a", 1)

        with pytest.raises(errors.BusyError):
            lf.Model.from_metadata(gguf, meddle)


def test_fingerprints_tell_weights_apart() -> None:
    def made(factor: float) -> str:
        with lf.Model.from_metadata(METADATA, lambda *given: values(*given) * factor) as model:
            return model.fingerprint

    assert made(1.0) == made(1.0) != made(1.5)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("rwkv7", "wkv.head_size", 32),
        ("rwkv6", "wkv.head_size", 0),
        ("mamba2", "ssm.group_count", 0),
        ("qwen3next", "full_attention_interval", 0),
        ("minimax-01", "full_attention_interval", 0),
        ("t5", "attention.relative_buckets_count", 0),
        ("kimi-linear", "attention.key_length_mla", 0),
        ("kimi-linear", "attention.value_length_mla", 0),
        ("deepseek4", "attention.compress_ratios", [0, 0, 0, 0]),
        ("deepseek4", "attention.compress_ratios", [0, 0, 128, 128, 4]),  # of four layers
        ("deepseek4", "attention.output_group_count", 0),
        ("modern-bert", "attention.head_count_kv", 0),
        ("wavtokenizer-dec", "attention.group_norm_groups", 0),
        ("dots3note", "attention.indexer.types", [0, 0]),
        ("dots3note", "attention.indexer.types", [0, 0, 1]),
        ("dots3note", "attention.sliding_window_pattern", [0, 0]),
        ("step35", "expert_feed_forward_length", 0),
        ("deepseek4", "hyper_connection.sinkhorn_iterations", 2**31 - 1),
    ],
)
def test_metadata_that_nothing_would_catch(kind: str, key: str, value: Any) -> None:
    """Divisions by zero, reads beyond a buffer, endless loops: found by trying each key at its limits."""
    metadata = testing.random_metadata(kind)
    assert f"{kind}.{key}" in metadata
    with pytest.raises(errors.InvalidArgumentError, match=key.rsplit(".", 1)[-1]):
        lf.Model.from_metadata(metadata | {f"{kind}.{key}": value}, lambda *_: 0.0)
