"""Quantization: mistakes are errors before anything is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi import errors, gguf

from .quantizing import types

pytestmark = pytest.mark.model


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"type": "q9_9"}, errors.InvalidArgumentError, "choose one of.*q4_k_m"),
    ({"type": 9999}, errors.InvalidArgumentError, "choose one of"),
    ({"output_tensor_type": "i32"}, errors.InvalidArgumentError, "output_tensor_type is 'i32'"),
    ({"token_embedding_type": "q8_k"}, errors.InvalidArgumentError, "token_embedding_type is 'q8_k'"),
    ({"tensor_types": {"attn": "nothing"}}, errors.InvalidArgumentError, "'attn'"),
    ({"tensor_types": {"": "q8_0"}}, errors.InvalidArgumentError, "pattern"),
    ({"tensor_types": {"(" * 1000: "q8_0"}}, errors.InvalidArgumentError, "pattern"),
    ({"tensor_types": {"a(b": "q8_0"}}, errors.QuantizeError, "[Pp]arenthes|regex|Mismatched"),
    (
        {"tensor_types": {"ffn_sideways": "q8_0"}},
        errors.InvalidArgumentError,
        "'ffn_sideways' is in no tensor",
    ),
    ({"progress": 3}, errors.ArgumentTypeError, "progress must be a function, not int"),
    ({"tensor_types": ["attn_q=q8_0"]}, errors.ArgumentTypeError, "dict"),
    ({"n_threads": 0}, errors.InvalidArgumentError, "n_threads"),
    ({"n_threads": 100_000}, errors.InvalidArgumentError, "n_threads"),
    ({"max_buf_size": -1}, errors.InvalidArgumentError, "max_buf_size"),
    ({"prune_layers": [3]}, errors.InvalidArgumentError, "prune_layers"),
    ({"prune_layers": [-1]}, errors.InvalidArgumentError, "prune_layers"),
    ({"prune_layers": [0, 1, 2]}, errors.InvalidArgumentError, "all 3 layers"),
    ({"kv_overrides": {"a": -1}}, errors.InvalidArgumentError, "u32"),
    ({"kv_overrides": {"a": 2**40}}, errors.InvalidArgumentError, "u32"),
    ({"kv_overrides": {"a": "x" * 200}}, errors.InvalidArgumentError, "200 bytes"),
    ({"type": "iq2_xxs"}, errors.InvalidArgumentError, "would become iq2_xxs.*importance"),
    ({"token_embedding_type": "iq2_xs"}, errors.InvalidArgumentError, "token_embd.weight.*importance"),
    ({"output_tensor_type": "iq1_s"}, errors.InvalidArgumentError, "output.weight.*importance"),
    ({"imatrix": "no such file"}, errors.ModelNotFoundError, "no such file"),
    ({"imatrix": {"a": 1}}, errors.ArgumentTypeError, "path"),
]


@pytest.mark.parametrize(("options", "error", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_mistakes(
    plain: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    target = tmp_path / "out.gguf"
    target.write_text("what was there before")
    type_ = options.get("type", "q4_0")
    rest = {key: value for key, value in options.items() if key != "type"}
    with pytest.raises(error, match=words):
        lf.quantize(plain, target, type_, **rest)
    assert target.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [target]


def test_quantizing_again_is_refused_unless_wanted(plain: Path, tmp_path: Path) -> None:
    once = tmp_path / "once.gguf"
    lf.quantize(plain, once, "q8_0", n_threads=1)
    with pytest.raises(errors.InvalidArgumentError, match=r"quantized already.*allow_requantize"):
        lf.quantize(once, tmp_path / "twice.gguf", "q4_0")
    assert not (tmp_path / "twice.gguf").exists()
    lf.quantize(once, tmp_path / "twice.gguf", "q4_0", allow_requantize=True, n_threads=1)
    assert types(tmp_path / "twice.gguf")["blk.0.ffn_up.weight"] == "q4_0"


def test_an_importance_matrix_of_another_model(plain: Path, tmp_path: Path) -> None:
    other = lf.ImportanceMatrix({"blk.0.ffn_up.weight": (np.ones(7), [1])})
    with pytest.raises(errors.InvalidArgumentError, match="another model"):
        lf.quantize(plain, tmp_path / "out.gguf", "q4_0", imatrix=other)
    partial = lf.ImportanceMatrix({"blk.0.ffn_up.weight": (np.ones(256), [1])})
    with pytest.raises(errors.InvalidArgumentError, match="needs an importance matrix with that weight"):
        lf.quantize(plain, tmp_path / "out.gguf", "iq2_xs", imatrix=partial)


def test_input_and_output(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="the same file"):
        lf.quantize(plain, plain, "q8_0")
    link = tmp_path / "link.gguf"
    link.symlink_to(plain)
    with pytest.raises(errors.InvalidArgumentError, match="the same file"):
        lf.quantize(plain, link, "q8_0")
    with pytest.raises(errors.InvalidArgumentError, match="dry run"):
        lf.quantize(plain, None, "q8_0")
    with pytest.raises(errors.QuantizeError, match="No such file"):
        lf.quantize(plain, tmp_path / "no folder" / "out.gguf", "q8_0")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(
        errors.QuantizeError, match="pipe: can't be written: It is a device, a pipe or a socket"
    ):
        lf.quantize(plain, tmp_path / "pipe", "q8_0")
    assert (tmp_path / "pipe").is_fifo()
    with pytest.raises(errors.ModelNotFoundError):
        lf.quantize(tmp_path / "none.gguf", tmp_path / "out.gguf", "q8_0")
    (tmp_path / "text.gguf").write_text("not a model at all")
    with pytest.raises(errors.ModelFileError, match="not a GGUF file"):
        lf.quantize(tmp_path / "text.gguf", tmp_path / "out.gguf", "q8_0")
    gguf.write(tmp_path / "odd.gguf", {"general.architecture": "no such architecture"})
    with pytest.raises(errors.QuantizeError, match="no such architecture") as caught:
        lf.quantize(tmp_path / "odd.gguf", tmp_path / "out.gguf", "q8_0")
    assert caught.value.log
    assert caught.value.code == 1
    assert not (tmp_path / "out.gguf").exists()
