"""Documents as token sequences: stories and chats, packed for training, with held-out stories kept apart."""

from __future__ import annotations

import hashlib
import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from . import vocabulary
from .chats import chat_grammar
from .grammar import Grammar, Text
from .stories import story_grammar

Pair = tuple["array[int]", "array[int]"]  # tokens, and the token to learn at each of them

CHAT_SHARE = 0.4  # of the documents; about a fifth of the tokens
HELD_OUT = 20  # one story in so many is never trained on


def is_held_out(text: Text) -> bool:
    """Tell whether a story belongs to the held-out ones, by a hash of what was chosen for its slots.

    The slots are all remembered words: who, where, which thing, animal, friend. So no combination of
    them occurs both in training and in the held-out set.
    """
    digest = hashlib.sha256(repr(text.slots).encode()).digest()
    return digest[0] * 256 + digest[1] < 65536 // HELD_OUT


@dataclass(frozen=True)
class Corpus:
    """Hold the grammars and the vocabulary that belongs to them."""

    stories: Grammar
    chats: Grammar
    vocab: vocabulary.Vocabulary

    def story(self, rng: random.Random, held_out: bool) -> Text:
        """Return a random story from the training side or from the held-out side."""
        while True:
            text = self.stories.sample(rng)
            if is_held_out(text) == held_out:
                return text

    def document_start(self, words: Sequence[str]) -> list[int]:
        """Return the begin token and the tokens of the words."""
        return [self.vocab.id(vocabulary.BEGIN), *self.vocab.encode(words)]

    def document(self, text: Text) -> list[int]:
        """Return the tokens of a whole document: begin, words, end."""
        return [*self.document_start(text.words), self.vocab.id(vocabulary.FINISH)]

    def sequence(self, rng: random.Random, length: int) -> Pair:
        """Return `length` tokens of packed training documents, and the token to learn at each of them.

        After the begin token a chat's first token is not taught: a story's is, drawn like any other. So an
        empty prompt always begins a story, and chats are reached through the chat template.
        """
        tokens: list[int] = []
        labels: list[int] = []
        begin = self.vocab.id(vocabulary.BEGIN)
        while len(tokens) < length:
            story = self.document(self.story(rng, held_out=False))
            document = story
            if rng.random() < CHAT_SHARE:
                document = self.document(self.chats.sample(rng))
            tokens += document
            labels += [story[1], *document[2:], begin]
        return array("i", tokens[:length]), array("i", labels[:length])

    def held_out_sequence(self, rng: random.Random, length: int) -> Pair:
        """Return `length` tokens of packed held-out stories and the next token of each."""
        tokens: list[int] = []
        while len(tokens) <= length:
            tokens += self.document(self.story(rng, held_out=True))
        return array("i", tokens[:length]), array("i", tokens[1 : length + 1])


def load() -> Corpus:
    """Return the corpus; takes some seconds, because the vocabulary is built from the grammars."""
    stories, chats = story_grammar(), chat_grammar()
    return Corpus(stories, chats, vocabulary.build({*stories.vocabulary(), *chats.vocabulary()}))
