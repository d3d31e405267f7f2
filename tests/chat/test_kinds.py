"""Conversations with models of every kind of memory: a turn that goes on answers like a fresh chat."""

from __future__ import annotations

import pytest

import llama_ffi as lf

pytestmark = pytest.mark.native


@pytest.mark.parametrize(
    "kind", ["llama", "gemma2", "mamba", "jamba", "falcon-h1", "rwkv6", "t5", "deepseek4"]
)
def test_a_conversation_equals_a_fresh_chat(kind: str) -> None:
    options = {"temp": 0, "max_tokens": 6}
    with lf.testing.random_model(kind, vocab="bpe") as model:
        with lf.ChatSession(model, template="chatml", n_ctx=512, n_threads=1) as session:
            for text in ("Hello", "What?", "Hello again"):
                question = {"role": "user", "content": text}
                fresh = model.chat(
                    [*session.messages, question], template="chatml", n_ctx=512, n_threads=1, **options
                )
                reply = session.say(text, **options)
                assert reply.content == fresh.content
                assert reply.finish_reason == fresh.finish_reason
                assert reply.usage.prompt_tokens == fresh.usage.prompt_tokens


@pytest.mark.parametrize("kind", ["bert", "reranker", "llada"])
def test_models_that_write_no_text_say_so(kind: str) -> None:
    with lf.testing.random_model(kind) as model:
        with pytest.raises(lf.errors.UnsupportedError, match="no memory"):
            lf.ChatSession(model, template="chatml")
        with pytest.raises(lf.errors.UnsupportedError, match="no memory"):
            model.chat([{"role": "user", "content": "hi"}], template="chatml")
