"""Split models: loaded by the first part's name or by a list, and what can be wrong with the parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi.errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    ModelFileError,
    ModelLoadError,
    ModelNotFoundError,
)
from tests.native.splitting import split

pytestmark = pytest.mark.model

TOKENS = [1, 20, 300]


def row(model: lf.Model) -> np.ndarray:
    with model.context(n_ctx=256, n_batch=32, n_threads=1) as ctx:
        ctx.decode(lf.Batch.from_tokens(TOKENS))
        return ctx.logits(-1)


@pytest.fixture(scope="module")
def parts(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("parts")
    paths = [lf.splits.path(folder / "tiny", number, 3) for number in range(3)]
    split(tiny_model, paths)
    return paths


@pytest.fixture(scope="module")
def expected(tiny_model: Path) -> np.ndarray:
    with lf.Model.load(tiny_model) as model:
        return row(model)


def test_the_first_part_finds_the_others(parts: list[Path], expected: np.ndarray, tiny_model: Path) -> None:
    with lf.Model.load(parts[0]) as model, lf.Model.load(tiny_model) as whole:
        assert np.array_equal(row(model), expected)
        assert model.size == whole.size and model.n_params == whole.n_params
        assert model.path == str(parts[0])


@pytest.mark.parametrize("load_mode", ["mmap", "none"])
def test_a_list_of_parts(parts: list[Path], expected: np.ndarray, tmp_path: Path, load_mode: str) -> None:
    others = [tmp_path / name for name in ("one.gguf", "two", "drei.bin")]
    for part, other in zip(parts, others, strict=True):
        other.write_bytes(part.read_bytes())
    with lf.Model.load(others, load_mode=load_mode) as model:
        assert np.array_equal(row(model), expected)


def test_patterns_see_the_tensors_of_all_parts(parts: list[Path]) -> None:
    names = {f"blk.{layer}.attn_q" for layer in range(3)}
    lf.Model.load(parts[0], tensor_buft_overrides=dict.fromkeys(names, "CPU")).close()
    with pytest.raises(InvalidArgumentError, match="none of the 30 tensors"):
        lf.Model.load(parts[0], tensor_buft_overrides={"blk.7": "CPU"})


def test_a_part_is_missing(parts: list[Path], tmp_path: Path) -> None:
    for part in parts[:2]:
        (tmp_path / part.name).write_bytes(part.read_bytes())
    with pytest.raises(ModelLoadError, match="00003-of-00003") as caught:
        lf.Model.load(tmp_path / parts[0].name)
    assert caught.value.log
    with pytest.raises(ModelNotFoundError, match="no such file"):
        lf.Model.load([*parts[:2], tmp_path / "nowhere.gguf"])


def test_parts_in_the_wrong_order_or_number(parts: list[Path]) -> None:
    with pytest.raises(ModelLoadError, match="first split"):
        lf.Model.load(parts[1])
    with pytest.raises(ModelLoadError, match="split file idx"):
        lf.Model.load([parts[0], parts[2], parts[1]])
    with pytest.raises(ModelLoadError, match="split count"):
        lf.Model.load(parts[:2])
    with pytest.raises(InvalidArgumentError, match="empty list"):
        lf.Model.load([])


def test_a_part_is_no_model(parts: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF" + bytes(2))
    with pytest.raises(ModelFileError, match="cut off"):
        lf.Model.load([*parts[:2], bad])


def test_an_open_first_part_alone_is_refused(parts: list[Path]) -> None:
    with open(parts[0], "rb") as file, pytest.raises(InvalidArgumentError, match="by their paths only"):
        lf.Model.load(file)


@given(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=200),
    st.integers(1, 65_535),
    st.data(),
)
def test_names_there_and_back(prefix: str, count: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, count - 1))
    path = lf.splits.path(prefix, number, count)
    assert str(path) == str(Path(f"{prefix}-{number + 1:05d}-of-{count:05d}.gguf"))
    if str(Path(prefix)) == prefix and not prefix.endswith("/"):
        assert lf.splits.prefix(path, number, count) == Path(prefix)
    if count <= 100:
        listed = lf.splits.parts(path)
        assert len(listed) == count and listed[number] == path


def test_other_names_have_no_prefix() -> None:
    assert lf.splits.prefix("big.gguf", 0, 2) is None
    assert lf.splits.prefix("big-00001-of-00002.gguf", 1, 2) is None
    for name in ("big.gguf", "big-00001-of-00002", "big-00000-of-00002.gguf", "big-00003-of-00002.gguf"):
        with pytest.raises(InvalidArgumentError, match="not named like"):
            lf.splits.parts(name)


@pytest.mark.parametrize(("number", "count"), [(2, 2), (-1, 2), (0, 0), (0, 65_536)])
def test_numbers_out_of_range(number: int, count: int) -> None:
    with pytest.raises(InvalidArgumentError):
        lf.splits.path("x", number, count)
    with pytest.raises(InvalidArgumentError):
        lf.splits.prefix("x", number, count)


def test_wrong_types() -> None:
    with pytest.raises(ArgumentTypeError):
        lf.splits.path(3, 0, 1)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError):
        lf.splits.prefix("x", "0", 1)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError):
        lf.splits.parts(None)  # type: ignore[arg-type]
