"""Memory estimated from a file's metadata, compared with what llama.cpp itself plans."""

from __future__ import annotations

import inspect
import random
from pathlib import Path
from typing import Any

import pytest

import llama_ffi as lf
from devtools import compute_samples
from llama_ffi import memory_estimate, testing
from llama_ffi.errors import (
    ArgumentTypeError,
    GgufError,
    InvalidArgumentError,
    ModelFileError,
    ModelLoadError,
    ModelNotFoundError,
)

pytestmark = pytest.mark.model

CONTEXTS: list[dict[str, Any]] = [{"n_ctx": 512}, {"n_ctx": 2048}, {"n_ctx": 8192}]
TOLERANCE = 0.1
FARTHEST = 0.25
"""For llamas of one layer."""
QUANTIZED = 7
"""How much smaller than f32 the weights of usual files are: as a part of them, compute buffers weigh more."""


def compare(path: Path | str, contexts: list[dict[str, Any]]) -> None:
    with lf.Model.load(path, no_alloc=True, use_extra_bufts=False, n_gpu_layers=0) as model:
        for context in contexts:
            real, guess = model.measure(**context), lf.estimate_memory(path, **context)
            assert guess.weights == pytest.approx(real.model, rel=0.01), context
            assert guess.context == real.context, context
            assert guess.total == pytest.approx(real.total, rel=TOLERANCE), context
            assert guess.context == sum(layer.context for layer in guess.layers)
            assert guess.weights == guess.input + guess.output + sum(each.weights for each in guess.layers)
            assert guess.measured


@pytest.mark.parametrize("kind", testing.kinds())
def test_every_kind_and_three_contexts(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "random.gguf"
    testing.save_random_model(path, kind)
    compare(path, CONTEXTS)


REAL: dict[str, int] = {"n_embd": 2048, "n_head": 32, "n_head_kv": 8, "n_ff": 5632}


@pytest.mark.parametrize("kind", [kind for kind in testing.kinds() if kind not in compute_samples.FILES])
def test_every_kind_as_large_and_deep_as_real_models(kind: str) -> None:
    """Nothing is allocated, so that it costs no memory; contexts of 4, 32 and 128 thousand tokens."""
    plain = testing.random_metadata(kind)
    arch = plain["general.architecture"]
    depth, times = plain[f"{arch}.block_count"], 1 if kind == "hrm_text" else 2  # which has two stacks
    experts = {"n_expert": 64, "n_expert_used": 8} if f"{arch}.expert_count" in plain else {}
    sizes: Any = {**REAL, **experts, "n_layer": times * depth}
    if "rwkv" in arch:
        sizes["n_head_kv"] = sizes["n_head"]
    metadata = testing.random_metadata(kind, **sizes)
    repeated = {
        key: times * value
        for key, value in metadata.items()
        if ".attention." in key and isinstance(value, list) and len(value) == depth
    }
    metadata = {**metadata, **repeated}
    if plain["tokenizer.ggml.model"] != "bert":
        metadata = compute_samples.with_words(metadata, 32_000)
    with compute_samples.planned(metadata) as model:
        for n_ctx in (4096, 32_768, 131_072):
            real = model.measure(n_ctx=n_ctx)
            guess = memory_estimate.of_headers([_header(metadata, model)], {}, {"n_ctx": n_ctx})
            assert guess.context == real.context and guess.measured
            total = real.model / QUANTIZED + real.context + real.compute
            assert abs(guess.compute - real.compute) <= TOLERANCE * total, (guess.compute, real.compute)


@pytest.mark.parametrize(
    "context",
    [
        {"n_ctx": 4096, "n_ubatch": 64, "n_batch": 256},
        {"n_ctx": 1024, "n_seq_max": 4},
        {"n_ctx": 1024, "n_seq_max": 4, "kv_unified": True},
        {"n_ctx": 3000, "type_k": "q8_0", "type_v": "q8_0"},
        {"n_ctx": 2048, "flash_attn": False},
        {"n_ctx": 100, "n_outputs_max": 1},
        {"n_ctx": 0},
    ],
)
@pytest.mark.parametrize("kind", ["llama", "gemma3", "qwen3moe"])
def test_other_contexts(kind: str, context: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "random.gguf"
    testing.save_random_model(path, kind, n_embd=128)  # heads of 32 values: a block of q8_0
    compare(path, [context])


@pytest.mark.parametrize("kind", ["gemma3", "gemma3n", "gpt-oss", "cohere2", "plamo3", "lfm2", "dots3note"])
def test_windows_that_are_not_full(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "random.gguf"
    testing.save_random_model(path, kind)
    contexts = [{"n_ctx": n_ctx, "n_ubatch": 128, "swa_full": False} for n_ctx in (512, 8192)]
    with lf.Model.load(path, no_alloc=True, n_gpu_layers=0) as model:
        for context in contexts:
            assert lf.estimate_memory(path, **context).context == model.measure(**context).context


def test_the_model_that_ships(tiny_model: Path) -> None:
    compare(tiny_model, [*CONTEXTS, {"n_ctx": 512, "n_seq_max": 2}])
    assert str(lf.estimate_memory(tiny_model, n_ctx=512)).splitlines()[-1].startswith("all")


def test_llamas_of_any_size() -> None:
    rnd = random.Random(1)
    assert max(_off(rnd, rnd.randint(2, 12)) for _ in range(100)) <= TOLERANCE


def test_llamas_of_one_layer() -> None:
    """They need less, since their masks are free when the feed-forward part begins; how much is less sure."""
    rnd = random.Random(1)
    off = [_off(rnd, 1) for _ in range(100)]
    assert max(off) <= FARTHEST
    assert sum(each > TOLERANCE for each in off) <= len(off) // 5


def _off(rnd: random.Random, n_layer: int) -> float:
    """Return how far the estimate is off for a model and a context of some size."""
    n_head, n_ctx = rnd.choice([2, 4, 8]), rnd.randint(256, 6000)
    n_embd = n_head * rnd.choice([16, 32, 64])
    metadata = testing.random_metadata(
        "llama",
        n_ff=n_embd * rnd.randint(1, 8),
        n_layer=n_layer,
        n_embd=n_embd,
        n_head=n_head,
        n_head_kv=n_head // 2,
        n_vocab=rnd.randint(500, 5000),
    )
    with compute_samples.planned(metadata) as model:
        real = model.measure(n_ctx=n_ctx)
        guess = memory_estimate.of_headers([_header(metadata, model)], {}, {"n_ctx": n_ctx})
    assert guess.context == real.context
    return abs(real.model + guess.context + guess.compute - real.total) / real.total


def _header(metadata: dict[str, Any], model: lf.Model) -> Any:
    """Return what a file's header would say; tensors but the embeddings don't matter here."""
    from llama_ffi._core.gguf_scan import Header, TensorInfo

    width = metadata[f"{metadata['general.architecture']}.embedding_length"]
    tensors = {"token_embd.weight": TensorInfo("token_embd.weight", (width, model.vocab.n_tokens), 0, 0, 0)}
    return Header(3, 32, {}, metadata, tensors, 0, 0, 0)


def test_the_usual_context_is_that_of_context() -> None:
    made = inspect.signature(lf.Context.__init__).parameters
    loaded = inspect.signature(lf.Model.load).parameters
    for name, value in memory_estimate.USUAL.items():
        assert (made[name] if name in made else loaded[name]).default == value


def test_what_can_not_be(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        lf.estimate_memory(tmp_path / "none.gguf")
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(ModelFileError):
        lf.estimate_memory(tmp_path / "text.gguf")
    with pytest.raises(ArgumentTypeError, match="no parameter 'n_context'"):
        lf.estimate_memory(tiny_model, n_context=3)
    for wrong in ({"n_ctx": -1}, {"type_k": "q9"}, {"n_seq_max": 0}, {"n_batch": 0}):
        with pytest.raises(InvalidArgumentError):
            lf.estimate_memory(tiny_model, **wrong)
    with pytest.raises(ArgumentTypeError):
        lf.estimate_memory(tiny_model, n_ctx="big")
    with pytest.raises((InvalidArgumentError, ModelFileError)):
        lf.estimate_memory(tiny_model, kv_overrides={"llama.block_count": 10**9})
    with lf.gguf.GgufContext({"general.architecture": "llama"}) as empty:
        empty.write(tmp_path / "empty.gguf")
    with pytest.raises((ModelLoadError, GgufError), match="block_count"):
        lf.estimate_memory(tmp_path / "empty.gguf")


def test_an_unknown_architecture_is_taken_for_a_llama(tiny_model: Path) -> None:
    header = _header({**testing.random_metadata("llama")}, lf.Model.load(tiny_model))
    values = {key.replace("llama.", "other."): value for key, value in header.values.items()}
    guess = memory_estimate.of_headers(
        [header._replace(values={**values, "general.architecture": "other"})], {}, {}
    )
    assert not guess.measured and guess.compute > 0 and guess.context > 0
