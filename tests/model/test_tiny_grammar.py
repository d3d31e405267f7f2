"""The grammar behind the shipped model is big, measurable, and parses exactly what it makes."""

from __future__ import annotations

import math
import random

import pytest

from examples.train_tiny import corpus, vocabulary
from examples.train_tiny.chats import chat_grammar
from examples.train_tiny.grammar import Entry, Grammar, render, split_words
from examples.train_tiny.stories import story_grammar


@pytest.fixture(scope="module")
def stories() -> Grammar:
    return story_grammar()


@pytest.fixture(scope="module")
def data() -> corpus.Corpus:
    return corpus.load()


def test_a_small_grammar_is_measured_as_by_hand() -> None:
    names = tuple(Entry(w, "NAME", {"he": he}) for w, he in (("Ann", "she"), ("Bob", "he"), ("Cy", "he")))
    grammar = Grammar(
        {"NAME": names}, {"s": ["3* {a=NAME} saw {b=NAME} .", "{a=NAME} ran and {a.he} fell ."]}, "s"
    )
    entropy, length, count = grammar.stats()
    choice = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert entropy == pytest.approx(choice + 0.75 * math.log(6) + 0.25 * math.log(3))
    assert length == pytest.approx(0.75 * 4 + 0.25 * 6)
    assert count == 6 + 3
    assert grammar.log_prob(split_words("Ann saw Bob.")) == pytest.approx(math.log(0.75 / 6))
    assert grammar.log_prob(split_words("Cy ran and he fell.")) == pytest.approx(math.log(0.25 / 3))
    for wrong in ("Ann saw Ann .", "Cy ran and she fell .", "Ann saw Bob", "Ann saw Bob . ."):
        assert grammar.log_prob(wrong.split()) == -math.inf


def test_the_stories_are_no_toy(stories: Grammar) -> None:
    entropy, length, count = stories.stats()
    assert count >= 10**12
    assert len(stories.vocabulary()) >= 400
    assert entropy / (length + 1) >= 0.8, "nats per token, the end token counted"


def test_each_story_has_exactly_one_derivation_and_the_entropy_is_its_mean_surprise(stories: Grammar) -> None:
    rng = random.Random(11)
    surprises = []
    for _ in range(1500):
        words = stories.sample(rng).words
        found = stories.derivations(words)
        assert len(found) == 1, render(words)
        surprises.append(-found[0])
        assert 40 <= len(words) <= 110
    mean = sum(surprises) / len(surprises)
    spread = math.sqrt(sum((s - mean) ** 2 for s in surprises) / len(surprises))
    assert abs(mean - stories.stats()[0]) < 4 * spread / math.sqrt(len(surprises))


def test_changed_stories_are_rejected(stories: Grammar) -> None:
    rng = random.Random(12)
    words = stories.vocabulary()
    shorter = replaced = 0
    for _ in range(300):
        text = list(stories.sample(rng).words)
        at = rng.randrange(len(text))
        assert stories.log_prob(text[:at]) == -math.inf, "a beginning is no story"
        shorter += stories.log_prob([*text[:at], *text[at + 1 :]]) > -math.inf
        text[at] = rng.choice([w for w in words if w != text[at]])
        replaced += stories.log_prob(text) > -math.inf
    assert shorter <= 6, "only the word Early may be missing"
    assert replaced <= 15, "another word of the same class is right now and then, most words are wrong"


def test_a_wrong_name_is_rejected(stories: Grammar) -> None:
    text = (
        "Joe loves to dance . He is a kind boy . One sunny day Joe went to the park . There he saw a new red "
        "ball under a big tree . Joe wanted to kick the ball , so he smiled slowly and took it home . His "
        "mother was glad . Joe was proud and calm ."
    )
    assert stories.log_prob(text.split()) > -math.inf
    assert stories.log_prob(text.replace("Joe wanted", "Ben wanted").split()) == -math.inf
    assert stories.log_prob(text.replace("he saw", "she saw").split()) == -math.inf
    assert stories.log_prob(text.replace("kick", "eat").split()) == -math.inf
    assert stories.log_prob(text.replace("park", "cave").split()) == -math.inf


def test_text_and_words_convert_both_ways(stories: Grammar) -> None:
    rng = random.Random(13)
    for _ in range(200):
        words = stories.sample(rng).words
        assert tuple(split_words(render(words))) == words


def test_held_out_stories_share_no_slot_combination_with_the_training(data: corpus.Corpus) -> None:
    rng = random.Random(14)
    seen = {data.story(rng, held_out=False).slots for _ in range(4000)}
    kept = {data.story(rng, held_out=True).slots for _ in range(200)}
    assert not seen & kept
    share = sum(corpus.is_held_out(data.stories.sample(rng)) for _ in range(6000)) / 6000
    assert share == pytest.approx(1 / corpus.HELD_OUT, rel=0.25)


def test_each_word_is_one_token_of_its_own(data: corpus.Corpus) -> None:
    words = {*data.stories.vocabulary(), *data.chats.vocabulary()}
    ids = data.vocab.encode(sorted(words))
    assert len(set(ids)) == len(words)
    assert data.vocab.decode(ids) == sorted(words)
    assert len(set(data.vocab.tokens)) == len(data.vocab.tokens)


def test_packed_sequences_teach_stories_after_the_begin_token(data: corpus.Corpus) -> None:
    tokens, labels = data.sequence(random.Random(15), 4096)
    begin, turn = data.vocab.id(vocabulary.BEGIN), data.vocab.id("<|im_start|>")
    after = [(tokens[i + 1], labels[i]) for i in range(4095) if tokens[i] == begin]
    assert any(token == turn for token, _ in after), "chats are in the sequence"
    assert all(label != turn for _, label in after), "but never taught as a beginning"
    assert all(labels[i] == tokens[i + 1] for i in range(4095) if tokens[i] != begin)


def test_chats_end_with_the_end_of_turn_and_are_unambiguous() -> None:
    chats = chat_grammar()
    rng = random.Random(16)
    for _ in range(500):
        words = chats.sample(rng).words
        assert words[-1] == "<|im_end|>"
        assert len(chats.derivations(words)) == 1, words
