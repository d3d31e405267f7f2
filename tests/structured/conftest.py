"""A model of random weights for this folder's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import llama_ffi as lf
from llama_ffi import testing


@pytest.fixture(scope="session")
def random_model() -> Iterator[lf.Model]:
    with testing.random_model("llama", seed=1, n_ctx_train=2048) as model:
        yield model
