"""GGUF files: our reader, our editor, and everything that looks at a file of some kind before C does."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import llama_ffi as lf
from llama_ffi import adapter_file
from llama_ffi._core import gguf_types, model_file
from llama_ffi.errors import GgufError, LlamaError, UnsupportedError
from llama_ffi.gguf.writer import MOST_ALIGNMENT
from tests.fuzz.gguf import bases
from tests.fuzz.gguf import mutate as mutations
from tests.fuzz.readers import bounds


def prepare(folder: Path) -> list[bytes]:
    """Return the sound files; the library is opened before time counts."""
    gguf_types.tensor_types()
    made = folder / "bases"
    made.mkdir()
    return [path.read_bytes() for path in bases.make_all(made).values()]


def mutate(data: bytes, rng: random.Random) -> bytes:
    try:
        return mutations.mutate(data, rng)[0]
    except (GgufError, LookupError, ValueError, struct.error):
        changed = bytearray(data or b"G")  # it can't be taken apart any more
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        return bytes(changed)


def one(data: bytes, folder: Path) -> bool:
    """Read a file in every way; returns whether it was accepted."""
    path, copy = folder / "case.gguf", folder / "copy.gguf"
    path.write_bytes(data)
    with bounds.in_time():
        for look in (_as_model, _as_lora, _as_vector, _as_matrix):
            try:
                look(path)
            except LlamaError:
                pass
        try:
            _read(path, copy)
        except GgufError:
            return False
    return True


def _read(path: Path, copy: Path) -> None:
    with lf.gguf.read(path) as file:
        for field in file.fields.values():
            _ = field.value, field.typed, field.raw(), repr(field)
        for tensor in file.tensors.values():
            _ = tensor.data, tensor.shape, repr(tensor)
            try:
                if tensor.n_elements < 1 << 20:
                    tensor.dequantize()
            except UnsupportedError:
                pass
        # larger ones are read and not written
        aligned = {"general.alignment": 32} if file.alignment > MOST_ALIGNMENT else {}
        lf.gguf.edit(path, copy, set=aligned)
        with lf.gguf.read(copy) as again:
            if list(again.fields) != list(file.fields) or list(again.tensors) != list(file.tensors):
                raise AssertionError("the copy differs")


def _as_model(path: Path) -> None:
    model_file.check_model("case", [model_file.look_at(path)], {})


def _as_lora(path: Path) -> None:
    adapter_file.check_lora(path, "case", "llama", {}, 300)


def _as_vector(path: Path) -> None:
    lf.read_control_vector(path)


def _as_matrix(path: Path) -> None:
    matrix = lf.ImportanceMatrix.load(path)
    for name in matrix.entries:
        matrix.values(name)
