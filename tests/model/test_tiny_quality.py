"""The shipped model keeps what it promises: measured against the grammar that made its texts."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

import llama_ffi as lf
from examples.train_tiny import corpus, evaluate
from examples.train_tiny.grammar import render

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def data() -> corpus.Corpus:
    return corpus.load()


@pytest.fixture(scope="module")
def model() -> Iterator[lf.Model]:
    with lf.Model.load(lf.tiny_model_path(), n_gpu_layers=0) as loaded:
        yield loaded


def test_the_file_is_what_the_other_parts_lean_on(model: lf.Model) -> None:
    assert lf.tiny_model_path().stat().st_size <= 6_000_000
    assert model.metadata["general.architecture"] == "llama"
    assert model.n_embd % 256 == 0
    assert model.n_embd // model.n_head >= 32
    assert model.n_ctx_train >= 512
    for key in ("general.name", "general.author", "general.license", "tokenizer.chat_template"):
        assert model.metadata[key]


def test_the_vocabulary_falls_back_to_bytes_and_has_its_control_tokens(model: lf.Model) -> None:
    vocab = model.vocab
    assert [vocab.text(t) for t in (vocab.bos, vocab.eos, vocab.eot)] == ["<s>", "</s>", "<|im_end|>"]
    assert vocab.is_eog(vocab.eos)
    assert vocab.is_eog(vocab.eot)
    for text in ("Ünïcödé 😀 9*7\n\ttabs", "x" * 40):
        tokens = vocab.tokenize(text, add_special=False)
        assert vocab.detokenize(tokens) == text
    turn = vocab.tokenize("<|im_start|>user<|im_sep|>", add_special=False, parse_special=True)
    assert len(turn) == 3
    assert vocab.is_control(turn[0])
    assert vocab.is_control(turn[2])


def test_the_chat_template_is_one_that_llama_cpp_knows(model: lf.Model) -> None:
    ffi, lib = lf.raw.ffi, lf.raw.lib
    texts = [ffi.new("char[]", text) for text in (b"system", b"Be kind.", b"user", b"hi")]
    messages = ffi.new("struct llama_chat_message[]", [texts[:2], texts[2:]])
    buffer = ffi.new("char[]", 1000)
    template = model.metadata["tokenizer.chat_template"].encode()
    length = lib.llama_chat_apply_template(template, messages, 2, True, buffer, 1000)
    assert ffi.buffer(buffer, length)[:].decode() == (
        "<|im_start|>system<|im_sep|>Be kind.<|im_end|><|im_start|>user<|im_sep|>hi<|im_end|>"
        "<|im_start|>assistant<|im_sep|>"
    )


def test_llama_cpp_cuts_each_text_of_the_grammars_into_its_words(
    model: lf.Model, data: corpus.Corpus
) -> None:
    rng = random.Random(21)
    for _ in range(300):
        words = data.stories.sample(rng).words
        assert model.vocab.tokenize(render(words), add_special=True) == data.document_start(words)
        words = data.chats.sample(rng).words
        text = render(words).replace("> ", ">").replace(" <", "<")
        assert model.vocab.tokenize(text, add_special=True, parse_special=True) == data.document_start(words)


def test_held_out_perplexity_is_close_to_the_grammars_own(model: lf.Model, data: corpus.Corpus) -> None:
    fit = evaluate.measure_stories(model, data, 80, seed=1)
    assert fit.grammar >= 0.75, "the mean surprise of these very stories under the grammar"
    assert fit.ratio <= 1.15, fit


def test_most_sampled_stories_are_stories_of_the_grammar(model: lf.Model, data: corpus.Corpus) -> None:
    share = evaluate.sample_stories(model, data, 100, temp=0.7, seed=1000)
    assert share.accepted >= 85, share.refused[:3]


def test_chats_end_with_the_end_of_turn_token(model: lf.Model, data: corpus.Corpus) -> None:
    share = evaluate.sample_chats(model, data, 50, temp=0.7, seed=2000)
    assert share.ended == share.count, share.refused[:3]
    assert share.accepted >= 40, share.refused[:3]


def test_the_readme_questions_get_sensible_answers(model: lf.Model) -> None:
    prompt = "<|im_start|>user<|im_sep|>What colour is grass?<|im_end|><|im_start|>assistant<|im_sep|>"
    answer = "".join(lf.generate(prompt, model=model, temp=0, max_tokens=32, parse_special=True))
    assert answer.strip() == "Grass is green."
    story = "".join(lf.generate("Once upon a time", model=model, temp=0, max_tokens=128))
    assert story.strip().endswith(".")
    assert len(story.split()) > 30
