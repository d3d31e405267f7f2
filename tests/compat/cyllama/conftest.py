"""Fixtures of the tests of cyllama's classes: the shipped model, and a context of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import llama_ffi as lf
import llama_ffi.compat.cyllama as cy


@pytest.fixture(scope="module")
def model() -> Iterator[cy.LlamaModel]:
    model = cy.LlamaModel(path_model=str(lf.tiny_model_path()))
    yield model
    model.close()


@pytest.fixture
def ctx(model: cy.LlamaModel) -> Iterator[cy.LlamaContext]:
    ctx = cy.LlamaContext(model=model, params=cy.LlamaContextParams(n_ctx=256, n_seq_max=2, kv_unified=True))
    yield ctx
    ctx.close()
