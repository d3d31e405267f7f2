"""A kind as a file is the same model; saving works wherever libllama can; nothing stays behind."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi import errors, testing
from llama_ffi._core import handle
from tests.model.matrix import kinds
from tests.model.matrix.kinds import alone, tokens

pytestmark = pytest.mark.native

PART = tokens(7, 5)

NOT_SAVED = frozenset(
    {
        *("gemma3n", "bitnet", "t5", "apertus", "step35"),  # it asserts
        *("bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3"),
        *("eurobert", "wavtokenizer-dec", "graniteswitch", "gemma4"),  # it writes what it can't read
    }
)
"""Architectures that llama_model_save_to_file can't save."""


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_written_and_read_again(kind: str, tmp_path: Path) -> None:
    path, saved = tmp_path / "random.gguf", tmp_path / "saved.gguf"
    gc.collect()
    before = handle.live()
    with testing.random_model(kind) as model:
        expected = alone(model, kind, PART)
        testing.save_random_model(path, kind)
        if model.arch in NOT_SAVED:
            with pytest.raises(errors.UnsupportedError, match=model.arch):
                model.save_to_file(saved)
        else:
            model.save_to_file(saved)
    with load(path) as model:
        np.testing.assert_array_equal(alone(model, kind, PART), expected)
        assert model.n_params > 0
    if saved.exists():
        with load(saved) as model:
            np.testing.assert_array_equal(alone(model, kind, PART), expected)
    del model
    gc.collect()
    assert handle.live() == before


def load(path: Path) -> lf.Model:
    return lf.Model.load(path, n_gpu_layers=0, use_extra_bufts=False)


def test_what_cannot_be_saved_still_cannot(tmp_path: Path) -> None:
    """The list of what save_to_file refuses is right: the C function writes a file that C can't load."""
    from llama_ffi.raw import lib

    for kind in ("bert", "neo-bert", "wavtokenizer-dec", "graniteswitch", "gemma4"):
        path = tmp_path / f"{kind}.gguf"
        with testing.random_model(kind) as model:
            lib.llama_model_save_to_file(model.ptr, str(path).encode())
        with pytest.raises(errors.ModelLoadError, match=r"not found|token_embd"):
            load(path)
