"""Files that are no LoRA for this model: each is refused with its reason, before C sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi.errors import AdapterError, ModelFileError, ModelNotFoundError
from tests.adapters import lora_files
from tests.adapters.lora_files import logits

pytestmark = pytest.mark.model

Q, V = "blk.0.attn_q.weight", "blk.0.attn_v.weight"


def f32(*shape: int) -> Any:
    return np.ones(shape, np.float32)


FILES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no type": ({"general__type": None}, {}, "not an adapter"),
    "a model": ({"general__type": "model"}, {}, "type 'model', not an adapter"),
    "type is a number": ({"general__type": 7}, {}, "general.type must be text"),
    "another architecture": ({"general__architecture": "gemma"}, {}, "'gemma' model; this one is 'llama'"),
    "architecture is a list": ({"general__architecture": ["llama"]}, {}, "must be text"),
    "another adapter": ({"adapter__type": "control_vector"}, {}, "'control_vector'; llama.cpp has"),
    "alpha is text": ({"adapter__lora__alpha": "8"}, {}, "alpha must be a finite f32"),
    "alpha is not finite": (
        {"adapter__lora__alpha": lf.gguf.Typed(float("inf"), "f32")}, {}, "alpha must be a finite f32"
    ),
    "alora tokens are text": ({"adapter__alora__invocation_tokens": "5 6"}, {}, "list of u32, not str"),
    "alora tokens are signed": (
        {"adapter__alora__invocation_tokens": lf.gguf.Typed([5], "i32")}, {}, "list of u32, not i32"
    ),
    "alora tokens beyond the vocabulary": (
        {"adapter__alora__invocation_tokens": lf.gguf.Typed([10**6], "u32")}, {}, "1000000 isn't one of"
    ),
    "no tensors": ({}, {}, "no pair"),
    "half a pair": ({}, {f"{Q}.lora_a": f32(4, 256)}, "but no blk.0.attn_q.weight.lora_b"),
    "another suffix": ({}, {Q: f32(256, 256)}, "ends neither in"),
    "ranks that differ": (
        {}, {f"{Q}.lora_a": f32(4, 256), f"{Q}.lora_b": f32(256, 8)}, "ranks 4 and 8"
    ),
    "ranks of the embedding that differ": (
        {},
        {"token_embd.weight.lora_a": f32(2157, 4), "token_embd.weight.lora_b": f32(256, 8)},
        "ranks 4 and 8",
    ),
    "a third dimension": (
        {}, {f"{Q}.lora_a": f32(2, 4, 256), f"{Q}.lora_b": f32(2, 256, 4)}, "2 and 2 layers, the model 1"
    ),
    "whole numbers": (
        {}, {f"{Q}.lora_a": np.ones((4, 256), np.int32), f"{Q}.lora_b": f32(256, 4)}, "type i32"
    ),
    "double precision": (
        {}, {f"{Q}.lora_a": f32(4, 256), f"{Q}.lora_b": np.ones((256, 4))}, "type f64"
    ),
    "another width": ({}, {f"{Q}.lora_a": f32(4, 128), f"{Q}.lora_b": f32(256, 4)}, "incorrect shape"),
    "a tensor that the model lacks": (
        {}, {"blk.9.attn_q.weight.lora_a": f32(4, 256), "blk.9.attn_q.weight.lora_b": f32(256, 4)},
        "does not exist in base model",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_refused(model: lf.Model, tmp_path: Path, case: str) -> None:
    changes, tensors, says = FILES[case]
    if not tensors and case != "no tensors":
        tensors = {f"{Q}.lora_a": f32(4, 256), f"{Q}.lora_b": f32(256, 4)}
    path = tmp_path / "bad.gguf"
    lf.gguf.write(path, lora_files.metadata(**changes), tensors)
    with pytest.raises(AdapterError, match=says) as caught:
        model.load_lora(path)
    assert "bad.gguf" in str(caught.value)


def test_not_gguf_and_not_there(model: lf.Model, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ModelFileError, match="text file"):
        model.load_lora(tmp_path / "text")
    with pytest.raises(ModelNotFoundError):
        model.load_lora(tmp_path / "nowhere")
    with pytest.raises(ModelFileError, match="directory"):
        model.load_lora(tmp_path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_cut_off(model: lf.Model, lora_path: Path, tmp_path: Path, share: float) -> None:
    whole = lora_path.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelFileError):
        model.load_lora(path)


def test_the_model_works_after_all_of_them(ctx: lf.Context, tmp_path: Path, lora_path: Path) -> None:
    plain = logits(ctx)
    for _changes, tensors, _says in FILES.values():
        lf.gguf.write(tmp_path / "bad.gguf", lora_files.metadata(), tensors)
        with pytest.raises(AdapterError):
            ctx.model.load_lora(tmp_path / "bad.gguf")
    assert np.array_equal(logits(ctx), plain)
    ctx.set_loras([(ctx.model.load_lora(lora_path), 1.0)])
    assert not np.array_equal(logits(ctx), plain)
