"""Models written to files: as they were, whole or not at all, and never through a NULL pointer."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi.errors import ModelSaveError, UnsupportedError
from llama_ffi.raw import ffi, lib

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def quantized(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model in q4_0, whose weights the CPU likes to put into an order of its own."""
    path = tmp_path_factory.mktemp("quantized") / "q4_0.gguf"
    params = ffi.new("llama_model_quantize_params *", lib.llama_model_quantize_default_params())
    params.ftype, params.nthread = lib.LLAMA_FTYPE_MOSTLY_Q4_0, 1
    assert lib.llama_model_quantize(str(tiny_model).encode(), str(path).encode(), params) == 0
    return path


def row(model: lf.Model) -> np.ndarray:
    with model.context(n_ctx=256, n_batch=32, n_threads=1) as ctx:
        ctx.decode(lf.Batch.from_tokens([1, 20, 300]))
        return ctx.logits(-1)


def is_reordered(model: lf.Model) -> bool:
    extra = {kind.name for device in lf.devices() for kind in device.extra_buffer_types}
    return any(use.buffer_type in extra and use.model for use in model.measure().entries)


def test_there_and_back(tiny_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.gguf"
    with lf.Model.load(tiny_model) as model:
        model.save_to_file(target)
        expected = row(model)
        with lf.Model.load(target) as copy:
            assert np.array_equal(row(copy), expected)
            assert (copy.size, copy.n_params, copy.ftype) == (model.size, model.n_params, model.ftype)
        model.save_to_file(str(target))  # over a file that is there
    assert [entry.name for entry in tmp_path.iterdir()] == ["copy.gguf"]


def test_over_the_file_that_it_was_loaded_from(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.gguf"
    path.write_bytes(tiny_model.read_bytes())
    with lf.Model.load(path, load_mode="mmap") as model:
        expected = row(model)
        model.save_to_file(path)
        assert np.array_equal(row(model), expected), "the old file is still mapped"
    with lf.Model.load(path) as model:
        assert np.array_equal(row(model), expected)


@pytest.mark.parametrize("load_mode", ["none", "mmap"])
def test_weights_in_an_order_of_their_own(quantized: Path, tmp_path: Path, load_mode: str) -> None:
    with lf.Model.load(quantized, load_mode=load_mode) as model:
        target = tmp_path / "again.gguf"
        if not is_reordered(model):
            model.save_to_file(target)  # a processor without such an order
            assert target.stat().st_size
        else:
            with pytest.raises(UnsupportedError, match="use_extra_bufts=False"):
                model.save_to_file(target)
            assert not target.exists()
            pointer = lib.llama_model_load_from_file(
                str(quantized).encode(), lib.llama_model_default_params()
            )
            with lf.Model(pointer) as adopted, pytest.raises(UnsupportedError, match="use_extra_bufts=False"):
                adopted.save_to_file(target)
    with lf.Model.load(quantized, load_mode=load_mode, use_extra_bufts=False) as model:
        assert not is_reordered(model)
        model.save_to_file(target)
        with lf.Model.load(target, use_extra_bufts=False) as copy:
            assert np.array_equal(row(copy), row(model))


def test_the_check_is_what_saves(quantized: Path, tmp_path: Path) -> None:
    """Without it the process dies, or this processor has no such order."""
    code = (
        "import sys, llama_ffi as lf\n"
        "model = lf.Model.load(sys.argv[1])\n"
        "extra = {kind.name for device in lf.devices() for kind in device.extra_buffer_types}\n"
        "found = any(use.buffer_type in extra and use.model for use in model.measure().entries)\n"
        "print(found, flush=True)\n"
        "lf.raw.lib.llama_model_save_to_file(model.ptr, sys.argv[2].encode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(quantized), str(tmp_path / "x.gguf")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )
    reordered = done.stdout.strip() == "True"
    assert (done.returncode < 0) == reordered, done.stderr


def test_a_model_that_raw_code_made(tiny_model: Path, tmp_path: Path) -> None:
    pointer = lib.llama_model_load_from_file(str(tiny_model).encode(), lib.llama_model_default_params())
    with lf.Model(pointer) as model:
        model.save_to_file(tmp_path / "raw.gguf")
    assert (tmp_path / "raw.gguf").stat().st_size > 4_000_000


def test_permissions_are_the_users(tiny_model: Path, tmp_path: Path) -> None:
    with lf.Model.load(tiny_model) as model:
        ordinary = tmp_path / "ordinary"
        ordinary.write_bytes(b"")
        model.save_to_file(tmp_path / "new.gguf")
        assert (tmp_path / "new.gguf").stat().st_mode == ordinary.stat().st_mode
        os.chmod(tmp_path / "new.gguf", 0o640)
        model.save_to_file(tmp_path / "new.gguf")
        assert (tmp_path / "new.gguf").stat().st_mode & 0o777 == 0o640


def test_places_that_cannot_be(tiny_model: Path, tmp_path: Path) -> None:
    with lf.Model.load(tiny_model) as model:
        for target in (tmp_path, tmp_path / "absent" / "x.gguf"):
            with pytest.raises(ModelSaveError):
                model.save_to_file(target)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_file(tiny_model: Path, tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, llama_ffi as lf\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "model = lf.Model.load(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "try: model.save_to_file(sys.argv[2])\n"
        "except lf.errors.ModelSaveError as error: print('refused', 'full' in str(error))\n"
    )
    target = tmp_path / "old.gguf"
    target.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_model), str(target)], capture_output=True, text=True
    )
    assert done.stdout.strip() == "refused True", done.stderr
    assert target.read_bytes() == b"old" and [entry.name for entry in tmp_path.iterdir()] == ["old.gguf"]
