"""Lazy grammars: waiting for a trigger."""

from __future__ import annotations

import pytest

import llama_ffi as lf
from llama_ffi.errors import (
    GrammarError,
    TokenRangeError,
)
from tests.native.samplers import YES_OR_NO, token_of

pytestmark = pytest.mark.native


def test_lazy_grammars(ready: lf.Context) -> None:
    vocab = ready.model.vocab

    def accept(chain: lf.SamplerChain, text: str) -> None:
        for token in vocab.tokenize(text, add_special=False):
            chain.accept(token)

    def finish(chain: lf.SamplerChain) -> bytes:
        text = b""
        while not vocab.is_eog(token := chain.sample(ready)):
            text += vocab.piece(token)
        return text

    pattern = lf.SamplerChain().add_grammar_lazy(
        vocab, 'root ::= "[yes" | "[no"', trigger_patterns=[r"answer: (\[)"]
    )
    pattern.add_top_k(1000).add_dist(4)
    assert pattern.names[0] == "grammar"
    copy = pattern.clone()
    accept(pattern, "some text before the answer: [")
    assert finish(pattern) in (b"yes", b"no")
    pattern.reset()
    accept(pattern, "anything goes again, [maybe")
    accept(copy, "this one is still waiting")
    with pytest.raises(GrammarError, match="refuses"):
        accept(pattern, "answer: [x")
    late = lf.SamplerChain().add_grammar_lazy(vocab, 'root ::= "abc"', trigger_patterns=["(x)..."])
    accept(late, "wx")
    accept(late, "yz"[:1])
    with pytest.raises(GrammarError, match="the text that triggered it"):
        accept(late, "zzzz")

    trigger = token_of(vocab, b"yes")
    by_token = lf.SamplerChain().add_grammar_lazy(vocab, 'root ::= [ ]? "yes" "!"', trigger_tokens=[trigger])
    by_token.add_greedy()
    accept(by_token, "no no")
    by_token.accept(trigger)
    assert finish(by_token) == b"!"

    with pytest.raises(GrammarError, match="regular expression"):
        lf.SamplerChain().add_grammar_lazy(vocab, YES_OR_NO, trigger_patterns=["(("])
    with pytest.raises(TokenRangeError):
        lf.SamplerChain().add_grammar_lazy(vocab, YES_OR_NO, trigger_tokens=[32_000])


def test_a_long_wait_for_a_trigger(random_model: lf.Model) -> None:
    """llama.cpp's std::regex overflows the stack on this."""
    chain = lf.SamplerChain().add_grammar_lazy(
        random_model.vocab, YES_OR_NO, trigger_patterns=[r"^[\s\S]*?(xyzzy)[\s\S]*"]
    )
    word = random_model.vocab.tokenize("everything", add_special=False)[-1]
    for _ in range(300):
        chain.accept(word)
