"""Sessions: texts that grow, go back, fork, are saved, and go on as if nothing had happened."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi import testing
from llama_ffi.errors import (
    ArgumentTypeError,
    ClosedError,
    ContextFullError,
    InvalidArgumentError,
    StateMismatchError,
    TokenRangeError,
    UnsupportedError,
)

from .conftest import STORY
from .test_architectures import UNKNOWN_FORMS

pytestmark = pytest.mark.model

OPTIONS: dict[str, Any] = {"n_ctx": 256, "n_threads": 1, "temp": 0.8, "seed": 7}
KINDS = ["llama", "gemma3", "mamba", "rwkv6", "jamba", "deepseek2", "llama-moe", "gpt2"]


@pytest.fixture
def session(model: lf.Model) -> Iterator[lf.Session]:
    with model.session(**OPTIONS) as made:
        yield made


def logits(session: lf.Session) -> Any:
    """Return the logits behind the text of a session, by way of a fork that is thrown away."""
    with session.fork() as fork:
        for _ in fork.generate(1):
            break
        return fork.context.logits(-1)


def test_feed_and_generate(session: lf.Session) -> None:
    session.feed("Once upon a time")
    text = "".join(session.generate(12))
    assert text
    assert session.text == "Once upon a time" + text
    stats = session.stats
    assert stats.generated_tokens == 12
    assert stats.prompt_tokens == len(session.tokens) - 12 - 1
    assert stats.generated_tokens_per_second > 0 < stats.prompt_tokens_per_second


def test_equals_generate(model: lf.Model, session: lf.Session) -> None:
    expected = "".join(lf.generate(STORY, model=model, max_tokens=40, temp=0.8, seed=7, n_threads=1))
    session.feed(STORY)
    pieces = [*session.generate(13), *session.generate(1), *session.generate(26)]
    assert "".join(pieces) == expected


def test_left_in_the_middle(session: lf.Session) -> None:
    session.feed(STORY)
    before = len(session.tokens)
    for count, _ in enumerate(session.generate(50)):
        if count == 4:
            break
    assert len(session.tokens) == before + 5
    assert session.text.startswith(STORY)
    assert "".join(session.generate(3))


def test_stop_texts(session: lf.Session) -> None:
    session.feed("Once upon a time")
    generation = session.generate(100, stop=["."])
    text = "".join(generation)
    assert "." not in text
    assert generation.finish_reason == "stop"
    assert session.text.endswith("."), "what was chosen is in the text"


def test_an_empty_session_begins_by_itself(session: lf.Session, model: lf.Model) -> None:
    assert "".join(session.generate(4))
    assert session.tokens[0] == model.vocab.bos


def test_on_token(session: lf.Session) -> None:
    seen: list[int] = []
    session.feed(STORY, on_token=seen.append)
    assert seen == session.tokens
    session.feed([5, 6], on_token=seen.append)
    assert seen == session.tokens


# --- going back ---


@pytest.mark.parametrize("kind", KINDS)
def test_rewind_then_feed_equals_feeding_at_once(kind: str) -> None:
    with testing.random_model(kind) as model:
        text = [3 + index % 40 for index in range(20)]
        with model.session(**OPTIONS) as session, model.session(**OPTIONS) as cold:
            session.feed([*text[:12], 60, 61, 62])
            session.rewind(3)
            assert session.tokens == text[:12]
            session.feed(text[12:])
            cold.feed(text)
            assert session.tokens == cold.tokens
            error = np.mean((logits(session) - logits(cold)) ** 2) / np.mean(logits(cold) ** 2)
            assert error <= 1e-6


def test_rewind_all_and_too_much(session: lf.Session) -> None:
    session.feed(STORY)
    with pytest.raises(InvalidArgumentError, match="as many as the text has"):
        session.rewind(10**6)
    session.rewind(len(session.tokens))
    assert session.tokens == []
    session.feed(STORY)
    assert session.text == STORY


def test_prompt_keeps_what_is_common(session: lf.Session, model: lf.Model) -> None:
    assert session.prompt(STORY) == 0
    text = "".join(session.generate(8))
    again = session.prompt(STORY)
    assert again == len(model.vocab.tokenize(STORY)) - 1
    assert "".join(session.generate(8)) == text, "warm equals cold"
    assert session.prompt("Once upon a hill") > 2
    assert session.text == "Once upon a hill"
    assert session.stats.cached_tokens > again


# --- forks ---


@pytest.mark.parametrize("n_forks", [0, 2])
@pytest.mark.parametrize("kind", ["llama", "mamba", "jamba"])
def test_forks_go_on_by_themselves(kind: str, n_forks: int) -> None:
    with testing.random_model(kind) as model, model.session(**OPTIONS, n_forks=n_forks) as session:
        session.feed([3, 4, 5, 6, 7])
        with session.fork() as one, session.fork() as two, session.fork() as three:
            assert (one.context is session.context) == bool(n_forks)
            assert three.context is not session.context, "there are two"
            texts = ["".join(each.generate(10)) for each in (session, one, two, three)]
            assert len(set(texts)) == 1, "they have the same sampler state"
            one.rewind(5)
            assert len(two.tokens) == 15
            first, second = one.generate(6), two.generate(6)
            mixed = [next(first, ""), next(second, ""), *first, *second]
            assert mixed
            assert len(session.tokens) == 15


def test_the_context_goes_with_the_last_one(model: lf.Model) -> None:
    session = model.session(**OPTIONS, n_forks=1)
    fork = session.fork()
    session.feed(STORY)
    session.close()
    fork.feed("Joe")
    assert fork.text == "Joe"
    fork.close()
    assert fork.context.closed
    fork.close()


# --- another day ---


@pytest.mark.parametrize("temp", [0.0, 0.9])
@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_session_goes_on_the_same(kind: str, temp: float, tmp_path: Path) -> None:
    options = {**OPTIONS, "temp": temp}
    path = tmp_path / "x.session"
    with testing.random_model(kind) as model:
        with model.session(**options) as session:
            session.feed([3, 4, 5, 6, 7, 8, 9])
            list(session.generate(9))
            session.save(path)
            list(session.generate(64))
            expected = session.tokens
        with model.session(**options) as session:
            session.feed([9, 9, 9])
            session.load(path)
            list(session.generate(64))
            assert session.tokens == expected


def test_in_a_new_process(model: lf.Model, tmp_path: Path) -> None:
    path = tmp_path / "x.session"
    program = """
import sys, llama_ffi as lf
model = lf.Model.load(lf.tiny_model_path())
with model.session(n_ctx=256, n_threads=1, temp=0.8, seed=7) as s:
    s.load(sys.argv[1])
    list(s.generate(64))
    print(s.tokens)
"""
    with model.session(**OPTIONS) as session:
        session.feed(STORY)
        list(session.generate(20))
        session.save(path)
        list(session.generate(64))
        done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True)
        assert done.stdout == f"{session.tokens}\n", done.stderr


WRITER = """
import sys, llama_ffi as lf
kind, temp, path = sys.argv[1], float(sys.argv[2]), sys.argv[3]
model = lf.testing.random_model(kind)
with model.session(n_ctx=256, n_threads=1, temp=temp, seed=7) as session:
    session.feed([3, 4, 5, 6, 7, 8, 9])
    list(session.generate(9))
    session.save(path)
"""


@pytest.mark.slow
@pytest.mark.parametrize("temp", [0.0, 0.9])
@pytest.mark.parametrize("kind", testing.kinds())
def test_every_kind_goes_on_in_another_process(kind: str, temp: float, tmp_path: Path) -> None:
    """The session is fed and saved by a process of its own, and goes on for 64 tokens in this one."""
    path = tmp_path / "x.session"
    options = {**OPTIONS, "temp": temp}
    with testing.random_model(kind) as model:
        try:
            session = model.session(**options)
        except UnsupportedError:
            return  # an encoder
        with session:
            session.feed([3, 4, 5, 6, 7, 8, 9])
            list(session.generate(9))
            if kind in UNKNOWN_FORMS:
                with pytest.raises(UnsupportedError, match="can't be checked"):
                    session.save(path)
                return
            session.save(path)
            list(session.generate(64))
            expected = session.tokens
        path.unlink()
        done = subprocess.run(
            [sys.executable, "-c", WRITER, kind, str(temp), path], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        with model.session(**options) as session:
            session.load(path)
            list(session.generate(64))
            assert session.tokens == expected


def test_a_grammar_and_penalties_are_restored(model: lf.Model, tmp_path: Path) -> None:
    def chain() -> lf.SamplerChain:
        made = lf.SamplerChain().add_grammar(model.vocab, 'root ::= "a" [a-z ]* "."', "root")
        return made.add_penalties(len(model.vocab), 64, 1.3).add_temp(0.9).add_dist(3)

    path = tmp_path / "x"
    with model.session(n_ctx=256, n_threads=1, sampler=chain()) as session:
        session.feed("Once")
        list(session.generate(10))
        session.save(path)
        list(session.generate(30))
        expected = session.tokens
    with model.session(n_ctx=256, n_threads=1, sampler=chain()) as session:
        session.load(path)
        list(session.generate(30))
        assert session.tokens == expected


def test_samplers_that_can_not_be_restored_say_so(model: lf.Model, tmp_path: Path) -> None:
    def chain() -> lf.SamplerChain:
        return lf.SamplerChain().add_mirostat_v2(5, 5.0, 0.1)

    path = tmp_path / "x"
    with model.session(n_ctx=256, n_threads=1, sampler=chain()) as session:
        session.feed(STORY)
        session.save(path)
        session.load(path)
        list(session.generate(3))
        session.save(path)
        with pytest.raises(UnsupportedError, match="mirostat-v2 can't be restored"):
            session.load(path)


@pytest.mark.parametrize(
    ("changed", "field"), [({"seed": 8}, "seed"), ({"temp": 0.0}, "sampler"), ({"type_k": "f32"}, "type_k")]
)
def test_another_session(model: lf.Model, tmp_path: Path, changed: dict[str, Any], field: str) -> None:
    path = tmp_path / "x"
    with model.session(**OPTIONS) as session:
        session.feed(STORY)
        session.save(path)
    with model.session(**(OPTIONS | changed)) as other:
        other.feed("Joe")
        with pytest.raises(StateMismatchError, match=f"^{field}:"):
            other.load(path)
        assert other.text == "Joe"


def test_a_state_that_is_no_session(model: lf.Model, session: lf.Session, tmp_path: Path) -> None:
    session.feed(STORY)
    lf.StateFile.save(session.context, tmp_path / "x")
    with pytest.raises(StateMismatchError, match=r"^session:"):
        session.load(tmp_path / "x")


# --- full ---


def test_a_full_context_is_an_error() -> None:
    with testing.random_model("llama") as model, model.session(**OPTIONS) as session:
        with pytest.raises(ContextFullError, match="would have 300 tokens, the context holds 256"):
            session.feed([5] * 300)
        assert session.tokens == []
        session.feed([5] * 250)
        with pytest.raises(ContextFullError, match=r"has 257 tokens, and 43 more were wanted.*keep="):
            list(session.generate(50))
        assert len(session.tokens) == 257
        session.rewind(100)
        list(session.generate(-1))
        assert len(session.tokens) == 257


@pytest.mark.parametrize("kind", ["llama", "mamba", "deepseek2"])
def test_context_shift(kind: str) -> None:
    with testing.random_model(kind) as model, model.session(**OPTIONS, keep=4) as session:
        session.feed([3, 4, 5, 6, 7, 8])
        generation = session.generate(600)
        list(generation)
        assert generation.finish_reason in ("length", "stop")
        if generation.finish_reason == "length":
            assert generation.usage.completion_tokens == 600
        assert session.tokens[:4] == [3, 4, 5, 6]
        assert len(session.tokens) <= 257
        session.feed([9] * 200)
        assert session.tokens[-200:] == [9] * 200


# --- wrong use ---


def test_wrong_arguments(model: lf.Model, session: lf.Session, tmp_path: Path) -> None:
    with pytest.raises(TokenRangeError):
        session.feed([10**7])
    with pytest.raises(ArgumentTypeError):
        session.feed(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError):
        session.generate(-2)
    with pytest.raises(ArgumentTypeError):
        lf.Session(model, sampler="greedy")  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError):
        lf.Session("model.gguf")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError):
        lf.Session(testing.random_model("t5"))
    with pytest.raises(UnsupportedError):
        lf.Session(testing.random_model("bert"))
    assert session.tokens == []
    session.close()
    session.close()
    for call in (
        lambda: session.feed("x"),
        session.generate,
        lambda: session.tokens,
        session.fork,
        lambda: session.save(tmp_path / "x"),
    ):
        with pytest.raises(ClosedError):
            call()
