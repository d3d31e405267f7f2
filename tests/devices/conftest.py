"""Other devices than this process's CPU: RPC workers as processes of their own, and what the CPU answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import llama_ffi as lf

from .processes import PROMPT, TOKENS, RpcWorker, Start


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Start]:
    """Start a worker; it ends with the test."""
    started: list[RpcWorker] = []

    def start(*arguments: str) -> RpcWorker:
        one = RpcWorker(tmp_path / f"worker-{len(started)}.log", *arguments)
        started.append(one)
        assert one.endpoint, one.log.read_text()
        return one

    yield start
    for one in started:
        one.close()


@pytest.fixture(scope="session")
def greedy() -> Callable[..., str]:
    """Return the greedy continuation of the prompt by a model, or by the CPU."""

    def run(model: Any = None, **options: Any) -> str:
        if isinstance(model, lf.IsolatedModel):
            return "".join(model.generate(PROMPT, max_tokens=TOKENS, temp=0, n_threads=1, **options))
        pieces = lf.generate(PROMPT, model=model, max_tokens=TOKENS, temp=0, n_threads=1, **options)
        return "".join(pieces)

    return run


@pytest.fixture(scope="session")
def by_cpu(greedy: Callable[..., str]) -> str:
    with lf.Model.load(lf.tiny_model_path(), devices=[]) as model:
        text = greedy(model)
    assert len(text) > 50
    return text
