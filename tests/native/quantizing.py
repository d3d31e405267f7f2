"""What the tests of quantization share: a text to score, a file's types, an importance matrix of ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import llama_ffi as lf
from llama_ffi import gguf

TEXT = "Once upon a time there was a little cat. The cat had a red ball. One day it went to the park."


def types(path: Path | str) -> dict[str, str]:
    with gguf.read(path) as file:
        return {name: tensor.type for name, tensor in file.tensors.items()}


def ones(path: Path | str) -> lf.ImportanceMatrix:
    """An importance matrix in which all columns matter alike."""
    with gguf.read(path) as file:
        weights = {name: each.ne[0] for name, each in file.tensors.items() if len(each.ne) == 2}
    return lf.ImportanceMatrix({name: (np.ones(count), [1]) for name, count in weights.items()})
