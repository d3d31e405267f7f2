"""Fixtures of the tests of chats: the pinned source, its vocabularies, the model that ships."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import llama_ffi as lf

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def source() -> Path:
    """The pinned source of llama.cpp, fetched if it isn't there."""
    command = [sys.executable, str(ROOT / "vendor" / "fetch.py"), "--print-path"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def model(tiny_model: Path) -> Iterator[lf.Model]:
    with lf.Model.load(tiny_model, n_gpu_layers=0) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def qwen(source: Path) -> Iterator[lf.Model]:
    """A vocabulary with byte-level tokens and the special tokens of ChatML."""
    with lf.Model.load(source / "models/ggml-vocab-qwen2.gguf", vocab_only=True) as loaded:
        yield loaded
