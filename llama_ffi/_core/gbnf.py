"""Read a GBNF grammar, to refuse what libllama's own reader doesn't survive.

llama.cpp prints parse errors on stderr and recurses with the nesting; and its test for left recursion
misses rules that are empty only by way of other rules, after which a single step of the grammar grows
its stacks without end. So a grammar is read here first: the same language, errors with a line number,
a limit for the nesting, and the exact condition for endless growth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import GrammarError

_MAX_NESTING = 200
_MAX_RULES = 10_000
_MAX_REPEAT = 2000
"""MAX_REPETITION_THRESHOLD of llama.cpp."""

_MAX_TOKEN_NAME = 256
"""llama.cpp tokenizes what stands between < and >, recursively."""

_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_DIGITS = frozenset("0123456789")
_ESCAPES = frozenset('trn\\"[]-')
_HEX = {"x": 2, "u": 4, "U": 8}


@dataclass
class _Item:
    rule: str | None
    """None for characters"""
    least: int = 1
    most: int | None = 1
    """None = no limit"""


_Sequence = list[_Item]


@dataclass(frozen=True)
class Grammar:
    """What there is to know about a grammar that can be used."""

    rules: dict[str, list[_Sequence]] = field(repr=False)
    uses_tokens: bool
    """it names tokens (``<think>``, ``<[42]>``), not only characters"""


def read(source: str, root: str) -> Grammar:
    """Return the grammar in ``source``.

    Raises:
        GrammarError: it doesn't parse, lacks a rule, nests too deep, or never comes to an end.
    """
    reader = _Reader(source)
    rules = reader.read()
    if root not in rules:
        raise GrammarError(f"the grammar has no rule {root!r}; it has: {', '.join(reader.named) or 'none'}")
    for name, alternatives in rules.items():
        for item in (item for sequence in alternatives for item in sequence):
            if item.rule is not None and item.rule not in rules:
                raise GrammarError(f"the grammar's rule {name!r} uses {item.rule!r}, which is not defined")
    _check_recursion(rules)
    return Grammar(rules, reader.uses_tokens)


class _Reader:
    def __init__(self, source: str) -> None:
        self.text = source + "\0"  # an end that is no other character
        self.at = 0
        self.rules: dict[str, list[_Sequence]] = {}
        self.named: list[str] = []
        self.uses_tokens = False

    def read(self) -> dict[str, list[_Sequence]]:
        if "\0" in self.text[:-1]:
            raise GrammarError("the grammar holds a NUL character")
        self.space(True)
        while self.peek() != "\0":
            self.rule()
        if not self.rules:
            raise GrammarError("the grammar is empty")
        return self.rules

    def peek(self) -> str:
        return self.text[self.at]

    def fail(self, what: str) -> GrammarError:
        line = self.text.count("\n", 0, self.at) + 1
        rest = self.text[self.at : self.at + 20].rstrip("\0").split("\n")[0]
        return GrammarError(
            f"the grammar doesn't parse: line {line}: {what} {f'at {rest!r}' if rest else 'at its end'}"
        )

    def space(self, newlines: bool) -> None:
        blank = " \t\r\n" if newlines else " \t"
        while True:
            if self.peek() == "#":
                while self.peek() not in "\r\n\0":
                    self.at += 1
            elif self.peek() in blank:
                self.at += 1
            else:
                return

    def word(self, allowed: frozenset[str], what: str) -> str:
        start = self.at
        while self.peek() in allowed:
            self.at += 1
        if self.at == start:
            raise self.fail(f"{what} expected")
        return self.text[start : self.at]

    def rule(self) -> None:
        name = self.word(_WORD, "the name of a rule")
        self.space(False)
        if not self.text.startswith("::=", self.at):
            raise self.fail("'::=' expected")
        self.at += 3
        self.space(True)
        self.rules[name] = self.alternatives(name, 0)
        if name not in self.named:
            self.named.append(name)
        if self.peek() not in "\r\n\0":
            raise self.fail("a line end expected")
        self.space(True)

    def alternatives(self, name: str, depth: int) -> list[_Sequence]:
        result = [self.sequence(name, depth)]
        while self.peek() == "|":
            self.at += 1
            self.space(True)
            result.append(self.sequence(name, depth))
        return result

    def sequence(self, name: str, depth: int) -> _Sequence:
        result: _Sequence = []
        open_item: _Item | None = None
        while True:
            mark = self.peek()
            if mark in "*+?{" and mark != "\0":
                if open_item is None:
                    raise self.fail("something to repeat expected")
                open_item.least, open_item.most = self.repetition(open_item)
                self.space(depth > 0)
                continue
            if mark == '"':
                open_item = _Item(None) if self.literal('"') else None
            elif mark == "[":
                open_item = _Item(None) if self.literal("]") else None
            elif mark == ".":
                self.at += 1
                open_item = _Item(None)
            elif mark in "<!" and mark != "\0":
                self.token()
                open_item = _Item(None)
            elif mark in _WORD:
                open_item = _Item(self.word(_WORD, "a name"))
            elif mark == "(":
                open_item = _Item(self.group(name, depth + 1))
            else:
                return result
            if open_item is not None:
                result.append(open_item)
            self.space(depth > 0)

    def group(self, name: str, depth: int) -> str:
        if depth > _MAX_NESTING:
            raise self.fail(f"more than {_MAX_NESTING} nested parentheses; name the inner ones as rules,")
        self.at += 1
        self.space(True)
        own = f"{name}_{len(self.rules)}"  # an underscore can't be in a name of the grammar's own
        self.rules[own] = []
        if len(self.rules) > _MAX_RULES:
            raise self.fail(f"more than {_MAX_RULES} rules")
        self.rules[own] = self.alternatives(name, depth)
        if self.peek() != ")":
            raise self.fail("')' expected")
        self.at += 1
        return own

    def literal(self, end: str) -> bool:
        """Read "…" or […]; return whether there is anything in it."""
        self.at += 1
        if end == "]" and self.peek() == "^":
            self.at += 1
        any_character = False
        while self.peek() != end:
            any_character = True
            self.character()
            if end == "]" and self.peek() == "-" and self.text[self.at + 1] != "]":
                self.at += 1
                self.character()
        self.at += 1
        return any_character

    def character(self) -> None:
        mark = self.peek()
        if mark == "\0":
            raise self.fail("the end of a string or class is missing")
        self.at += 1
        if mark != "\\":
            return
        escape = self.peek()
        if escape in _HEX:
            self.at += 1
            digits = self.text[self.at : self.at + _HEX[escape]]
            if len(digits) < _HEX[escape] or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
                raise self.fail(f"{_HEX[escape]} hexadecimal digits expected")
            self.at += _HEX[escape]
        elif escape in _ESCAPES:
            self.at += 1
        else:
            raise self.fail("unknown escape")

    def token(self) -> None:
        self.uses_tokens = True
        if self.peek() == "!":
            self.at += 1
        end = self.text.find(">", self.at)
        if self.peek() != "<" or not 0 < end - self.at < _MAX_TOKEN_NAME:
            raise self.fail("'<token>' expected")
        self.at = end + 1

    def repetition(self, item: _Item) -> tuple[int, int | None]:
        mark = self.peek()
        self.at += 1
        if mark != "{":
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[mark]
        else:
            self.space(True)
            least = self.number()
            self.space(True)
            most = least
            if self.peek() == ",":
                self.at += 1
                self.space(True)
                most = self.number() if self.peek() in _DIGITS else None
                self.space(True)
            if self.peek() != "}":
                raise self.fail("'}' expected")
            self.at += 1
            if most is not None and most < least:
                raise self.fail(f"a repetition from {least} to {most} is none; another order expected")
            if most is not None and most > _MAX_REPEAT:
                most = None  # as llama.cpp has it
        least_before, most_before = item.least, item.most  # "x+?" repeats the repetition
        unlimited = most is None or most_before is None
        return least * least_before, None if unlimited else (most or 0) * (most_before or 0)

    def number(self) -> int:
        number = int(self.word(_DIGITS, "a number")[:9])
        if number > 10 * _MAX_REPEAT or (self.peek() != "," and number > _MAX_REPEAT):
            raise self.fail(f"more than {_MAX_REPEAT} repetitions")
        return number


def _nullable(rules: dict[str, list[_Sequence]]) -> set[str]:
    """Return the rules that match the empty text."""
    empty: set[str] = set()
    while True:
        more = {
            name
            for name, alternatives in rules.items()
            if name not in empty
            and any(
                all(item.least == 0 or item.rule in empty for item in sequence) for sequence in alternatives
            )
        }
        if not more:
            return empty
        empty |= more


def _first_rules(alternatives: list[_Sequence], empty: set[str]) -> Iterator[tuple[str, bool]]:
    """Yield the rules that can come first, and whether something follows them."""
    for sequence in alternatives:
        for index, item in enumerate(sequence):
            if item.rule is not None:
                yield item.rule, index + 1 < len(sequence) or item.most != 1
            if item.least > 0 and item.rule not in empty:
                break


def _check_recursion(rules: dict[str, list[_Sequence]]) -> None:
    """Raise if a rule can begin with itself and go on: such a grammar has no first character."""
    empty = _nullable(rules)
    edges = {name: list(_first_rules(alternatives, empty)) for name, alternatives in rules.items()}
    component = _components({name: [target for target, _ in targets] for name, targets in edges.items()})
    for name, targets in edges.items():
        for target, goes_on in targets:
            if goes_on and component[name] == component[target]:
                shown = name.partition("_")[0]
                raise GrammarError(
                    f"the grammar's rule {shown!r} is left-recursive: it can begin with itself before any "
                    f"character; write the repetition with * or +, or put the recursion at the end"
                )


def _components(edges: dict[str, list[str]]) -> dict[str, int]:
    """Return the number of each node's strongly connected component (Tarjan, without recursion)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    component: dict[str, int] = {}
    stack: list[str] = []
    for start in edges:
        if start in index:
            continue
        work = [(start, iter(edges[start]))]
        index[start] = low[start] = len(index)
        stack.append(start)
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    work.append((target, iter(edges[target])))
                    break
                if target not in component:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    while True:
                        member = stack.pop()
                        component[member] = index[node]
                        if member == node:
                            break
    return component
