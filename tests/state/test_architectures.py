"""States of models of every kind: a context that got one goes on as the one it came from, bit for bit."""

from __future__ import annotations

import io

import pytest

import llama_ffi as lf
from llama_ffi import testing
from llama_ffi.errors import UnsupportedError

from .conftest import SMALL, feed, go_on

pytestmark = pytest.mark.native

TOKENS = [3, 4, 5, 6, 7, 8]
KINDS = [
    "llama-moe",
    "gemma3",
    "qwen3",
    "phi3",
    "gpt2",
    "bloom",
    "mamba",
    "rwkv7",
    "jamba",
    "deepseek2",
    "qwen2vl",
]
UNKNOWN_FORMS = ["deepseek4", "dots3note", "glm5-next", "qwen4exp"]
"""memories of several indexed parts, whose states we don't read"""


def check(kind: str) -> None:
    with testing.random_model(kind) as model:
        # llama.cpp makes no contexts of several sequences for plm.
        options = SMALL if model.has_encoder or kind == "plm" else {**SMALL, "n_seq_max": 2}
        with model.context(**options) as ctx, model.context(**options) as other:
            if ctx._memory is None:
                with pytest.raises(UnsupportedError, match="no memory"):
                    lf.StateFile.save(ctx, io.BytesIO())
                return
            if model.has_encoder:
                for each in (ctx, other):
                    each.encode(lf.Batch.from_tokens([1, 2, 3]))
            feed(ctx, TOKENS[:-1])
            if kind in UNKNOWN_FORMS:
                with pytest.raises(UnsupportedError, match="can't be checked"):
                    lf.StateFile.save(ctx, io.BytesIO(), TOKENS[:-1])
                return
            whole, one = io.BytesIO(), io.BytesIO()
            lf.StateFile.save(ctx, whole, TOKENS[:-1])
            lf.StateFile.save(ctx, one, TOKENS[:-1], seq_id=0)
            expected = go_on(ctx, TOKENS[-1], 5, 3)
            whole.seek(0)
            lf.StateFile.load(other, whole)
            assert go_on(other, TOKENS[-1], 5, 3) == expected
            one.seek(0)
            last = other.n_seq_max - 1
            lf.StateFile.load(other, one, seq_id=last)
            assert go_on(other, TOKENS[-1], 5, 3, seq_id=last) == expected


@pytest.mark.parametrize("kind", [*KINDS, *UNKNOWN_FORMS])
def test_goes_on_the_same(kind: str) -> None:
    check(kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", testing.kinds())
def test_every_kind_goes_on_the_same(kind: str) -> None:
    check(kind)
