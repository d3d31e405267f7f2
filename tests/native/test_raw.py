"""`llama_ffi.raw`: every name that is bound is there, or says why it isn't."""

from __future__ import annotations

import pytest

import llama_ffi as lf
from llama_ffi.errors import MissingFunctionError

pytestmark = pytest.mark.native


def test_every_function_is_there_or_says_why() -> None:
    files = {path.name for path in lf.library_paths().values()}
    missing = {}
    for name, where in lf.raw.functions().items():
        if where in files:
            assert getattr(lf.raw.lib, name) is not None
            assert hasattr(lf.raw.lib, name)
        else:
            missing[name] = where
    for name, reason in missing.items():
        assert not hasattr(lf.raw.lib, name)
        with pytest.raises(MissingFunctionError, match=rf"^{name} can't be called: ") as caught:
            getattr(lf.raw.lib, name)
        assert str(caught.value).endswith(reason)
    # the one function that the pinned headers declare and nothing defines
    assert missing == {
        "ggml_threadpool_get_n_threads": "declared in ggml-cpu.h, defined in no source file of this version"
    }


def test_a_name_that_nothing_has() -> None:
    with pytest.raises(
        AttributeError, match=r"there is no function or constant 'llama_n_ctxx'.*did you mean llama_n_ctx"
    ):
        lf.raw.lib.llama_n_ctxx  # noqa: B018
    assert lf.raw.lib.LLAMA_POOLING_TYPE_MEAN == 1
