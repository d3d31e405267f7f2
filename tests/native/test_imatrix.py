"""Importance matrices: both file formats there and back, damaged files, what the numbers mean."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi import errors, gguf

pytestmark = pytest.mark.native


def some() -> lf.ImportanceMatrix:
    return lf.ImportanceMatrix(
        {
            "blk.0.attn_q.weight": ([2.0, 4.0, 6.0, 8.0], [2]),
            "blk.0.ffn_up_exps.weight": ([1.0, 2.0, 0.0, 0.0], [4, 0]),
        },
        datasets=["text.txt"],
        chunk_count=5,
        chunk_size=512,
    )


def same(a: lf.ImportanceMatrix, b: lf.ImportanceMatrix) -> bool:
    return a.entries.keys() == b.entries.keys() and all(
        np.array_equal(a.entries[name].sums, b.entries[name].sums)
        and np.array_equal(a.entries[name].counts, b.entries[name].counts)
        for name in a.entries
    )


def test_means_and_experts_that_no_text_has_reached() -> None:
    matrix = some()
    assert matrix.values("blk.0.attn_q.weight").tolist() == [1.0, 2.0, 3.0, 4.0]
    assert matrix.values("blk.0.ffn_up_exps.weight").tolist() == [0.25, 0.5, 1.0, 1.0]
    with pytest.raises(errors.InvalidArgumentError, match="no weight 'x'"):
        matrix.values("x")


def test_there_and_back(tmp_path: Path) -> None:
    matrix = some()
    matrix.save(tmp_path / "m.gguf")
    found = lf.ImportanceMatrix.load(tmp_path / "m.gguf")
    assert same(found, matrix)
    assert (found.datasets, found.chunk_count, found.chunk_size) == (("text.txt",), 5, 512)
    with gguf.read(tmp_path / "m.gguf") as file:  # as llama.cpp's tool writes it
        assert file.metadata["general.type"] == "imatrix"
        assert file.tensors["blk.0.ffn_up_exps.weight.in_sum2"].ne == (2, 2)
        assert file.tensors["blk.0.ffn_up_exps.weight.counts"].ne == (1, 2)


def test_the_older_format(tmp_path: Path) -> None:
    name = b"blk.0.attn_q.weight"
    data = struct.pack("<ii", 1, len(name)) + name + struct.pack("<ii4f", 3, 4, 3.0, 6.0, 9.0, 12.0)
    path = tmp_path / "old.dat"
    path.write_bytes(data)
    assert lf.ImportanceMatrix.load(path).values(name.decode()).tolist() == [1.0, 2.0, 3.0, 4.0]
    path.write_bytes(data + struct.pack("<ii", 7, 5) + b"a.txt")
    found = lf.ImportanceMatrix.load(path)
    assert (found.chunk_count, found.datasets) == (7, ("a.txt",))
    matrix = some()
    matrix.save(tmp_path / "new.dat", legacy=True)
    again = lf.ImportanceMatrix.load(tmp_path / "new.dat")
    for each in matrix.entries:
        assert np.allclose(again.values(each), matrix.values(each))
    assert (again.chunk_count, again.datasets) == (5, ("text.txt",))


@settings(max_examples=60, deadline=None)
@given(
    cut=st.integers(0, 10_000),
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=3),
)
@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_files(tmp_path_factory: pytest.TempPathFactory, legacy: bool, cut: int, flips: Any) -> None:
    path = tmp_path_factory.mktemp("damaged") / "m"
    some().save(path, legacy=legacy)
    data = bytearray(path.read_bytes())
    for at, value in flips:
        data[at % len(data)] = value
    path.write_bytes(data[: cut % (len(data) + 1)])
    try:
        matrix = lf.ImportanceMatrix.load(path)
    except errors.ModelLoadError:
        return
    for name in matrix.entries:
        assert np.isfinite(matrix.values(name)).all()


def test_what_is_no_importance_matrix(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(errors.ModelNotFoundError):
        lf.ImportanceMatrix.load(path)
    for content in (
        b"",
        b"\0\0\0\0",
        b"just some text that goes on",
        b"\xff" * 40,
        struct.pack("<ii", 1, 2**31 - 1),
    ):
        path.write_bytes(content)
        with pytest.raises(errors.ModelFileError):
            lf.ImportanceMatrix.load(path)
    gguf.write(path, {"general.name": "a model"}, {"w": np.zeros((2, 2), "f4")})
    with pytest.raises(errors.ModelFileError, match="no importance matrix"):
        lf.ImportanceMatrix.load(path)
    gguf.write(path, {}, {"w.in_sum2": np.zeros((2, 2), "f4")})
    with pytest.raises(errors.ModelFileError, match="only one of"):
        lf.ImportanceMatrix.load(path)
    gguf.write(path, {}, {"w.in_sum2": np.zeros(4, "f4"), "w.counts": np.full(3, 1, "f4")})
    with pytest.raises(errors.ModelFileError, match="4 sums for 3 counts"):
        lf.ImportanceMatrix.load(path)


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (([1.0, float("nan")], [1]), errors.InvalidArgumentError),
        (([-1.0], [1]), errors.InvalidArgumentError),
        (([1.0], [-1]), errors.InvalidArgumentError),
        (([], [1]), errors.InvalidArgumentError),
        (([1.0], []), errors.InvalidArgumentError),
        ((["a"], [1]), errors.ArgumentTypeError),
    ],
)
def test_numbers_that_can_not_be(entry: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        lf.ImportanceMatrix({"w": entry})


def test_a_part_of_the_weights(tmp_path: Path) -> None:
    matrix = some()
    assert list(matrix.select(include=["attn"]).entries) == ["blk.0.attn_q.weight"]
    assert list(matrix.select(exclude=["attn"]).entries) == ["blk.0.ffn_up_exps.weight"]
    assert same(matrix.select(), matrix)
    with pytest.raises(errors.ArgumentTypeError, match="list"):
        matrix.select(include="attn")


def test_a_file_that_can_not_be_written(tmp_path: Path) -> None:
    for legacy in (False, True):
        with pytest.raises(errors.GgufWriteError):
            some().save(tmp_path / "none" / "m", legacy=legacy)
