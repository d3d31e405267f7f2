"""Control vectors: what they compute, their files, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi.errors import AdapterError, ClosedError, InvalidArgumentError, ModelFileError
from tests.adapters import lora_files
from tests.adapters.lora_files import logits

pytestmark = pytest.mark.model

N_LAYER, N_EMBD = 3, 256


@pytest.fixture
def vector() -> Any:
    return np.float32(np.random.default_rng(5).standard_normal((N_LAYER - 1, N_EMBD)))


@pytest.mark.parametrize("layers", [(1, 2), (1, 1), (2, 2)])
def test_a_control_vector_is_a_bias_of_the_layers(
    ctx: lf.Context, base_path: Path, tmp_path: Path, vector: Any, layers: tuple[int, int]
) -> None:
    """What comes out of a layer ends with its ffn_down: a bias there is the same sum."""
    tensors = lora_files.weights(base_path)
    for layer in range(N_LAYER):
        row = vector[layer - 1] if layers[0] <= layer <= layers[1] else np.zeros(N_EMBD, np.float32)
        tensors[f"blk.{layer}.ffn_down.bias"] = row
    path = lora_files.write_model(tmp_path / "biased.gguf", base_path, tensors)
    with (
        lf.Model.load(path, n_gpu_layers=0) as model,
        model.context(n_ctx=256, n_threads=1, type_k="f32", type_v="f32", flash_attn=False) as other,
    ):
        expected = logits(other)
    plain = logits(ctx)
    ctx.set_control_vector(vector, layer_start=layers[0], layer_end=layers[1])
    found = logits(ctx)
    assert np.allclose(found, expected, atol=1e-3 * np.abs(expected).max())
    assert not np.allclose(found, plain, atol=1e-2 * np.abs(plain).max())
    ctx.set_control_vector(None)
    assert np.array_equal(logits(ctx), plain)


def test_rows_that_are_missing_are_zero(ctx: lf.Context, vector: Any) -> None:
    """Not what an earlier vector has left there, as the C function does it."""
    ctx.set_control_vector(vector[:1])
    first_only = logits(ctx)
    ctx.set_control_vector(vector)
    ctx.set_control_vector(vector[:1].tolist())
    assert np.array_equal(logits(ctx), first_only)
    ctx.set_control_vector(vector * 0)
    zero = logits(ctx)
    ctx.set_control_vector(None)
    assert np.array_equal(logits(ctx), zero)


def test_files(vector: Any, tmp_path: Path) -> None:
    path = tmp_path / "happy.gguf"
    lf.gguf.write(
        path,
        {"general.architecture": "controlvector", "controlvector.model_hint": "llama"},
        {f"direction.{layer}": vector[layer - 1] for layer in (2, 1)},
    )
    assert np.array_equal(lf.read_control_vector(path), vector)
    lf.gguf.write(path, {}, {"direction.2": vector[1]})
    rows = lf.read_control_vector(path)
    assert np.array_equal(rows[1], vector[1]) and not rows[0].any()


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({}, "no control vector"),
        ({"direction.0": np.ones(4, np.float32)}, "from 1 on"),
        ({"direction.x": np.ones(4, np.float32)}, "from 1 on"),
        ({"direction.999999": np.ones(4, np.float32)}, "from 1 on"),
        ({"blk.0.attn_q.weight": np.ones(4, np.float32)}, "from 1 on"),
        ({"direction.1": np.ones(4, np.float16)}, "one row of f32"),
        ({"direction.1": np.ones((2, 4), np.float32)}, "one row of f32"),
        ({"direction.1": np.ones(4, np.float32), "direction.2": np.ones(5, np.float32)}, "lengths"),
    ],
)
def test_bad_files(tensors: dict[str, Any], says: str, tmp_path: Path) -> None:
    lf.gguf.write(tmp_path / "bad.gguf", {}, tensors)
    with pytest.raises(AdapterError, match=says):
        lf.read_control_vector(tmp_path / "bad.gguf")


def test_files_that_are_not_gguf(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"GGUF")
    with pytest.raises(ModelFileError):
        lf.read_control_vector(tmp_path / "x")


def test_what_is_refused(ctx: lf.Context, vector: Any) -> None:
    for value, options, says in [
        (vector[0], {}, r"shape \(256,\)"),
        (vector[:, :10], {}, r"takes \(n, 256\) with n up to 2"),
        (np.ones((3, 256)), {}, "n up to 2"),
        (vector * np.inf, {}, "isn't finite"),
        ("happy", {}, "array of numbers"),
        (vector, {"layer_start": 0}, "layer_start"),
        (vector, {"layer_start": 3}, "layer_start"),
        (vector, {"layer_start": 2, "layer_end": 1}, "layer_end"),
        (vector, {"layer_end": 3}, "layer_end"),
    ]:
        with pytest.raises(InvalidArgumentError, match=says):
            ctx.set_control_vector(value, **options)
    ctx.close()
    with pytest.raises(ClosedError):
        ctx.set_control_vector(vector)
