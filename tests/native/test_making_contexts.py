"""Making contexts: parameters that fit, and those that no context has."""

from __future__ import annotations

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi.errors import (
    ArgumentTypeError,
    ContextCreateError,
    InvalidArgumentError,
)

pytestmark = pytest.mark.native

PROMPT = [1, 9038, 2501, 263, 931, 727, 471, 263, 2217, 2913]


@pytest.mark.parametrize(
    ("params", "error", "says"),
    [
        ({"n_ctx": 2**31 - 256}, ContextCreateError, "MiB are free"),
        ({"n_ctx": 2**31}, InvalidArgumentError, "n_ctx is 2147483648"),
        ({"n_ctx": 2**32}, InvalidArgumentError, "n_ctx"),
        ({"n_ctx": -1}, InvalidArgumentError, "n_ctx is -1"),
        ({"n_ctx": 1.5}, ArgumentTypeError, "n_ctx must be an integer"),
        ({"n_ctx": True}, ArgumentTypeError, "n_ctx"),
        ({"n_batch": 0}, InvalidArgumentError, "n_batch"),
        ({"n_seq_max": 257}, InvalidArgumentError, "n_seq_max"),
        ({"n_seq_max": 0}, InvalidArgumentError, "n_seq_max"),
        ({"n_batch": 4, "n_seq_max": 5}, ContextCreateError, "n_seq_max is 5"),
        ({"n_ctx": 2, "n_seq_max": 5}, ContextCreateError, "n_seq_max is 5"),
        ({"n_outputs_max": 2, "n_seq_max": 5}, ContextCreateError, "n_outputs_max"),
        ({"n_threads": 0}, InvalidArgumentError, "n_threads is 0"),
        ({"n_threads": 513}, InvalidArgumentError, "n_threads is 513"),
        ({"type_k": "q4_k"}, InvalidArgumentError, "choose one of"),
        ({"type_k": "f8"}, InvalidArgumentError, "type_k is 'f8'"),
        ({"type_v": "q8_0", "flash_attn": False}, ContextCreateError, "flash attention"),
        ({"pooling_type": "median"}, InvalidArgumentError, "choose one of"),
        ({"attention_type": 7}, InvalidArgumentError, "attention_type"),
        ({"flash_attn": "maybe"}, InvalidArgumentError, "flash_attn"),
        ({"rope_freq_base": float("nan")}, InvalidArgumentError, "finite"),
        ({"rope_freq_scale": -1.0}, InvalidArgumentError, "rope_freq_scale"),
        ({"ctx_type": "mtp"}, ContextCreateError, "MTP"),
        ({"n_rs_seq": 600, "n_ubatch": 512}, ContextCreateError, "n_rs_seq"),
        (
            {"embeddings": True, "pooling_type": "mean", "n_seq_max": 8, "n_batch": 33},
            ContextCreateError,
            "multiple of n_seq_max",
        ),
    ],
)
def test_parameters_that_no_context_has(
    random_model: lf.Model, params: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        random_model.context(**params)


@pytest.mark.parametrize("type_k", ["f32", "f16", "bf16", "q8_0", "q4_0", "iq4_nl"])
@pytest.mark.parametrize("flash_attn", [None, True, False])
def test_cache_types(random_model: lf.Model, type_k: str, flash_attn: bool | None) -> None:
    type_v = "f16" if flash_attn is False else type_k
    with random_model.context(
        n_ctx=256, type_k=type_k, type_v=type_v, flash_attn=flash_attn, n_threads=1
    ) as ctx:
        ctx.decode(lf.Batch.from_tokens(PROMPT))
        assert np.isfinite(ctx.logits()).all()


def test_sizes_are_read_from_the_context(random_model: lf.Model) -> None:
    with random_model.context(n_ctx=100, n_batch=5000, n_threads=1, n_threads_batch=2) as ctx:
        assert (ctx.n_ctx, ctx.n_batch, ctx.n_ubatch) == (256, 100, 100)
        assert (ctx.n_threads, ctx.n_threads_batch) == (1, 2)
        ctx.set_n_threads(2)
        assert (ctx.n_threads, ctx.n_threads_batch) == (2, 2)
        with pytest.raises(InvalidArgumentError):
            ctx.set_n_threads(0)
    with random_model.context(n_ctx=0, n_threads=1) as ctx:
        assert ctx.n_ctx == 512
