"""The readers on a few hundred inputs; and the fuzzer sees what it looks for."""

from __future__ import annotations

import collections
import json
import os
import random
import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import llama_ffi as lf
from llama_ffi.errors import GgufError, InvalidArgumentError
from tests.fuzz.readers import __main__ as command
from tests.fuzz.readers import bounds, gguf, states

pytestmark = [pytest.mark.native, pytest.mark.skipif(os.name == "nt", reason="its clock is a POSIX signal")]


@pytest.mark.parametrize(("target", "count"), [(gguf, 250), (states, 2500)])
def test_a_few_inputs(target: ModuleType, count: int, tmp_path: Path) -> None:
    seeds = target.prepare(tmp_path)
    assert all(target.one(seed, tmp_path) for seed in seeds), "the inputs that it begins with are sound"
    ended: collections.Counter[bool] = collections.Counter()
    for number in range(count):
        rng = random.Random(number)
        ended[target.one(target.mutate(rng.choice(seeds), rng), tmp_path)] += 1
    assert min(ended[True], ended[False]) > count // 20, ended


def found(alignment: int, *ne: int, kind: int = 0) -> bytes:
    """Return a file with one tensor of such a shape, if any, and no data."""
    key, name = b"general.alignment", b"t"
    head = b"GGUF" + struct.pack("<Iqq", 3, bool(ne), 1)
    head += struct.pack("<Q", len(key)) + key + struct.pack("<iI", 4, alignment)
    if ne:
        head += struct.pack("<Q", len(name)) + name + struct.pack(f"<I{len(ne)}qiQ", len(ne), *ne, kind, 0)
    return head


@pytest.mark.parametrize("ne", [(0, 1 << 62), (1 << 62, 0)], ids=str)
def test_a_tensor_that_numpy_has_no_shape_for(ne: tuple[int, ...], tmp_path: Path) -> None:
    data = found(32, *ne)
    gguf.one(data + bytes(-len(data) % 32), tmp_path)
    with (
        lf.gguf.read(tmp_path / "case.gguf") as file,
        pytest.raises(GgufError, match=r"tensor 't' has the shape"),
    ):
        _ = file.tensors["t"].data


@pytest.mark.parametrize("kind", [24, 8], ids=["i8", "q8_0"])
def test_numbers_are_four_times_as_large(kind: int, tmp_path: Path) -> None:
    data = found(32, 0, 1 << 62, kind=kind)
    gguf.one(data + bytes(-len(data) % 32), tmp_path)
    with lf.gguf.read(tmp_path / "case.gguf") as file:
        assert file.tensors["t"].data.size == 0
        with pytest.raises(GgufError, match=r"tensor 't' has the shape"):
            file.tensors["t"].dequantize()


@pytest.mark.parametrize("alignment", [1 << 22, 1 << 27, 1 << 31])
def test_an_alignment_of_gigabytes(alignment: int, tmp_path: Path) -> None:
    """It is read, and not written: the copy would have as many zeros."""
    data, path = found(alignment), tmp_path / "x.gguf"
    assert bounds.measured(gguf.one, data, tmp_path)
    path.write_bytes(data + b"\0")
    with pytest.raises(InvalidArgumentError, match=f"alignment is {alignment}; no more than 2097152"):
        lf.gguf.edit(path, tmp_path / "y.gguf")
    assert not (tmp_path / "y.gguf").exists()
    lf.gguf.edit(path, path, set={"general.alignment": 64})
    with lf.gguf.read(path) as mended:
        assert mended.alignment == 64 and path.stat().st_size < 200


def waste(_data: bytes, _folder: Path) -> None:
    bytearray(66 << 20)


def hang(_data: bytes, _folder: Path) -> None:
    while True:
        pass


def stumble(data: bytes, _folder: Path) -> None:
    if len(data) % 7 == 3:
        raise IndexError("this is what nobody must see")


@pytest.mark.parametrize(
    ("reader", "said"), [(waste, "bytes of memory"), (hang, "CPU time"), (stumble, "nobody")]
)
def test_it_sees_what_it_looks_for(
    reader: Any,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(states, "READERS", dict.fromkeys(states.READERS, reader))
    monkeypatch.setattr(states, "prepare", lambda _folder: [b"Sabcdefgh"])
    monkeypatch.setattr(bounds, "SECONDS", 0.3)
    findings = tmp_path / "findings"
    arguments = ["states", "--minutes", "0.01", "--seed", "1", "--findings", str(findings)]
    monkeypatch.setattr(sys, "argv", ["readers", *arguments])
    assert command.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert said in lines[0], lines[0]
    assert json.loads(lines[-1])["findings"] == len(list(findings.iterdir())) > 0
