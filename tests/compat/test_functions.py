"""The functions of the low level: typed everywhere, keywords where they cost nothing that counts."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def low() -> Any:
    from llama_ffi.compat import llama_cpp

    return llama_cpp


def test_the_header_names_are_keywords(low: Any) -> None:
    batch = low.llama_batch_init(n_tokens=4, embd=0, n_seq_max=1)
    assert batch.n_tokens == 0 and batch.token
    low.llama_batch_free(batch=batch)
    with pytest.raises(TypeError):
        low.llama_batch_init(tokens=4, embd=0, n_seq_max=1)


def test_those_of_the_token_loop_are_the_plain_ones_of_the_library(low: Any) -> None:
    for name in low._IN_LOOPS:
        assert getattr(low, name) is getattr(low._lib, name), name
    tokens = (low.llama_token * 3)(1, 2, 3)
    assert low.llama_batch_get_one(tokens, 3).n_tokens == 3
    with pytest.raises(TypeError):
        low.llama_batch_get_one(tokens=tokens, n_tokens=3)


def test_the_functions_of_the_library_have_their_types(low: Any) -> None:
    assert isinstance(low._lib, ctypes.CDLL)
    for name in ("llama_model_load_from_file", "llama_decode", "llama_model_desc"):
        assert list(getattr(low._lib, name).argtypes) == list(getattr(low, name).argtypes), name
        assert getattr(low._lib, name).restype == getattr(low, name).restype, name
    assert ctypes.cast(low._lib.llama_tokenize, ctypes.c_void_p).value
    with pytest.raises(AttributeError):
        _ = low._lib.llama_nonsense
