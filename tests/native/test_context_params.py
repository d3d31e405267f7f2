"""Contexts with any combination of parameters: made and usable, or a typed error."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi import testing
from llama_ffi.errors import ContextCreateError, LlamaError

pytestmark = pytest.mark.native

CACHE = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"]

PARAMS = {
    "n_ctx": st.sampled_from([0, 1, 2, 7, 255, 256, 257, 600]),
    "n_batch": st.sampled_from([None, 1, 2, 3, 33, 64, 2048]),
    "n_ubatch": st.sampled_from([None, 0, 1, 2, 5, 32, 4096]),
    "n_seq_max": st.sampled_from([1, 1, 2, 3, 8]),
    "n_rs_seq": st.sampled_from([0, 0, 1, 4]),
    "n_outputs_max": st.sampled_from([0, 0, 1, 2, 16, 5000]),
    "ctx_type": st.sampled_from([None, "default", "mtp"]),
    "rope_scaling_type": st.sampled_from([None, "unspecified", "none", "linear", "yarn", "longrope"]),
    "pooling_type": st.sampled_from([None, "unspecified", "none", "mean", "cls", "last", "rank"]),
    "attention_type": st.sampled_from([None, "unspecified", "causal", "non_causal"]),
    "flash_attn": st.sampled_from([None, True, False, "auto"]),
    "rope_freq_base": st.sampled_from([0.0, 1.0, 10_000.0, 1e30]),
    "rope_freq_scale": st.sampled_from([0.0, 1e-30, 0.5, 1.0, 1e30]),
    "yarn_ext_factor": st.sampled_from([-1.0, 0.0, 1.0, 1e30]),
    "yarn_orig_ctx": st.sampled_from([0, 1, 2**31 - 1]),
    "type_k": st.sampled_from(CACHE),
    "type_v": st.sampled_from(CACHE),
    "embeddings": st.booleans(),
    "offload_kqv": st.booleans(),
    "op_offload": st.booleans(),
    "swa_full": st.booleans(),
    "kv_unified": st.booleans(),
    "no_perf": st.booleans(),
}


@settings(max_examples=60, deadline=None)
@given(params=st.fixed_dictionaries({}, optional=PARAMS), data=st.data())
def test_any_parameters(random_model: lf.Model, params: dict[str, object], data: st.DataObject) -> None:
    try:
        ctx = random_model.context(n_threads=1, **params)
    except LlamaError:
        return
    with ctx:
        assert ctx.n_ctx % 256 == 0
        assert ctx.n_seq_max == params.get("n_seq_max", 1)
        embeddings = params.get("embeddings", False)
        for _ in range(3):
            sequence = data.draw(st.integers(0, min(3, ctx.n_seq_max - 1)))
            count = data.draw(st.integers(1, 40))
            start = ctx.memory.seq_pos_max(sequence) + 1
            flags = data.draw(st.sampled_from(["last", "all", None]))
            try:
                ctx.decode(lf.Batch.from_tokens([5] * count, pos0=start, seq_id=sequence, logits=flags))
            except LlamaError:
                continue
            if embeddings and ctx.pooling_type.name == "NONE":
                assert ctx.embeddings(0).shape == (64,)
            elif embeddings and ctx.pooling_type.name != "RANK":
                assert ctx.embeddings_seq(sequence).shape == (64,)
            if flags is not None:
                assert ctx.logits().dtype == np.float32
                assert 0 <= lf.SamplerChain().add_greedy().sample(ctx) < 32_000
            ctx.set_causal_attn(data.draw(st.booleans()))
            embeddings = data.draw(st.booleans())
            ctx.set_embeddings(embeddings)


UNKNOWN_POOLING = """
import sys
import llama_ffi as lf
from llama_ffi import testing
from llama_ffi.errors import ContextCreateError
kind = sys.argv[1]
file = lf.Model.load(lf.tiny_model_path(), kv_overrides={"llama.pooling_type": 9})
for model in (testing.random_model(kind, metadata={f"{kind}.pooling_type": 7}), file):
    for embeddings in (True, False):
        try: model.context(n_ctx=64, embeddings=embeddings)
        except ContextCreateError as error: print("want pooling type" in str(error))
    model.context(n_ctx=64, embeddings=True, pooling_type="last").close()
"""


@pytest.mark.parametrize("kind", ["llama", "bert"])
@pytest.mark.parametrize("guard", ["0", "1"])
def test_an_unknown_pooling_type_of_the_metadata(kind: str, guard: str) -> None:
    """Without the check, and without the guard, the process would end."""
    done = subprocess.run(
        [sys.executable, "-c", UNKNOWN_POOLING, kind],
        capture_output=True,
        text=True,
        env={**os.environ, "LLAMA_FFI_GUARD": guard},
    )
    assert done.stdout.split() == ["True"] * 4, done.stderr


def test_what_some_kinds_cannot_do() -> None:
    with testing.random_model("t5") as model:
        with pytest.raises(ContextCreateError, match="kv_unified=True"):
            model.context(n_ctx=512, n_seq_max=2)
        model.context(n_ctx=512, n_seq_max=2, kv_unified=True).close()
    with testing.random_model("plm") as model:
        with pytest.raises(ContextCreateError, match="flash_attn is True; plm"):
            model.context(n_ctx=512, flash_attn=True)
        for flash_attn in (None, False):
            model.context(n_ctx=512, flash_attn=flash_attn).close()
