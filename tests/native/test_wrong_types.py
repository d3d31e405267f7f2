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
TABLE = np.ones((2, 3), np.float32)
DATES = np.array(["2020-01-01"], "M8[D]")
HUGE = 10**5000
"""Python has no text for it: more than 4,300 digits."""
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


def writer() -> lf.gguf.GgufWriter:
    return lf.gguf.GgufWriter("never written.gguf")


def rows() -> lf.Batch:
    return lf.Batch(4, n_embd=3)


def candidates() -> lf.Candidates:
    return lf.Candidates(ARRAY)


CALLS: list[tuple[str, Callable[[], Any]]] = [
    ("shape", lambda: lf.testing.random_weights("a", 3, 0)),  # type: ignore[arg-type]
    ("extent of shape", lambda: lf.testing.random_weights("a", ("b",), 0)),  # type: ignore[arg-type]
    ("extent of shape", lambda: lf.testing.random_weights("a", (-1, 2), 0)),
    (r"shape is \(\); tensors have 1 to 4", lambda: lf.testing.random_weights("a", (), 0)),
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
    (r"logits must be .* array of shape \(2, 3\)", lambda: lf.Batch.from_tokens([5], logits=TABLE)),
    (r"logits must be .* array of shape \(2, 3\)", lambda: rows().set_embeddings(TABLE[:1], logits=TABLE)),
    ("logits must be .* list", lambda: lf.Batch.from_tokens([5, 6], logits=[ARRAY, ARRAY])),
    ("tokens must be integers", lambda: lf.Batch.from_tokens(DATES)),
    ("keep", lambda: candidates().keep([[1], [1, 2]])),
    ("2 ids for 3 logits", lambda: lf.Candidates(ARRAY, ids=[1, 2])),
    ("logits", lambda: lf.Candidates([10**5000])),
    ("there is no architecture", lambda: lf.testing.random_model(ARRAY)),  # type: ignore[arg-type]
    ("type of 'a'", lambda: lf.gguf.GgufContext().set("a", 1, ARRAY)),  # type: ignore[arg-type]
    ("an object of type int too large", lambda: lf.gguf.GgufContext({"a": HUGE})),
    ("too large for f32", lambda: lf.gguf.GgufContext().set("a", HUGE, "f32")),
    ("an object of type int too large", lambda: writer().add("a", HUGE)),
    ("an object of type int too large", lambda: writer().add("a", [1, HUGE])),
    ("can't be f32", lambda: writer().add("a", HUGE, "f32")),
    ("no type of metadata", lambda: writer().add("a", 1, ARRAY)),  # type: ignore[arg-type]
    ("too deep", lambda: writer().add("a", DEEP)),
    ("only_meta", lambda: lf.gguf.GgufContext().write("a", only_meta=ARRAY)),  # type: ignore[arg-type]
    ("in one piece", lambda: lf.gguf.GgufContext.from_bytes(memoryview(b"abcd")[::2])),
    ("path must be a list", lambda: lf.Model.load(memoryview(np.array(3)))),  # type: ignore[arg-type]
    ("n_gpu_layers", lambda: lf.Model.load(lf.tiny_model_path(), n_gpu_layers=TABLE)),  # type: ignore[arg-type]
    ("a key of kv_overrides", lambda: lf.Model.load(lf.tiny_model_path(), kv_overrides={1: 1})),  # type: ignore[dict-item]
    ("a key of kv_overrides", lambda: lf.plan_layers(lf.tiny_model_path(), kv_overrides={1: 1})),  # type: ignore[dict-item]
    ("a key of kv_overrides", lambda: lf.estimate_memory(lf.tiny_model_path(), kv_overrides={1: 1})),  # type: ignore[dict-item]
    ("isolate is 1e", lambda: lf.Model.load(lf.tiny_model_path(), isolate=1e30)),
    ("timeout is 1e", lambda: lf.rpc.worker("127.0.0.1:1", timeout=1e30)),
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


@pytest.mark.parametrize("argument", ["dry_run", "tensor_types", "kv_overrides", "max_buf_size"])
def test_arguments_of_quantize(tiny_model: Path, tmp_path: Path, argument: str) -> None:
    with pytest.raises(ArgumentTypeError, match=argument):
        lf.quantize(tiny_model, tmp_path / "out.gguf", "copy", **{argument: TABLE})  # type: ignore[arg-type]


def test_text_that_has_no_utf8(tiny_model: Path, tmp_path: Path) -> None:
    """What can't be encoded is refused by name, wherever a program gives a text or a name."""
    bad = "a\ud800b"
    with lf.Model.load(tiny_model) as model, model.context(n_ctx=64) as ctx:
        ctx.decode(lf.Batch.from_tokens([5]))
        for call in (
            lambda: lf.StateFile.save(ctx, tmp_path / bad, [5]),
            lambda: lf.PromptCache.save(ctx, tmp_path / bad, [5]),
            lambda: model.save_to_file(tmp_path / bad),
            lambda: lf.gguf.write(tmp_path / bad, {"general.architecture": "llama"}, {}),
            lambda: lf.log.to_file(tmp_path / bad),
            lambda: lf.StateStore(tmp_path / bad),
            lambda: lf.quantize(tiny_model, tmp_path / bad, "copy"),
            lambda: lf.ImportanceMatrix({}).save(tmp_path / bad),
        ):
            with pytest.raises(InvalidArgumentError, match="no file name can have"):
                call()
        with pytest.raises(InvalidArgumentError, match="NUL"):
            lf.StateFile.save(ctx, tmp_path / "a\0b", [5])
        for method in (lf.Sampler.regex, lf.Sampler.lark, lf.Sampler.grammar):
            with pytest.raises((InvalidArgumentError, lf.errors.GrammarError), match="surrogate"):
                method(model.vocab, bad)
        with pytest.raises(lf.errors.GrammarError, match="root"):
            lf.Sampler.grammar(model.vocab, 'root ::= "a"', b"\xff")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_flags_as_arrays_still_count(tiny_model: Path) -> None:
    assert lf.Batch.from_tokens([5, 6], logits=np.array([True, False])).outputs == [True, False]
    with lf.Model.load(tiny_model) as model:
        assert model.vocab.tokenize("a", as_array=np.True_).dtype == np.int32  # type: ignore[call-overload]
        with pytest.raises(ArgumentTypeError, match="as_array"):
            model.vocab.tokenize("a", as_array=ARRAY)  # type: ignore[call-overload]
        with pytest.raises(ArgumentTypeError, match="messages"):
            lf.ChatSession(model, messages=3)  # type: ignore[arg-type]
        with pytest.raises(ArgumentTypeError, match="messages"):
            lf.chat.apply_template(model, np.array(3))  # type: ignore[arg-type]


def test_a_log_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(lf.errors.LogFileError, match=r"nothing can be appended to .*directory") as caught:
        lf.log.to_file(tmp_path)
    assert isinstance(caught.value, OSError)
    with pytest.raises(OSError, match="No such file"):
        lf.log.to_file(tmp_path / "no" / "folder")


def test_what_the_logs_function_raises_comes_out_of_the_call_that_logs() -> None:
    """It came out of the next call that has to do with logs, whatever that was."""

    def raises(_level: int, _piece: bytes) -> None:
        raise RuntimeError("from the log's function")

    chain, pool = lf.SamplerChain().add_greedy(), lf.ThreadPool(1)
    with lf.testing.random_model("llama") as model, model.context(n_ctx=32, n_threads=1) as ctx:
        calls: list[Callable[[], Any]] = [
            chain.perf_print,
            lambda: ctx.set_causal_attn(False),
            lambda: ctx.set_embeddings(True),
            lambda: ctx.set_n_threads(1),
            lambda: ctx.attach_threadpool(pool),
            ctx.detach_threadpool,
            lambda: ctx.set_loras([]),
            lambda: ctx.set_control_vector(None),
            lambda: ctx.set_sampler(0, chain),
        ]
        for call in calls:
            lf.log.forward(raises)
            try:
                with pytest.raises(RuntimeError, match="from the log's function"):
                    call()
            finally:
                lf.log.forward(None)
            lf.testing.random_model("llama").close()
