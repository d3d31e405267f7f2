"""Random models as files, with the rows of their token embedding matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import llama_ffi as lf
from llama_ffi import testing

TOKENS = [3, 5, 7, 9, 4, 8, 11, 2, 6, 10, 12]
N = len(TOKENS)

Made = tuple[lf.Model, NDArray[np.float32]]
"""what ``saved`` returns, and the fixture ``llama``"""


def saved(folder: Path, kind: str) -> Made:
    """Return a model, and the rows of its matrix for ``TOKENS``."""
    path = folder / f"{kind}.gguf"
    testing.save_random_model(path, kind)
    with lf.gguf.read(path) as file:
        matrix = np.array(file.tensors["token_embd.weight"].data, np.float32)
    model = lf.Model.load(path, n_gpu_layers=0)
    rows = matrix.reshape(-1, model.n_embd)[TOKENS]
    return model, np.pad(rows, ((0, 0), (0, model.n_embd_inp - model.n_embd)))


def context(model: lf.Model, **more: object) -> lf.Context:
    options: dict[str, object] = {"n_ctx": 256, "n_batch": 32, "n_ubatch": 16, "n_threads": 1}
    return model.context(**(options | more))  # type: ignore[arg-type]


def all_rows(ctx: lf.Context) -> NDArray[np.float32]:
    """Return a copy of all rows of logits."""
    with ctx.borrow_logits() as rows:
        return rows.copy()
