"""LoRA adapters: what they compute, and what can be done with them."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi._core import handle
from llama_ffi.errors import (
    AdapterError,
    ArgumentTypeError,
    ClosedError,
    InvalidArgumentError,
    UnsupportedError,
)
from tests.adapters import lora_files
from tests.adapters.lora_files import logits

pytestmark = pytest.mark.model


def nmse(found: Any, expected: Any) -> float:
    return float(np.square(found - expected).sum() / np.square(expected).sum())


def merged(base_path: Path, matrices: lora_files.Pairs, scale: float) -> dict[str, Any]:
    tensors = lora_files.weights(base_path)
    for name, (a, b) in matrices.items():
        tensors[name] = tensors[name] + np.float32(scale * lora_files.ALPHA / lora_files.RANK) * (b @ a)
    return tensors


@pytest.mark.parametrize("scale", [1.0, 0.5, -0.25])
def test_a_lora_is_its_merged_weights(
    ctx: lf.Context,
    base_path: Path,
    lora_path: Path,
    matrices: lora_files.Pairs,
    tmp_path: Path,
    scale: float,
) -> None:
    path = lora_files.write_model(tmp_path / "merged.gguf", base_path, merged(base_path, matrices, scale))
    plain = logits(ctx)
    with (
        lf.Model.load(path, n_gpu_layers=0) as model,
        model.context(n_ctx=256, n_threads=1, type_k="f32", type_v="f32", flash_attn=False) as other,
    ):
        expected = logits(other)
    with ctx.model.load_lora(lora_path) as lora:
        ctx.set_loras([(lora, scale)])
        assert nmse(logits(ctx), expected) < 1e-6 < nmse(plain, expected)
        ctx.set_loras([])
    assert np.array_equal(logits(ctx), plain)


def test_a_lora_of_the_token_embedding(ctx: lf.Context, base_path: Path, tmp_path: Path) -> None:
    """Its matrices are stored the other way round."""
    tensors, random = lora_files.weights(base_path), np.random.default_rng(3)
    n_vocab, n_embd = tensors["token_embd.weight"].shape
    a = np.float32(random.standard_normal((n_vocab, lora_files.RANK)) * 0.1)
    b = np.float32(random.standard_normal((n_embd, lora_files.RANK)) * 0.1)
    tensors["token_embd.weight"] = tensors["token_embd.weight"] + np.float32(2.0) * (a @ b.T)
    path = lora_files.write(tmp_path / "embd.gguf", {"token_embd.weight": (a, b)})
    whole = lora_files.write_model(tmp_path / "merged.gguf", base_path, tensors)
    with (
        lf.Model.load(whole, n_gpu_layers=0) as model,
        model.context(n_ctx=256, n_threads=1, type_k="f32", type_v="f32", flash_attn=False) as other,
    ):
        expected = logits(other)
    ctx.set_loras([(ctx.model.load_lora(path), 1.0)])
    assert nmse(logits(ctx), expected) < 1e-6


def test_hot_swap_between_two_contexts(
    model: lf.Model, lora_path: Path, base_path: Path, tmp_path: Path
) -> None:
    second = lora_files.write(tmp_path / "second.gguf", lora_files.pairs(base_path, seed=2))
    one, two = model.load_lora(lora_path), model.load_lora(second)
    with model.context(n_ctx=256, n_threads=1) as a, model.context(n_ctx=256, n_threads=1) as b:
        plain = logits(a)
        a.set_loras([(one, 1.0)])
        with_one = logits(a)
        assert np.array_equal(logits(b), plain), "the other context has no adapter"
        b.set_loras([(two, 1.0)])
        with_two = logits(b)
        a.set_loras([(two, 1.0)])
        assert np.array_equal(logits(a), with_two)
        assert [lora for lora, _scale in a.loras] == [two]
        a.set_loras([(one, 1.0), (two, 1.0)])
        both = logits(a)
        a.set_loras([(two, 1.0), (one, 1.0)])
        assert nmse(logits(a), both) < 1e-9
        a.set_loras([(one, 1.0), (two, 0.0)])
        assert np.array_equal(logits(a), with_one)
        a.set_loras([(one, 0.0)])
        assert np.array_equal(logits(a), plain)
        assert nmse(both, plain) > 1e-4 and nmse(both, with_one) > 1e-4


def test_close_orders(base_path: Path, lora_path: Path) -> None:
    """Whoever is closed first: the context goes on with what it uses, and in the end nothing is left."""
    gc.collect()
    before = handle.live()
    model = lf.Model.load(base_path, n_gpu_layers=0)
    ctx, lora = model.context(n_ctx=256, n_threads=1), model.load_lora(lora_path)
    ctx.set_loras([(lora, 1.0)])
    logits(ctx)
    lora.close()
    lora.close()
    model.close()
    ctx.memory.clear()
    ctx.decode(lf.Batch(1).add(5, 0, logits=True))
    assert handle.live() == before + 3
    ctx.set_loras([])
    gc.collect()
    assert handle.live() == before + 2, "the adapter went when nobody used it any more"
    with pytest.raises(ClosedError, match="adapter is closed"):
        ctx.set_loras([(lora, 1.0)])
    ctx.close()
    gc.collect()
    assert handle.live() == before


def test_an_adapter_outlives_its_model_object(base_path: Path, lora_path: Path) -> None:
    lora = lf.Model.load(base_path, n_gpu_layers=0).load_lora(lora_path)
    lora.model.close()
    assert lora.metadata["general.architecture"] == "llama"
    lora.close()
    for use in (lambda: lora.metadata, lambda: lora.value("x"), lambda: lora.alora_invocation_tokens):
        with pytest.raises(ClosedError):
            use()
    assert "closed" in repr(lora)


def test_metadata(model: lf.Model, base_path: Path, matrices: lora_files.Pairs, tmp_path: Path) -> None:
    long = "wörd " * 200
    path = lora_files.write(
        tmp_path / "named.gguf",
        matrices,
        general__name=long,
        adapter__alora__invocation_tokens=lf.gguf.Typed([5, 6, 2000], "u32"),
    )
    with model.load_lora(path) as lora:
        assert lora.metadata["general.name"] == long
        assert lora.value("general.name") == long
        assert float(lora.metadata["adapter.lora.alpha"]) == lora_files.ALPHA
        assert lora.value("no.such.key") is None
        assert lora.alora_invocation_tokens == [5, 6, 2000]
        with pytest.raises(InvalidArgumentError, match="NUL"):
            lora.value("a\0b")
    with model.load_lora(lora_files.write(tmp_path / "plain.gguf", matrices)) as lora:
        assert lora.alora_invocation_tokens == []


def test_what_set_loras_refuses(ctx: lf.Context, base_path: Path, lora_path: Path) -> None:
    lora = ctx.model.load_lora(lora_path)
    plain = logits(ctx)
    with lf.Model.load(base_path, n_gpu_layers=0) as other:
        foreign = other.load_lora(lora_path)
    for value, error, says in [
        ([(foreign, 1.0)], AdapterError, "another model"),
        ([(lora, 1.0), (lora, 0.5)], AdapterError, "twice"),
        ([(lora, float("nan"))], InvalidArgumentError, "scale is nan"),
        ([(lora, 1e39)], InvalidArgumentError, "scale"),
        ([lora], ArgumentTypeError, "list of"),
        ([(lora_path, 1.0)], ArgumentTypeError, "LoraAdapter, not"),
        (lora, ArgumentTypeError, "list of"),
        (None, ArgumentTypeError, "list of"),
    ]:
        with pytest.raises(error, match=says):
            ctx.set_loras(value)  # type: ignore[arg-type]
    assert ctx.loras == []
    assert np.array_equal(logits(ctx), plain)


def test_a_vocabulary_has_nothing_to_adapt(base_path: Path, lora_path: Path) -> None:
    with lf.Model.load(base_path, vocab_only=True) as model, pytest.raises(UnsupportedError):
        model.load_lora(lora_path)
