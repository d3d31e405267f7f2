"""Names that left llama.h and that programs for llama-cpp-python still use."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from llama_ffi.testing import save_random_model

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def low() -> Any:
    from llama_ffi.compat import llama_cpp

    return llama_cpp


def test_load_modes(low: Any) -> None:
    from llama_ffi.compat import _names

    named = {"AUTO": _names._AUTO, "NONE": _names._NONE, "MMAP": _names._MMAP, "MLOCK": _names._MLOCK}
    named |= {"MMAP_MLOCK": _names._BOTH, "DIRECT_IO": _names._DIRECT}
    for name, value in named.items():
        assert getattr(low, f"LLAMA_LOAD_MODE_{name}") == value
    params = low.llama_model_default_params()
    assert (params.use_mmap, params.use_mlock, params.use_direct_io) == (True, False, False)
    for mmap, mlock in itertools.product((True, False), repeat=2):
        for start in set(named.values()) - {_names._DIRECT}:
            params.load_mode = start
            params.use_mmap, params.use_mlock = mmap, mlock
            assert (params.use_mmap, params.use_mlock, params.use_direct_io) == (mmap, mlock, False)
    params.use_direct_io = True
    assert params.load_mode == low.LLAMA_LOAD_MODE_DIRECT_IO
    params.use_mmap = params.use_mlock = False
    assert params.use_direct_io
    params.use_mmap = True
    assert params.load_mode == low.LLAMA_LOAD_MODE_MMAP


def test_flash_attention(low: Any) -> None:
    params = low.llama_context_default_params()
    assert params.flash_attn_type == low.LLAMA_FLASH_ATTN_TYPE_AUTO and params.flash_attn is False
    params.flash_attn = True
    assert params.flash_attn_type == low.LLAMA_FLASH_ATTN_TYPE_ENABLED
    params.flash_attn = False
    assert params.flash_attn_type == low.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.any_other = 1  # ctypes structures take unknown attributes, and programs rely on it
    assert params.any_other == 1


def test_the_kv_cache_is_the_memory(low: Any, tmp_path: Any) -> None:
    path = tmp_path / "m.gguf"
    save_random_model(path, "llama")
    model = low.llama_model_load_from_file(str(path).encode(), low.llama_model_default_params())
    params = low.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 64, 1, 1
    context = low.llama_init_from_model(model, params)
    tokens = (low.llama_token * 4)(1, 2, 3, 4)
    assert low.llama_decode(context, low.llama_batch_get_one(tokens, 4)) == 0
    assert low.llama_kv_self_seq_pos_max(context, 0) == low.llama_kv_cache_seq_pos_max(context, 0) == 3
    assert low.llama_kv_self_seq_rm(context, 0, 2, -1) is True
    assert low.llama_kv_self_seq_pos_max(context, 0) == 1
    assert low.llama_kv_self_update(context) is None
    low.llama_kv_self_clear(context)
    assert low.llama_kv_self_seq_pos_max(context, 0) == -1
    low.llama_free(context)
    low.llama_model_free(model)


@pytest.mark.parametrize("name", ["llama_kv_self_nonsense", "llama_kv_cache_view_init", "LLAMA_NOTHING"])
def test_the_rest_says_that_it_is_gone(low: Any, name: str) -> None:
    from llama_ffi.compat import _names

    with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
        getattr(low, name)
    assert f"no {name}: it is neither in the headers of llama.cpp" in _names.gone(name)


def test_dry_takes_its_old_arguments(low: Any) -> None:
    from llama_ffi import Model, tiny_model_path
    from llama_ffi.compat import _names

    old = _names.CHANGED["llama_sampler_init_dry", 8]
    with Model.load(tiny_model_path(), vocab_only=True) as model:
        vocab = low.llama_model_get_vocab(_address(model))
        breakers = (low.ctypes.c_char_p * 1)(b"\n")
        sampler = old(vocab, 128, 0.8, 1.75, 2, -1, breakers, 1)
        assert low.llama_sampler_name(sampler) == b"dry"
        low.llama_sampler_free(sampler)


def _address(model: Any) -> int:
    from llama_ffi.raw import ffi

    return int(ffi.cast("uintptr_t", model.ptr))
