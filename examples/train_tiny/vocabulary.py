"""The vocabulary: every word of the grammars is exactly one token, any other text falls back to bytes.

llama.cpp's SentencePiece tokenizer starts from single characters and joins, again and again, the two
neighbours whose joint text is a token with the best score. So a word becomes one token only if such joins
lead to it, which is why the vocabulary holds the intermediate pieces of a byte-pair encoding too.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SPACE = "\u2581"
UNKNOWN, BEGIN, FINISH = "<unk>", "<s>", "</s>"
CONTROL = ("<|im_start|>", "<|im_sep|>", "<|im_end|>")
PUNCTUATION = ".,!?"

# token types as llama.cpp's file format numbers them
TYPE_NORMAL, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_BYTE = 1, 2, 3, 6


@dataclass(frozen=True)
class Vocabulary:
    """Hold the tokens in order of their ids, with a score and a type each."""

    tokens: tuple[str, ...]
    scores: tuple[float, ...]
    types: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ids", {token: i for i, token in enumerate(self.tokens)})

    def id(self, token: str) -> int:
        """Return the id of a token given by its text."""
        return self._ids[token]  # type: ignore[attr-defined, no-any-return]

    def encode(self, words: Iterable[str]) -> list[int]:
        """Return one id per word of a grammar's text."""
        return [self.id(w if w in CONTROL or w in PUNCTUATION else SPACE + w) for w in words]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Return the words of a list of ids, the inverse of `encode`."""
        return [self.tokens[i].removeprefix(SPACE) for i in ids]


def build(words: Iterable[str]) -> Vocabulary:
    """Return the vocabulary in which each of the words is one token.

    Args:
        words: words, punctuation marks and control tokens of the grammars.
    """
    plain = sorted({SPACE + w for w in words if w not in CONTROL and w not in PUNCTUATION})
    merged = _merges(plain)
    letters = sorted(
        {c for word in plain for c in word} | set("abcdefghijklmnopqrstuvwxyz") | set(PUNCTUATION)
    )
    tokens = [
        UNKNOWN,
        BEGIN,
        FINISH,
        *CONTROL,
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *merged,
        *letters,
    ]
    types = [TYPE_UNKNOWN, *[TYPE_CONTROL] * (2 + len(CONTROL)), *[TYPE_BYTE] * 256]
    types += [TYPE_NORMAL] * (len(tokens) - len(types))
    special = len(CONTROL) + 3 + 256
    scores = [0.0] * special + [-float(rank) for rank in range(len(tokens) - special)]
    return Vocabulary(tuple(tokens), tuple(scores), tuple(types))


def _merges(words: Sequence[str]) -> list[str]:
    """Return the texts of the merges, best first, that lead to one piece per word."""
    ranks: dict[str, int] = {}
    state = {word: list(word) for word in words}
    pairs: Counter[str] = Counter()
    for pieces in state.values():
        pairs.update(_pairs(pieces))
    while pairs:
        best = min(pairs, key=lambda text: (-pairs[text], text))
        ranks[best] = len(ranks)
        for word, pieces in state.items():
            if best in word:
                state[word] = _join(pieces, ranks)
                pairs.subtract(_pairs(pieces))
                pairs.update(_pairs(state[word]))
        pairs = +pairs  # without those that are gone
    return list(ranks)


def _pairs(pieces: list[str]) -> list[str]:
    """Return the joint texts of all neighbours."""
    return [a + b for a, b in itertools.pairwise(pieces)]


def _join(pieces: list[str], ranks: dict[str, int]) -> list[str]:
    """Join neighbours while any pair is known, the best rank first, the leftmost of equals first."""
    while True:
        known = [(ranks[text], at) for at, text in enumerate(_pairs(pieces)) if text in ranks]
        if not known:
            return pieces
        _, at = min(known)
        pieces = [*pieces[:at], pieces[at] + pieces[at + 1], *pieces[at + 2 :]]
