"""The reader: from the text of a grammar to its rules, in linear time and with a limit for everything."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ...errors import GrammarError

_MAX_NESTING = 200
_MAX_RULES = 10_000
_MAX_REPEAT = 2000
"""MAX_REPETITION_THRESHOLD of llama.cpp."""

_MAX_TOKEN_NAME = 256
"""llama.cpp tokenizes what stands between < and >, recursively."""

_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_DIGITS = frozenset("0123456789")
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n", "\\": "\\", '"': '"', "[": "[", "]": "]", "-": "-"}
_HEX = {"x": 2, "u": 4, "U": 8}


class Characters(NamedTuple):
    """A set of characters; a token that a grammar names counts as one beyond all others."""

    ranges: tuple[tuple[int, int], ...]
    negated: bool = False


ANYTHING = Characters((), negated=True)
TOKENS = 0x110000
"""Where the numbers that stand for named tokens begin."""


@dataclass
class Item:
    rule: str | None
    """None for characters"""
    least: int = 1
    most: int | None = 1
    """None = no limit"""
    size: int = 1
    """how many elements it is in llama.cpp, at most"""
    characters: tuple[Characters, ...] = ()
    """what stands for itself, one after the other; empty for rules"""


Sequence = list[Item]


class Reader:
    def __init__(self, source: str) -> None:
        self.text = source + "\0"  # an end that is no other character
        self.at = 0
        self.rules: dict[str, list[Sequence]] = {}
        self.named: dict[str, None] = {}
        self.tokens: dict[str, int] = {}
        self.uses_tokens = False

    def read(self) -> dict[str, list[Sequence]]:
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
        self.named[name] = None
        if len(self.rules) > _MAX_RULES:
            raise self.fail(f"more than {_MAX_RULES} rules")
        if self.peek() not in "\r\n\0":
            raise self.fail("a line end expected")
        self.space(True)

    def alternatives(self, name: str, depth: int) -> list[Sequence]:
        result = [self.sequence(name, depth)]
        while self.peek() == "|":
            self.at += 1
            self.space(True)
            result.append(self.sequence(name, depth))
        return result

    def sequence(self, name: str, depth: int) -> Sequence:
        result: Sequence = []
        open_item: Item | None = None
        while True:
            mark = self.peek()
            if mark in "*+?{" and mark != "\0":
                if open_item is None:
                    raise self.fail("something to repeat expected")
                open_item.least, open_item.most = self.repetition(open_item)
                self.space(depth > 0)
                continue
            if mark in '"[':
                start = self.at
                found = self.text_in_quotes() if mark == '"' else self.character_class()
                open_item = Item(None, size=self.at - start, characters=found) if found else None
            elif mark == ".":
                self.at += 1
                open_item = Item(None, characters=(ANYTHING,))
            elif mark in "<!" and mark != "\0":
                open_item = Item(None, characters=(self.token(),))
            elif mark in _WORD:
                open_item = Item(self.word(_WORD, "a name"))
            elif mark == "(":
                open_item = Item(self.group(name, depth + 1))
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

    def text_in_quotes(self) -> tuple[Characters, ...]:
        """Read "…"; return its characters."""
        self.at += 1
        found = []
        while self.peek() != '"':
            found.append(_only(self.character()))
        self.at += 1
        return tuple(found)

    def character_class(self) -> tuple[Characters, ...]:
        """Read […]; return the set, or nothing if there is nothing in it."""
        self.at += 1
        negated = self.peek() == "^"
        self.at += negated
        ranges = []
        while self.peek() != "]":
            low = high = self.character()
            if self.peek() == "-" and self.text[self.at + 1] != "]":
                self.at += 1
                high = self.character()
            ranges.append((low, high))
        self.at += 1
        return (Characters(tuple(ranges), negated),) if ranges else ()

    def character(self) -> int:
        mark = self.peek()
        if mark == "\0":
            raise self.fail("the end of a string or class is missing")
        self.at += 1
        if mark != "\\":
            return ord(mark)
        escape = self.peek()
        if escape in _HEX:
            self.at += 1
            digits = self.text[self.at : self.at + _HEX[escape]]
            if len(digits) < _HEX[escape] or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
                raise self.fail(f"{_HEX[escape]} hexadecimal digits expected")
            self.at += _HEX[escape]
            return int(digits, 16)
        if escape in _ESCAPES:
            self.at += 1
            return ord(_ESCAPES[escape])
        raise self.fail("unknown escape")

    def token(self) -> Characters:
        """Read <name>, <[id]> or !<…>."""
        self.uses_tokens = True
        negated = self.peek() == "!"
        self.at += negated
        start, end = self.at, self.text.find(">", self.at)
        if self.peek() != "<" or not 0 < end - self.at < _MAX_TOKEN_NAME:
            raise self.fail("'<token>' expected")
        self.at = end + 1
        number = TOKENS + self.tokens.setdefault(self.text[start:end], len(self.tokens))
        return Characters(((0, number - 1), (number + 1, 2 * TOKENS)) if negated else ((number, number),))

    def repetition(self, item: Item) -> tuple[int, int | None]:
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


@lru_cache(maxsize=1024)
def _only(code: int) -> Characters:
    return Characters(((code, code),))
