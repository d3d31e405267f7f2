"""Models from files that are open already, and from the middle of other files."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi.errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    ModelFileError,
    ModelLoadError,
    ModelNotFoundError,
)

pytestmark = pytest.mark.model


def row(model: lf.Model) -> np.ndarray:
    with model.context(n_ctx=256, n_batch=32, n_threads=1) as ctx:
        ctx.decode(lf.Batch.from_tokens([1, 20, 300]))
        return ctx.logits(-1)


@pytest.fixture(scope="module")
def expected(tiny_model: Path) -> np.ndarray:
    with lf.Model.load(tiny_model) as model:
        return row(model)


@pytest.fixture(scope="module", params=[0, 64, 7], ids=["alone", "aligned", "odd"])
def embedded(
    request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, int]:
    """The model inside another file, and where it begins."""
    path = tmp_path_factory.mktemp("inside") / "archive.bin"
    path.write_bytes(b"\xaa" * request.param + tiny_model.read_bytes())
    return path, request.param


def test_an_open_file(embedded: tuple[Path, int], expected: np.ndarray) -> None:
    path, start = embedded
    with open(path, "rb") as file:
        file.seek(start)
        model = lf.Model.load(file)
        assert file.tell() == start, "the position is the program's"
        assert file.read(4) == b"GGUF"
    with model:  # the file is closed
        assert model.path == str(path)
        assert np.array_equal(row(model), expected)


def test_an_offset(embedded: tuple[Path, int], expected: np.ndarray) -> None:
    path, start = embedded
    with open(path, "rb", buffering=0) as file:
        file.seek(3)
        with lf.Model.load(file, offset=start) as model:
            assert np.array_equal(row(model), expected)
        assert file.tell() == 3
    with lf.Model.load(path, offset=start) as model:
        assert np.array_equal(row(model), expected)


def test_a_descriptor(embedded: tuple[Path, int], expected: np.ndarray) -> None:
    path, start = embedded
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.lseek(descriptor, start, os.SEEK_SET)
        with lf.Model.load(descriptor, load_mode="none") as model:
            assert np.array_equal(row(model), expected)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == start
    finally:
        os.close(descriptor)


def test_what_was_written_a_moment_ago(tiny_model: Path, tmp_path: Path, expected: np.ndarray) -> None:
    content = tiny_model.read_bytes()
    with open(tmp_path / "new.gguf", "w+b", buffering=1 << 24) as file:
        file.write(content)  # all of it still in Python's buffer
        with lf.Model.load(file, offset=0) as model:
            assert np.array_equal(row(model), expected)
        assert file.tell() == len(content)


def test_a_file_without_a_name(tiny_model: Path, tmp_path: Path, expected: np.ndarray) -> None:
    path = tmp_path / "gone.gguf"
    path.write_bytes(tiny_model.read_bytes())
    with open(path, "rb") as file:
        path.unlink()
        with lf.Model.load(file) as model:
            assert np.array_equal(row(model), expected)


def test_patterns_and_overrides_see_the_embedded_model(embedded: tuple[Path, int]) -> None:
    path, start = embedded
    with lf.Model.load(path, offset=start, tensor_buft_overrides={"ffn": "CPU"}) as model:
        assert model.n_params
    with pytest.raises(InvalidArgumentError, match="none of the 30"):
        lf.Model.load(path, offset=start, tensor_buft_overrides={"nothing": "CPU"})


def test_mapping_at_an_odd_place_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "odd"
    path.write_bytes(b"1234567" + tiny_model.read_bytes())
    with pytest.raises(ModelLoadError, match="aligned"):
        lf.Model.load(path, offset=7, load_mode="mmap")


def test_several_threads_load_from_one_file(tiny_model: Path, expected: np.ndarray) -> None:
    rows: list[np.ndarray] = []
    errors: list[BaseException] = []

    def load(file: Any, load_mode: str) -> None:
        try:
            with lf.Model.load(file, load_mode=load_mode) as model:
                rows.append(row(model))
        except BaseException as error:
            errors.append(error)

    with open(tiny_model, "rb") as file:
        threads = [threading.Thread(target=load, args=(file, mode)) for mode in ("none", "mmap") * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors and len(rows) == 8
    assert all(np.array_equal(each, expected) for each in rows)


def test_a_progress_callback_may_cancel_and_load(tiny_model: Path) -> None:
    with open(tiny_model, "rb") as file:
        with pytest.raises(ModelLoadError, match="cancelled"):
            lf.Model.load(file, progress=lambda fraction: False)

        def nested(fraction: float) -> None:
            lf.Model.load(file, offset=0, vocab_only=True).close()

        with lf.Model.load(file, progress=nested, load_mode="none") as model:
            assert model.n_params


@pytest.fixture
def descriptors(tmp_path: Path) -> Iterator[dict[str, int]]:
    reading, writing = os.pipe()
    (tmp_path / "w").write_bytes(b"x")
    opened = {
        "a pipe": reading,
        "a folder": os.open(tmp_path, os.O_RDONLY),
        "for writing": os.open(tmp_path / "w", os.O_WRONLY),
    }
    yield opened
    for descriptor in (*opened.values(), writing):
        os.close(descriptor)


def test_descriptors_that_are_no_file(descriptors: dict[str, int]) -> None:
    for what, says in (
        ("a pipe", "no regular file"),
        ("a folder", "no regular file"),
        ("for writing", "mode 'rb'"),
    ):
        with pytest.raises(InvalidArgumentError, match=says):
            lf.Model.load(descriptors[what])
    with pytest.raises(InvalidArgumentError, match="Bad file descriptor"):
        lf.Model.load(99_999)
    with pytest.raises(InvalidArgumentError, match="can't be used"):
        lf.Model.load(-1)


def test_objects_that_are_no_real_file(tiny_model: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="real files only"):
        lf.Model.load(io.BytesIO(tiny_model.read_bytes()))
    with open(tiny_model, encoding="latin-1") as text, pytest.raises(ArgumentTypeError, match="mode 'rb'"):
        lf.Model.load(text)  # type: ignore[arg-type]
    with open(tiny_model, "rb") as file:
        pass
    with pytest.raises(InvalidArgumentError, match="closed"):
        lf.Model.load(file)
    for nothing in (None, True, 1.5, object()):
        with pytest.raises(ArgumentTypeError):
            lf.Model.load(nothing)  # type: ignore[arg-type]


def test_a_named_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(ModelFileError, match="is a pipe"):
        lf.Model.load(tmp_path / "pipe.gguf")


def test_offsets_that_cannot_be(tiny_model: Path, tmp_path: Path) -> None:
    for offset in (-1, tiny_model.stat().st_size + 1, 2**70):
        with pytest.raises(InvalidArgumentError, match="offset"):
            lf.Model.load(tiny_model, offset=offset)
    with open(tiny_model, "rb") as file, pytest.raises(InvalidArgumentError, match="offset"):
        lf.Model.load(file, offset=-5)
    with pytest.raises(ArgumentTypeError, match="offset"):
        lf.Model.load(tiny_model, offset="3")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="whole files"):
        lf.Model.load([tiny_model], offset=0)
    with pytest.raises(ModelFileError, match="not a GGUF"):
        lf.Model.load(tiny_model, offset=1)
    with pytest.raises(ModelFileError, match="it ends there"):
        lf.Model.load(tiny_model, offset=tiny_model.stat().st_size)
    with pytest.raises(ModelNotFoundError):
        lf.Model.load(tmp_path / "absent", offset=0)


def test_a_cut_off_file(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.gguf"
    path.write_bytes(b"1234" + tiny_model.read_bytes()[:200_000])
    with open(path, "rb") as file, pytest.raises(ModelFileError, match="cut off") as caught:
        lf.Model.load(file, offset=4)
    assert str(path) in str(caught.value)
