"""Quantization of weights that no arithmetic likes: no number, too large, too small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi import errors, gguf

from .quantizing import ones

pytestmark = pytest.mark.model

ROOT = Path(__file__).resolve().parents[2]


def test_values_that_are_no_numbers(plain: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "nan.gguf"
    data = bytearray(plain.read_bytes())
    with gguf.read(plain) as file:
        at = file.tensors["blk.0.ffn_up.weight"].offset
    data[at : at + 4] = np.float32("nan").tobytes()
    damaged.write_bytes(data)
    with pytest.raises(errors.QuantizeError, match="invalid data"):
        lf.quantize(damaged, tmp_path / "out.gguf", "q8_0")


@pytest.mark.parametrize("type", ["iq2_s", "iq2_xs", "iq1_s", "iq3_xxs", "q4_k"])
def test_values_that_overflow_the_arithmetic_end_no_process(plain: Path, tmp_path: Path, type: str) -> None:
    """On ggml's own threads these would be assertions that nothing can catch."""
    huge, matrix = tmp_path / "huge.gguf", ones(plain)
    with gguf.read(plain) as file, gguf.GgufWriter(huge) as writer:
        for key, field in file.fields.items():
            writer.add(key, field.typed.value, field.typed.type)
        for name, tensor in file.tensors.items():
            large = tensor.data * np.float32(1e37) if name == "blk.0.ffn_up.weight" else tensor
            writer.add_tensor(name, large)
    program = (
        "import sys, llama_ffi as lf\n"
        "source, matrix, target, type = sys.argv[1:]\n"
        "types = {'blk.0.ffn_up': type}\n"
        "try: lf.quantize(source, target, 'q8_0', tensor_types=types, imatrix=matrix, n_threads=2)\n"
        "except lf.errors.QuantizeError as error: print(error)\n"
        "else: print('done')\n"
    )
    matrix.save(tmp_path / "ones.imatrix")
    arguments = [huge, tmp_path / "ones.imatrix", tmp_path / "out.gguf", type]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "too large" in done.stdout or "validation failed" in done.stdout or done.stdout == "done\n"


@pytest.mark.slow  # the tables of these types take some seconds each to make
def test_values_that_underflow_the_arithmetic(plain: Path, tmp_path: Path) -> None:
    """Their squares are 0; the search for a scale ends all the same, and the result is finite."""
    tiny, matrix, name = tmp_path / "tiny.gguf", ones(plain), "blk.0.ffn_up.weight"
    with gguf.read(plain) as file, gguf.GgufWriter(tiny) as writer:
        for key, field in file.fields.items():
            writer.add(key, field.typed.value, field.typed.type)
        for each, tensor in file.tensors.items():
            if each == name:
                exponents = -(np.arange(tensor.data.shape[0], dtype=np.float64) % 45)
                writer.add_tensor(each, (tensor.data * 10.0 ** exponents[:, None]).astype(np.float32))
            else:
                writer.add_tensor(each, tensor)
    for type in ("iq1_s", "iq1_m", "iq2_xxs", "iq3_s", "iq4_nl", "q2_k", "tq1_0"):
        target = tmp_path / f"{type}.gguf"
        lf.quantize(tiny, target, "q8_0", tensor_types={r"blk\.0\.ffn_up": type}, imatrix=matrix, n_threads=1)
        with gguf.read(target) as file:
            assert file.tensors[name].type == type
            values = file.tensors[name].dequantize()
            assert np.isfinite(values).all() and np.abs(values[40:45]).max() < 1e-4
