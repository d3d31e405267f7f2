"""A model, contexts that have read something, and their state files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llama_ffi as lf

STORY = "Once upon a time there was a little dog who lived in a house"
SMALL: dict[str, Any] = {"n_ctx": 256, "n_batch": 64, "n_threads": 1}


@pytest.fixture(scope="session")
def model() -> Iterator[lf.Model]:
    with lf.Model.load(lf.tiny_model_path()) as loaded:
        yield loaded


def feed(ctx: lf.Context, tokens: list[int], begin: int = 0, seq_id: int = 0) -> None:
    """Decode ``tokens`` at the positions from ``begin`` on; the last one gets logits."""
    batch = lf.Batch(len(tokens))
    for index, token in enumerate(tokens):
        batch.add(token, begin + index, [seq_id], logits=index == len(tokens) - 1)
    ctx.decode(batch)


def go_on(ctx: lf.Context, token: int, begin: int, count: int, seq_id: int = 0) -> list[bytes]:
    """Decode ``token`` and ``count`` more greedily; return the logits of each step, bit by bit."""
    rows = []
    for position in range(begin, begin + count):
        feed(ctx, [token], position, seq_id)
        row = ctx.logits(-1)
        rows.append(row.tobytes())
        token = int(row.argmax())
    return rows


@pytest.fixture
def tokens(model: lf.Model) -> list[int]:
    return model.vocab.tokenize(STORY, add_special=True)


@pytest.fixture
def saved(model: lf.Model, tokens: list[int], tmp_path: Path) -> Path:
    """A state file of a whole context that has read all but the last token of the story."""
    path = tmp_path / "saved.state"
    with model.context(**SMALL) as ctx:
        feed(ctx, tokens[:-1])
        lf.StateFile.save(ctx, path, tokens[:-1])
    return path
