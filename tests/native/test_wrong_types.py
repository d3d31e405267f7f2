"""What the call fuzzer found to end in errors of Python's or numpy's own: each is a typed error now."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi.errors import ArgumentTypeError, InvalidArgumentError

pytestmark = pytest.mark.model

ARRAY = np.ones(3, np.float32)


def writer() -> lf.gguf.GgufWriter:
    return lf.gguf.GgufWriter("never written.gguf")


def candidates() -> lf.Candidates:
    return lf.Candidates(ARRAY)


CALLS: list[tuple[str, Callable[[], Any]]] = [
    ("shape", lambda: lf.testing.random_weights("a", 3, 0)),  # type: ignore[arg-type]
    ("extent of shape", lambda: lf.testing.random_weights("a", ("b",), 0)),  # type: ignore[arg-type]
    ("extent of shape", lambda: lf.testing.random_weights("a", (-1, 2), 0)),
    ("shape is", lambda: lf.testing.random_weights("a", (2**20, 2**20), 0)),
    ("the key must be str", lambda: writer().add(ARRAY, 1)),  # type: ignore[arg-type]
    ("the key must be str", lambda: writer().add_raw(ARRAY, b"")),  # type: ignore[arg-type]
    ("must be bytes", lambda: writer().add_raw("a", [1])),  # type: ignore[arg-type]
    ("must be u32", lambda: writer().add_raw("general.alignment", b"")),
    ("type and value take 8", lambda: writer().add_raw("general.alignment", b"\4\0\0\0")),
    ("pad_end", lambda: writer().be_like(3, pad_end=ARRAY)),  # type: ignore[arg-type]
    ("type must be str", lambda: writer().add_tensor("a", ARRAY, type=3)),  # type: ignore[arg-type]
    ("shape", lambda: writer().add_tensor("a", b"", type="f32", shape=4)),  # type: ignore[arg-type]
    ("metadata must be", lambda: lf.gguf.GgufContext(ARRAY)),  # type: ignore[arg-type]
    ("shape must be", lambda: lf.gguf.GgufContext().add_tensor("a", True)),  # type: ignore[arg-type]
    ("can't be kept", lambda: candidates().keep(2**63)),
    ("priority", lambda: lf.ThreadPool(1, priority=1.0)),  # type: ignore[arg-type]
    ("path must be", lambda: lf.log.to_file(len)),  # type: ignore[arg-type]
    ("no_perf", lambda: lf.SamplerChain(no_perf=ARRAY)),  # type: ignore[arg-type]
    ("struct llama_sampler", lambda: lf.Sampler(3)),
    ("struct llama_sampler", lambda: lf.Sampler(lf.raw.ffi.new("int *"))),
    ("pair of sums", lambda: lf.ImportanceMatrix({"a": 3})),  # type: ignore[dict-item]
    ("datasets", lambda: lf.ImportanceMatrix({}, datasets=[3])),  # type: ignore[list-item]
    ("name must be", lambda: lf.ImportanceMatrix({}).values([])),  # type: ignore[arg-type]
    ("include", lambda: lf.ImportanceMatrix({}).select(include=[3])),  # type: ignore[list-item]
    ("legacy", lambda: lf.ImportanceMatrix({}).save("never written", legacy=ARRAY)),  # type: ignore[arg-type]
    ("path must be", lambda: lf.ImportanceMatrix({}).save({}, legacy=True)),  # type: ignore[arg-type]
    ("the class int", lambda: writer().add("a", int)),
    ("remove must be", lambda: lf.gguf.edit("a", "b", remove=[[]])),  # type: ignore[list-item]
    ("prompt must be", lambda: lf.score(None, "a b", prompt=3)),  # type: ignore[arg-type]
    ("logits", lambda: lf.Batch(4).add(1, 0, [0], ARRAY)),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("words", "call"), CALLS)
def test_a_typed_error_names_it(words: str, call: Callable[[], Any]) -> None:
    with pytest.raises((ArgumentTypeError, InvalidArgumentError), match=words):
        call()


@pytest.mark.parametrize(
    "flag", ["embeddings", "offload_kqv", "op_offload", "swa_full", "kv_unified", "no_perf"]
)
def test_flags_of_contexts(tiny_model: Path, flag: str) -> None:
    with lf.Model.load(tiny_model) as model, pytest.raises(ArgumentTypeError, match=flag):
        model.context(n_ctx=64, **{flag: ARRAY})


def test_a_state_goes_into_binary_streams(tiny_model: Path) -> None:
    with lf.Model.load(tiny_model) as model, model.context(n_ctx=64) as ctx:
        ctx.decode(lf.Batch.from_tokens([5]))
        with pytest.raises(ArgumentTypeError, match="binary stream"):
            lf.StateFile.save(ctx, io.StringIO(), [5])  # type: ignore[arg-type]
        lf.StateFile.save(ctx, io.BytesIO(), [5])


def test_what_another_sampler_owns_is_not_taken_over() -> None:
    sampler = lf.Sampler.top_k(3)
    with pytest.raises(lf.errors.SamplerError, match="belongs to another object"):
        lf.Sampler(sampler.ptr)
    assert sampler.name == "top-k"


def test_flags_of_calls(tiny_model: Path) -> None:
    with lf.Model.load(tiny_model) as model, model.context(n_ctx=64) as ctx:
        batch = lf.BatchExt(ctx)
        with pytest.raises(ArgumentTypeError, match="output"):
            batch.add_token(5, pos=0, output=ARRAY)  # type: ignore[arg-type]
        assert len(batch) == 0
        batch.add_token(5, pos=0, output=True)
        with pytest.raises(ArgumentTypeError, match="encode"):
            ctx.process(batch, encode=ARRAY)  # type: ignore[arg-type]
        with lf.ChatSession(model) as chat, pytest.raises(ArgumentTypeError, match="stream"):
            chat.say("hi", stream=ARRAY)  # type: ignore[call-overload]
