"""Probabilistic grammars whose texts can be sampled, parsed and measured exactly.

A grammar is a set of word classes and a set of rules. Each rule is a list of lines, and one line of a
rule is chosen by weight. A line is a sequence of

    word            itself (punctuation marks are words of their own)
    @rule           another rule
    [a b | 3* c]    one of several alternatives, weighted
    {CLASS}         a word of a class, all equally likely
    {name=CLASS}    the same, remembered as `name`; never equal to another remembered word of that class
    {name=x.list}   a word of a list that belongs to the remembered word `x`
    {name} {x.he}   the remembered word again, or one of its forms

All lists at one place have the same length. So the number of choices at a place does not depend on what
was chosen before, and entropy, expected length and number of derivations are plain sums and products.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

State = dict[str, "Entry"]
Bound = frozenset[tuple[str, str]]
Match = tuple[int, State, float]

_TOKEN = re.compile(r"\[|\]|\||@\w+|\{[^}]*\}|<\|\w+\|>|\d+\*|[.,!?]|[^\s\[\]|{}.,!?@<]+")


@dataclass(frozen=True, eq=False)
class Entry:
    """Hold one word of a class, its other forms and the lists that depend on it."""

    word: str
    kind: str
    forms: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)


@dataclass
class Stats:
    """Collect what a node contributes: nats, words, and where the remembered names can stand after it."""

    entropy: float
    length: float
    outcomes: dict[Bound, tuple[float, int]]


class Node:
    """Define what every part of a rule can do."""

    def sample(self, state: State, words: list[str], rng: random.Random) -> None:
        """Append a random text to `words` and remember choices in `state`."""
        raise TypeError("abstract")

    def match(self, words: Sequence[str], at: int, state: State) -> Iterator[Match]:
        """Yield (end, state, log-probability) of each way to read words[at:end]."""
        raise TypeError("abstract")

    def stats(self, bound: Bound) -> Stats:
        """Return entropy (nats), expected length (words) and number of derivations, all exact."""
        raise TypeError("abstract")


@dataclass
class Word(Node):
    """Stand for itself."""

    text: str

    def sample(self, state: State, words: list[str], rng: random.Random) -> None:
        words.append(self.text)

    def match(self, words: Sequence[str], at: int, state: State) -> Iterator[Match]:
        if at < len(words) and words[at] == self.text:
            yield at + 1, state, 0.0

    def stats(self, bound: Bound) -> Stats:
        return Stats(0.0, 1.0, {bound: (1.0, 1)})


@dataclass
class Recall(Node):
    """Repeat a remembered word, or one of its forms."""

    name: str
    form: str

    def _text(self, state: State) -> str:
        entry = state[self.name]
        return entry.forms[self.form] if self.form else entry.word

    def sample(self, state: State, words: list[str], rng: random.Random) -> None:
        words.append(self._text(state))

    def match(self, words: Sequence[str], at: int, state: State) -> Iterator[Match]:
        if at < len(words) and words[at] == self._text(state):
            yield at + 1, state, 0.0

    def stats(self, bound: Bound) -> Stats:
        if all(name != self.name for name, _ in bound):
            raise ValueError(f"{self.name!r} is used before it is chosen")
        return Stats(0.0, 1.0, {bound: (1.0, 1)})


@dataclass
class Pick(Node):
    """Choose an entry of a class, or of a list that hangs on a remembered entry."""

    name: str
    kind: str
    size: int
    entries: Mapping[str, Entry]
    owner: str = ""
    list_name: str = ""

    def _free(self, state: State) -> dict[str, Entry]:
        if self.owner:
            return {entry.word: entry for entry in state[self.owner].lists[self.list_name]}
        taken = {e.word for name, e in state.items() if name != self.name and e.kind == self.kind}
        if not self.name or not taken:
            return dict(self.entries)
        return {word: entry for word, entry in self.entries.items() if word not in taken}

    def sample(self, state: State, words: list[str], rng: random.Random) -> None:
        if self.owner:
            entry = rng.choice(state[self.owner].lists[self.list_name])
        else:
            entry = rng.choice(list(self._free(state).values()))
        if self.name:
            state[self.name] = entry
        words.append(entry.word)

    def match(self, words: Sequence[str], at: int, state: State) -> Iterator[Match]:
        if at >= len(words) or not (self.owner or words[at] in self.entries):
            return
        free = self._free(state)
        entry = free.get(words[at])
        if entry is not None:
            yield at + 1, {**state, self.name: entry} if self.name else state, -math.log(len(free))

    def stats(self, bound: Bound) -> Stats:
        size = self.size
        if self.name and not self.owner:
            size -= sum(kind == self.kind and name != self.name for name, kind in bound)
        after = bound
        if self.name:
            after = frozenset([(n, k) for n, k in bound if n != self.name] + [(self.name, self.kind)])
        return Stats(math.log(size), 1.0, {after: (1.0, size)})


@dataclass
class Series(Node):
    """Read parts one after the other."""

    parts: list[Node]

    def sample(self, state: State, words: list[str], rng: random.Random) -> None:
        for part in self.parts:
            part.sample(state, words, rng)

    def match(self, words: Sequence[str], at: int, state: State) -> Iterator[Match]:
        yield from self._match_from(0, words, at, state)

    def _match_from(self, index: int, words: Sequence[str], at: int, state: State) -> Iterator[Match]:
        if index == len(self.parts):
            yield at, state, 0.0
            return
        for end, after, logp in self.parts[index].match(words, at, state):
            for last, final, rest in self._match_from(index + 1, words, end, after):
                yield last, final, logp + rest

    def stats(self, bound: Bound) -> Stats:
        total = Stats(0.0, 0.0, {bound: (1.0, 1)})
        for part in self.parts:
            outcomes: dict[Bound, tuple[float, int]] = {}
            for before, (prob, count) in total.outcomes.items():
                step = part.stats(before)
                total.entropy += prob * step.entropy
                total.length += prob * step.length
                for after, (p, c) in step.outcomes.items():
                    old_p, old_c = outcomes.get(after, (0.0, 0))
                    outcomes[after] = old_p + prob * p, old_c + count * c
            total.outcomes = outcomes
        return total


@dataclass
class Choice(Node):
    """Choose one of several alternatives by weight."""

    weights: list[float]
    options: list[Node]

    def sample(self, state: State, words: list[str], rng: random.Random) -> None:
        rng.choices(self.options, self.weights)[0].sample(state, words, rng)

    def match(self, words: Sequence[str], at: int, state: State) -> Iterator[Match]:
        total = sum(self.weights)
        for weight, option in zip(self.weights, self.options, strict=True):
            for end, after, logp in option.match(words, at, state):
                yield end, after, logp + math.log(weight / total)

    def stats(self, bound: Bound) -> Stats:
        total = Stats(0.0, 0.0, {})
        weight_sum = sum(self.weights)
        for weight, option in zip(self.weights, self.options, strict=True):
            prob = weight / weight_sum
            step = option.stats(bound)
            total.entropy += prob * (step.entropy - math.log(prob))
            total.length += prob * step.length
            for after, (p, c) in step.outcomes.items():
                old_p, old_c = total.outcomes.get(after, (0.0, 0))
                total.outcomes[after] = old_p + prob * p, old_c + c
        return total


@dataclass(frozen=True)
class Text:
    """Hold one sampled text: its words and what was remembered while it was made."""

    words: tuple[str, ...]
    slots: tuple[tuple[str, str], ...]


class Grammar:
    """Sample, parse and measure the texts of a set of rules.

    Args:
        classes: the word classes; every entry of a class carries the same forms and equally long lists.
        rules: lines per rule; `start` names the first one.
    """

    def __init__(
        self, classes: Mapping[str, Sequence[Entry]], rules: Mapping[str, Sequence[str]], start: str
    ) -> None:
        self._classes = classes
        self._rules = rules
        self._compiled: dict[str, Node] = {}
        self.root = self._rule(start)

    def sample(self, rng: random.Random) -> Text:
        """Return one random text."""
        state: State = {}
        words: list[str] = []
        self.root.sample(state, words, rng)
        return Text(tuple(words), tuple(sorted((name, entry.word) for name, entry in state.items())))

    def derivations(self, words: Sequence[str]) -> list[float]:
        """Return the log-probability (nats) of each derivation of exactly these words; [] = not a text."""
        return [logp for end, _, logp in self.root.match(words, 0, {}) if end == len(words)]

    def log_prob(self, words: Sequence[str]) -> float:
        """Return the log-probability (nats) of a text; -inf if the grammar can't produce it."""
        found = self.derivations(words)
        if not found:
            return -math.inf
        top = max(found)
        return top + math.log(sum(math.exp(logp - top) for logp in found))

    def stats(self) -> tuple[float, float, int]:
        """Return entropy (nats per text), expected length (words per text), number of derivations."""
        result = self.root.stats(frozenset())
        return result.entropy, result.length, sum(count for _, count in result.outcomes.values())

    def vocabulary(self) -> list[str]:
        """Return every word that a text can contain, sorted."""
        found: set[str] = set()
        todo: list[Node] = [self.root]
        while todo:
            node = todo.pop()
            if isinstance(node, Word):
                found.add(node.text)
            elif isinstance(node, Series):
                todo.extend(node.parts)
            elif isinstance(node, Choice):
                todo.extend(node.options)
            elif isinstance(node, Pick):
                found.update(node.entries)
            elif isinstance(node, Recall) and node.form:
                found.update(e.forms[node.form] for e in self._entries() if node.form in e.forms)
        return sorted(found)

    def _entries(self) -> Iterator[Entry]:
        """Yield the entries of all classes and of the lists that hang on them."""
        todo = [entry for entries in self._classes.values() for entry in entries]
        while todo:
            entry = todo.pop()
            yield entry
            todo.extend(e for entries in entry.lists.values() for e in entries)

    def _rule(self, name: str) -> Node:
        if name not in self._compiled:
            lines = self._rules[name]
            self._compiled[name] = self._choice([self._weighted(_TOKEN.findall(line)) for line in lines])
        return self._compiled[name]

    def _weighted(self, tokens: list[str]) -> tuple[float, Node]:
        weight = 1.0
        if tokens and re.fullmatch(r"\d+\*", tokens[0]):
            weight = float(tokens.pop(0)[:-1])
        return weight, self._sequence(tokens)

    @staticmethod
    def _choice(options: list[tuple[float, Node]]) -> Node:
        if len(options) == 1:
            return options[0][1]
        return Choice([weight for weight, _ in options], [node for _, node in options])

    def _sequence(self, tokens: list[str]) -> Node:
        parts: list[Node] = []
        at = 0
        while at < len(tokens):
            token = tokens[at]
            if token == "[":
                end = _closing(tokens, at)
                parts.append(self._choice([self._weighted(t) for t in _split(tokens[at + 1 : end])]))
                at = end
            elif token.startswith("@"):
                parts.append(self._rule(token[1:]))
            elif token.startswith("{"):
                parts.append(self._slot(token[1:-1]))
            else:
                parts.append(Word(token))
            at += 1
        return Series(parts)

    def _slot(self, text: str) -> Node:
        name, _, source = text.partition("=")
        if not source and text.isupper():
            name, source = "", text
        if not source:
            head, _, form = text.partition(".")
            return Recall(head, form)
        if "." not in source:
            entries = self._classes[source]
            return Pick(name, source, len(entries), {entry.word: entry for entry in entries})
        owner, _, list_name = source.partition(".")
        lists = [e.lists[list_name] for e in self._entries() if list_name in e.lists]
        sizes = {len(entries) for entries in lists}
        if len(sizes) != 1:
            raise ValueError(f"the lists {list_name!r} have different lengths: {sorted(sizes)}")
        merged = {entry.word: entry for entries in lists for entry in entries}
        kind = next(iter(merged.values())).kind
        return Pick(name, kind, sizes.pop(), merged, owner, list_name)


def _closing(tokens: Sequence[str], at: int) -> int:
    depth = 0
    for index in range(at, len(tokens)):
        depth += (tokens[index] == "[") - (tokens[index] == "]")
        if depth == 0:
            return index
    raise ValueError(f"unclosed bracket in {' '.join(tokens)!r}")


def _split(tokens: Sequence[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token == "[") - (token == "]")
        if token == "|" and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def render(words: Sequence[str]) -> str:
    """Return the words as a text: one space between words, none before a punctuation mark."""
    text = ""
    for word in words:
        text += word if word in ".,!?" or not text else " " + word
    return text


def split_words(text: str) -> list[str]:
    """Return the words and punctuation marks of a text, the inverse of `render`."""
    return re.findall(r"[.,!?]|[^\s.,!?]+", text)
