"""llama_ffi.gguf on real files, compared with what C reads from them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi._core import gguf_types as types
from llama_ffi.errors import ClosedError, GgufError, GgufKeyError, GgufWriteError, UnsupportedError
from llama_ffi.raw import ffi, lib
from tests.native.gguf_in_c import c_reads

pytestmark = pytest.mark.native


def we_read(path: Path) -> dict[str, Any]:
    with lf.gguf.read(path) as file:
        metadata = {}
        for key, field in file.fields.items():
            value, kind = field.value, f"arr[{field.type}]" if field.is_array else field.type
            # a C string ends at its first NUL
            if kind == "str":
                value = value.partition("\0")[0]
            elif kind == "arr[str]":
                value = [each.partition("\0")[0] for each in value]
            metadata[key] = (kind, value)
        tensors = {
            name: (each.ne + (1,) * (4 - len(each.ne)), each.type_number, each.offset, each.n_bytes)
            for name, each in file.tensors.items()
        }
        return {
            "version": file.version,
            "alignment": file.alignment,
            "data": file.data_offset,
            "metadata": metadata,
            "tensors": tensors,
        }


def test_the_types_are_those_of_the_headers() -> None:
    numbers = ffi.typeof("enum gguf_type").relements
    for name, number in {n.removeprefix("GGUF_TYPE_"): v for n, v in numbers.items()}.items():
        if name != "COUNT":
            assert types.NAMES[number] == ffi.string(lib.gguf_type_name(number)).decode()
    assert numbers["GGUF_TYPE_COUNT"] == len(types.NAMES)
    assert numbers["GGUF_TYPE_STRING"] == types.STRING and numbers["GGUF_TYPE_ARRAY"] == types.ARRAY
    for constant, ours in [
        ("GGML_MAX_DIMS", types.MAX_DIMS),
        ("GGML_MAX_NAME", types.MAX_NAME),
        ("GGUF_DEFAULT_ALIGNMENT", types.DEFAULT_ALIGNMENT),
        ("GGUF_VERSION", types.VERSION),
    ]:
        assert getattr(lib, constant) == ours, constant
    from llama_ffi._abi import enums

    assert enums.CONSTANTS["GGUF_KEY_GENERAL_ALIGNMENT"] == types.ALIGNMENT_KEY
    for ctype, code in [("uint8_t", "B"), ("float", "f"), ("int64_t", "q")]:
        assert ffi.sizeof(ctype) == np.dtype(code).itemsize


def test_all_vocabularies_read_as_c_reads_them(vocabularies: list[Path]) -> None:
    for path in vocabularies:
        assert we_read(path) == c_reads(path), path.name


def test_the_model_that_ships_reads_as_c_reads_it(tiny_model: Path, random_model_path: Path) -> None:
    assert we_read(tiny_model) == c_reads(tiny_model)
    assert we_read(random_model_path) == c_reads(random_model_path)


def test_copies_are_the_same_byte_for_byte(
    vocabularies: list[Path], tiny_model: Path, random_model_path: Path, tmp_path: Path
) -> None:
    for path in [*vocabularies, tiny_model, random_model_path]:
        copy = tmp_path / "copy.gguf"
        lf.gguf.edit(path, copy)
        assert copy.read_bytes() == path.read_bytes(), path.name
        if path.stat().st_size > 6e6:  # the same code on more of the same
            continue
        with lf.gguf.read(path) as file, lf.gguf.GgufWriter(copy) as writer:  # decoded and encoded again
            writer.be_like(file.version, pad_end=file.padded)
            for key, field in file.fields.items():
                writer.add(key, field.typed)
            for name, tensor in file.tensors.items():
                writer.add_tensor(name, tensor)
        assert copy.read_bytes() == path.read_bytes(), path.name


def test_tensors_are_maps_that_outlive_the_file(tiny_model: Path) -> None:
    with lf.gguf.read(tiny_model) as file:
        tensor = file.tensors["token_embd.weight"]
        assert tensor.type == "f16" and tensor.shape == tuple(reversed(tensor.ne))
        data = tensor.data
        assert data.dtype == np.float16 and data.shape == tensor.shape and not data.flags.writeable
        norm = file.tensors["output_norm.weight"].data
        assert norm.dtype == np.float32
        raw = tiny_model.read_bytes()[tensor.offset : tensor.offset + tensor.n_bytes]
        assert data.tobytes() == raw == b"".join(tensor.pieces())
        assert np.array_equal(tensor.dequantize(), data.astype(np.float32))
    assert data.tobytes() == raw
    file.close()
    with pytest.raises(ClosedError, match="closed"):
        _ = tensor.data
    with pytest.raises(ClosedError, match="closed"):
        _ = file.fields["general.architecture"].value
    assert "closed" in repr(file)
    with lf.gguf.read(tiny_model, mmap=False) as file:
        assert np.array_equal(file.tensors["token_embd.weight"].data, data)


def test_every_quantized_type_dequantizes_as_c_does(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    values = random.standard_normal((4, 512), np.float32)
    path = tmp_path / "types.gguf"
    blocks: dict[str, np.ndarray] = {}
    for name, kind in types.tensor_types().items():
        row = kind.size * 512 // kind.block
        if name in ("f32", "f16", "f64", "i8", "i16", "i32", "i64"):
            blocks[name] = values.astype({"f": "f4", "i": "i1"}[name[0]]).astype(
                np.dtype(lf.gguf.tensor.PLAIN[name])
            )
        else:  # any bytes are blocks of some numbers; small ones, so that scales are finite
            blocks[name] = random.integers(0, 50, (4, row), np.uint8)
    with lf.gguf.GgufWriter(path) as writer:
        for name, data in blocks.items():
            writer.add_tensor(name, data, type=name)
    without = []
    with lf.gguf.read(path) as file:
        assert set(file.tensors) == set(blocks) and len(blocks) > 30
        for name, tensor in file.tensors.items():
            assert tensor.type == name and tensor.shape == (4, 512)
            assert np.array_equal(tensor.data, blocks[name])
            to_float = lib.ggml_get_type_traits(tensor.type_number).to_float
            if to_float == ffi.NULL and name not in lf.gguf.tensor.PLAIN:
                without.append(name)
                with pytest.raises(UnsupportedError, match=name):
                    tensor.dequantize()
                continue
            expected = np.empty((4, 512), np.float32)
            if to_float == ffi.NULL:
                expected[:] = blocks[name]
            else:
                raw = np.ascontiguousarray(blocks[name])
                to_float(ffi.from_buffer(raw), ffi.from_buffer("float[]", expected), expected.size)
            got = tensor.dequantize()
            assert got.dtype == np.float32 and got.shape == (4, 512)
            assert got.tobytes() == expected.tobytes(), name
    assert sorted(without) == ["q8_1", "q8_k"]


def test_editing(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "edited.gguf"
    with lf.gguf.read(tiny_model) as file:
        keys, context = list(file.fields), file.fields["llama.context_length"].type
    lf.gguf.edit(
        tiny_model,
        path,
        set={"general.name": "renamed", "llama.context_length": 77, "new.key": [1, 2]},
        remove=["general.license"] if "general.license" in keys else [],
    )
    with lf.gguf.read(path) as file:
        assert file.metadata["general.name"] == "renamed"
        assert file.metadata["llama.context_length"] == 77
        assert file.fields["llama.context_length"].type == context == "u32"
        assert file.metadata["new.key"] == [1, 2] and list(file.fields)[-1] == "new.key"
        assert [k for k in file.fields if k in keys] == [k for k in keys if k in file.fields]
    with lf.Model.load(path) as model:
        assert model.n_ctx_train == 77 and model.metadata["general.name"] == "renamed"
    lf.gguf.edit(path, path, rename={"new.key": "other.key"}, set={"general.alignment": 64})
    with lf.gguf.read(path) as file:
        assert file.metadata["other.key"] == [1, 2] and "new.key" not in file.metadata
        assert file.alignment == 64 and all(each.offset % 64 == 0 for each in file.tensors.values())
    with lf.Model.load(path) as model:
        assert model.n_ctx_train == 77
    with pytest.raises(GgufKeyError, match="no metadata 'absent'"):
        lf.gguf.edit(path, path, remove=["absent"])
    assert [each.name for each in tmp_path.iterdir()] == ["edited.gguf"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.gguf"
    path.write_bytes(b"old")

    def breaks() -> Any:
        yield bytes(8)
        raise RuntimeError("no more data")

    with pytest.raises(RuntimeError, match="no more"), lf.gguf.GgufWriter(path) as writer:
        writer.add_tensor("a", breaks, type="f32", shape=[4])
    for pieces in ([bytes(8)], [bytes(20)]):
        with pytest.raises(ValueError, match="16 bytes"), lf.gguf.GgufWriter(path) as writer:
            writer.add_tensor("a", lambda pieces=pieces: pieces, type="f32", shape=[4])
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file.gguf"]
    with pytest.raises(GgufWriteError, match="absent"):
        lf.gguf.write(tmp_path / "absent" / "file.gguf")
    path.chmod(0o640)
    lf.gguf.write(path, {"a": 1})
    assert path.stat().st_mode & 0o777 == 0o640 or os.name == "nt"


def test_missing_keys_and_files(tiny_model: Path, tmp_path: Path) -> None:
    with lf.gguf.read(tiny_model) as file:
        with pytest.raises(KeyError, match="no metadata 'absent'"):
            file.metadata["absent"]
        assert file.metadata.get("absent") is None
    with pytest.raises(FileNotFoundError):
        lf.gguf.read(tmp_path / "absent.gguf")
    with pytest.raises(OSError, match="directory"):
        lf.gguf.read(tmp_path)
    text = tmp_path / "text.gguf"
    text.write_text("Once upon a time there was no model.")
    with pytest.raises(GgufError, match="not a GGUF file: it looks like a text file"):
        lf.gguf.read(text)
    text.write_bytes(b"")
    with pytest.raises(GgufError, match="empty"):
        lf.gguf.read(text)


def test_metadata_needs_neither_numpy_nor_a_library(vocabularies: list[Path], tiny_model: Path) -> None:
    code = f"""
import os, sys
os.environ["LLAMA_FFI_LIB"] = "/nowhere/at/all"
import llama_ffi as lf
with lf.gguf.read({str(vocabularies[0])!r}) as file:
    assert len(file.metadata["tokenizer.ggml.tokens"]) > 1000
with lf.gguf.read({str(tiny_model)!r}) as file:
    assert file.metadata["general.architecture"] == "llama"
    tensor = file.tensors["token_embd.weight"]
    assert tensor.shape[1] == file.metadata["llama.embedding_length"]
    try:
        tensor.n_bytes
    except lf.errors.LibraryNotFoundError:
        pass
    else:
        raise SystemExit("the size was known without a library")
assert "numpy" not in sys.modules
from llama_ffi._core import binding
assert binding.loaded() is None
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
