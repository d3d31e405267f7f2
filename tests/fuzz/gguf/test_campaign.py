"""The campaign, in small: no file kills, and the campaign would notice if one did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import llama_ffi as lf
from llama_ffi._core import gguf_types as types
from llama_ffi.errors import InvalidArgumentError, ModelFileError
from tests.fuzz.gguf import bases as bases_
from tests.fuzz.gguf.file import File
from tests.fuzz.gguf.systematic import systematic, systematic_case

pytestmark = [pytest.mark.native, pytest.mark.skipif(os.name == "nt", reason="limits of POSIX processes")]


def campaign(*options: str) -> tuple[int, dict[str, Any], str]:
    command = [sys.executable, "-m", "tests.fuzz.gguf", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    text = done.stdout
    return done.returncode, json.loads(text[: text.index("\n}") + 2]), text


def test_two_hundred_damaged_files() -> None:
    status, result, text = campaign("--count", "200", "--seed", "11")
    assert status == 0, text
    assert result["cases"] == 200 and result["deaths"] == result["hangs"] == 0
    ended = result["ended"]
    assert ended["refused by our check"] > 50 and ended["refused by C"] > 10 and ended["worked"] > 10, ended
    assert not any(how.startswith("guard") for how in ended), text


@pytest.mark.slow
def test_ten_thousand_damaged_files() -> None:
    status, result, text = campaign("--count", "10000", "--jobs", "2")
    assert status == 0 and result["cases"] == 10_000, text


@pytest.mark.slow
def test_every_single_change() -> None:
    status, result, text = campaign("--systematic", "--count", "1000000", "--jobs", "2")
    assert status == 0 and result["cases"] > 20_000, text


# --- what the campaign has found -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return bases_.make_all(tmp_path_factory.mktemp("bases"))


def test_without_the_check_a_file_kills(bases: dict[str, Path]) -> None:
    """The campaign is no judge if it doesn't see a death: here a division by zero while loading."""
    cases = enumerate(systematic(bases))
    rwkv = [(number, case) for number, case in cases if case[0] == "rwkv" and case[1] == "set"]
    described = ((number, systematic_case(case, bases)[2]) for number, case in rwkv)
    killer = next(number for number, done in described if done == "rwkv6.wkv.head_size = 0")
    one = ["--systematic", "--first", str(killer), "--count", "1"]
    status, result, text = campaign(*one, "--without", "check")
    assert status == 1 and result["deaths"] == 1, text
    assert '"how": "-8"' in text
    status, result, text = campaign(*one)
    assert status == 0 and result["ended"] == {"refused by our check": 1}, text


def test_all_bases_are_sound(bases: dict[str, Path]) -> None:
    for name in bases_.MODELS:
        with lf.Model.load(bases[name]) as model, model.context(n_ctx=64, n_threads=1) as ctx:
            (ctx.encode if model.has_encoder else ctx.decode)(lf.Batch.from_tokens([0, 1], logits="all"))


@pytest.mark.parametrize("kind", ["i8", "i16", "i32", "i64", "f64", "q8_1", "q8_k"])
@pytest.mark.parametrize("base", ["llama", "bert", "mamba"])
def test_matrices_of_types_that_can_only_be_stored(
    bases: dict[str, Path], tmp_path: Path, base: str, kind: str
) -> None:
    """Multiplying with one calls a NULL function, on any thread."""
    file = File(bases[base].read_bytes())
    matrix = next(each for each in file.tensors if each[0].startswith(b"blk.1.") and len(each[1]) == 2)
    known = types.tensor_types()[kind]
    matrix[2], matrix[1][0] = known.number, known.block * max(1, matrix[1][0] // known.block)
    matrix[3] = bytes(types.n_bytes(known, tuple(matrix[1])))
    path = tmp_path / "bad.gguf"
    path.write_bytes(file.join())
    with pytest.raises(ModelFileError, match=f"'{matrix[0].decode()}' is of type {known.name}"):
        lf.Model.load(path)
    lf.Model.load(path, vocab_only=True).close()


@pytest.mark.parametrize("base", ["llama", "gpt2", "rwkv", "mamba"])
def test_vectors_that_are_not_f32(bases: dict[str, Path], tmp_path: Path, base: str) -> None:
    """ggml asserts on a worker thread when it adds or multiplies one."""
    vectors = [each[0] for each in File(bases[base].read_bytes()).tensors if len(each[1]) == 1]
    assert vectors
    for name in vectors[:3]:
        file = File(bases[base].read_bytes())
        vector = next(each for each in file.tensors if each[0] == name)
        vector[2], vector[3] = types.tensor_types()["f16"].number, bytes(2 * vector[1][0])
        path = tmp_path / "bad.gguf"
        path.write_bytes(file.join())
        with pytest.raises(ModelFileError, match=f"'{name.decode()}' is of type f16.*must be f32"):
            lf.Model.load(path)


def test_a_head_size_of_zero(bases: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    lf.gguf.edit(bases["rwkv"], path, set={"rwkv6.wkv.head_size": 0})
    with pytest.raises(ModelFileError, match=r"wkv.head_size is 0.* multiple of 64.*kv_overrides"):
        lf.Model.load(path)
    with pytest.raises(InvalidArgumentError, match=r"kv_overrides.*rwkv6.wkv.head_size.* is 0"):
        lf.Model.load(bases["rwkv"], kv_overrides={"rwkv6.wkv.head_size": 0})
    lf.Model.load(path, kv_overrides={"rwkv6.wkv.head_size": 64}).close()


def test_a_tensor_that_is_only_called_optional(bases: dict[str, Path], tmp_path: Path) -> None:
    file = File(bases["t5"].read_bytes())
    file.tensors = [each for each in file.tensors if each[0] != b"enc.blk.0.attn_rel_b.weight"]
    path = tmp_path / "bad.gguf"
    path.write_bytes(file.join())
    with pytest.raises(ModelFileError, match=r"enc.blk.0.attn_rel_b.weight' is missing"):
        lf.Model.load(path)


def test_a_later_part_is_checked_too(bases: dict[str, Path], tmp_path: Path) -> None:
    first, second = (bases["split"].with_name(f"split-0000{part}-of-00002.gguf") for part in (1, 2))
    (tmp_path / first.name).write_bytes(first.read_bytes())
    bad = tmp_path / second.name
    bad.write_bytes(second.read_bytes()[:-5000])
    with pytest.raises(ModelFileError, match=f"{second.name}: damaged or cut off"):
        lf.Model.load(tmp_path / first.name)
    bad.write_bytes(second.read_bytes())
    lf.Model.load(tmp_path / first.name).close()
    bad.unlink()
    bad.symlink_to(tmp_path / first.name)  # a part that is the first one again
    with pytest.raises(lf.errors.ModelLoadError):
        lf.Model.load(tmp_path / first.name)
    bad.unlink()
    with pytest.raises(lf.errors.ModelLoadError):
        lf.Model.load(tmp_path / first.name)


def test_a_matrix_of_one_row_is_no_vector(bases: dict[str, Path], tmp_path: Path) -> None:
    """C drops sizes of 1 at the end: a reranker's output for one label looks so, and may be f16."""
    file = File(bases["bert"].read_bytes())
    file.tensors = [each for each in file.tensors if not each[0].startswith(b"cls.output")]
    half = types.tensor_types()["f16"].number
    file.tensors.append([b"cls.output.weight", [32], half, bytes(64)])
    path = tmp_path / "reranker.gguf"
    path.write_bytes(file.join())
    lf.Model.load(path).close()


@pytest.mark.parametrize("kind", ["i8", "i64", "q8_1", "q8_k"])
def test_adapters_of_types_that_can_only_be_stored(bases: dict[str, Path], tmp_path: Path, kind: str) -> None:
    file = File(bases["lora"].read_bytes())
    known = types.tensor_types()[kind]
    for tensor in file.tensors:
        tensor[2], tensor[1][0] = known.number, known.block * max(1, tensor[1][0] // known.block)
        tensor[3] = bytes(types.n_bytes(known, tuple(tensor[1])))
    path = tmp_path / "bad.gguf"
    path.write_bytes(file.join())
    with (
        lf.Model.load(bases["llama"]) as model,
        pytest.raises(lf.errors.AdapterError, match=known.name.lower()),
    ):
        model.load_lora(path)


def test_adapters_vectors_and_matrices_that_are_damaged() -> None:
    status, result, text = campaign(
        "--count", "150", "--seed", "5", "--bases", "lora,control,imatrix,projector"
    )
    assert status == 0 and result["cases"] == 150, text
    assert result["ended"]["worked"] > 10 and result["ended"]["refused by our check"] > 50, text
