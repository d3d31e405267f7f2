"""Read a GBNF grammar, to refuse what libllama's own reader doesn't survive.

llama.cpp prints parse errors on stderr and recurses with the nesting; and its test for left recursion
misses rules that are empty only by way of other rules, after which a single step of the grammar grows
its stacks without end. So a grammar is read here first: the same language, errors with a line number,
a limit for the nesting, and the exact condition for endless growth. That test also calls itself for every
rule that can come first, as often as it comes: depth and number of those calls are limited too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import GrammarError

_MAX_NESTING = 200
_MAX_RULES = 10_000
_MAX_REPEAT = 2000
"""MAX_REPETITION_THRESHOLD of llama.cpp."""

_MAX_DEPTH = 500
"""Rules that begin with one another; llama.cpp's test takes some 200 bytes of stack for each."""

_MAX_STEPS = 50_000_000
"""Elements of rules that its test looks at, at most; about a second."""

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
    size: int = 1
    """how many elements it is in llama.cpp, at most"""


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
    _check_work(rules)
    return Grammar(rules, reader.uses_tokens)


class _Reader:
    def __init__(self, source: str) -> None:
        self.text = source + "\0"  # an end that is no other character
        self.at = 0
        self.rules: dict[str, list[_Sequence]] = {}
        self.named: dict[str, None] = {}
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
        self.named[name] = None
        if len(self.rules) > _MAX_RULES:
            raise self.fail(f"more than {_MAX_RULES} rules")
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
            if mark in '"[':
                start = self.at
                any_character = self.literal('"' if mark == '"' else "]")
                open_item = _Item(None, size=self.at - start) if any_character else None
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
    missing: list[int] = []  # of each sequence: items that are not known to be empty
    waiting: dict[str, list[tuple[str, int]]] = {}  # for a rule: the sequences it is missing in
    todo: list[str] = []
    for name, alternatives in rules.items():
        for sequence in alternatives:
            needed = [item.rule for item in sequence if item.least > 0]
            for rule in needed:
                if rule is not None:
                    waiting.setdefault(rule, []).append((name, len(missing)))
            missing.append(len(needed))
            if not needed:
                todo.append(name)
    while todo:
        name = todo.pop()
        if name not in empty:
            empty.add(name)
            for user, number in waiting.get(name, ()):
                missing[number] -= 1
                if not missing[number]:
                    todo.append(user)
    return empty


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
                raise _left_recursive(name)


def _left_recursive(name: str) -> GrammarError:
    return GrammarError(
        f"the grammar's rule {name.partition('_')[0]!r} is left-recursive: it can begin with itself before "
        f"any character; write the repetition with * or +, or put the recursion at the end"
    )


def _check_work(rules: dict[str, list[_Sequence]]) -> None:
    """Raise if llama.cpp's test for left recursion would go too deep, or take too long.

    It calls itself for each rule that can come first, whether it has seen that rule before or not, and begins
    anew with every rule. Repetitions are rules of their own to it: ``a{0,3}`` is three, each of which begins
    with ``a`` and, where ``a`` has an empty alternative, goes on with the next.
    """
    empty = {
        name
        for name, alternatives in rules.items()
        if any(all(item.most == 0 for item in sequence) for sequence in alternatives)
    }
    depth: dict[str, int] = {}
    steps: dict[str, int] = {}
    total = 0
    for name in _inner_first(rules, empty):
        alternatives = rules[name]
        deepest, own = 0, len(alternatives)
        for item in _first_items(alternatives, empty):
            again = item.rule in empty  # then what follows comes first too
            below, each = (0, 0) if item.rule is None else (depth[item.rule], steps[item.rule])
            own += each * (item.least if again else min(item.least, 1))
            if item.most != item.least and (again or not item.least):
                chain = _options(item) if again else 1
                below += chain
                own += chain * (1 + item.size + each)
            deepest = max(deepest, below)
        own += sum(max(item.least, 1) * item.size for sequence in alternatives for item in sequence)
        depth[name], steps[name] = 1 + deepest, own
        total += own
        if depth[name] > _MAX_DEPTH or total > _MAX_STEPS:
            break
    else:
        for name, alternatives in rules.items():
            for item in (item for sequence in alternatives for item in sequence if item.most != item.least):
                options = _options(item)  # the rules of a repetition are begun with too
                again = item.rule in empty
                deepest = options + depth.get(item.rule or "", 0) if again else 0
                starts = options * (options + 1) // 2 if again else options
                total += starts * (1 + item.size + steps.get(item.rule or "", 0))
                if deepest > _MAX_DEPTH or total > _MAX_STEPS:
                    raise _too_much(name, deepest)
        return
    raise _too_much(name, depth[name])


def _too_much(name: str, depth: int) -> GrammarError:
    shown = name.partition("_")[0]
    if depth > _MAX_DEPTH:
        return GrammarError(
            f"the grammar's rule {shown!r} begins with a rule that begins with a rule …, more than "
            f"{_MAX_DEPTH} deep; put the inner rules' text in place of their names, or repeat what can be "
            f"empty less often"
        )
    return GrammarError(
        f"there are too many ways in which the grammar's rule {shown!r} can begin with other rules for "
        f"llama.cpp to check; name a rule that several alternatives begin with only once "
        f'("a b | a c" is "a (b | c)"), and repeat what can be empty less often'
    )


def _first_items(alternatives: list[_Sequence], empty: set[str]) -> Iterator[_Item]:
    """Yield what llama.cpp's test takes for what can come first."""
    for sequence in alternatives:
        for item in sequence:
            if item.most == 0:
                continue
            yield item
            if item.least > 0 and item.rule not in empty:
                break


def _options(item: _Item) -> int:
    """Return how many rules llama.cpp makes of a repetition."""
    return 1 if item.most is None else item.most - item.least


def _inner_first(rules: dict[str, list[_Sequence]], empty: set[str]) -> Iterator[str]:
    """Yield every rule after all that can come first in it."""
    done: set[str] = set()
    inside: set[str] = set()
    for start in rules:
        work = [] if start in done else [(start, _first_items(rules[start], empty))]
        inside.update(name for name, _ in work)
        while work:
            name, items = work[-1]
            for item in items:
                if item.rule in inside:
                    raise _left_recursive(name)
                if item.rule is not None and item.rule not in done:
                    inside.add(item.rule)
                    work.append((item.rule, _first_items(rules[item.rule], empty)))
                    break
            else:
                work.pop()
                inside.remove(name)
                done.add(name)
                yield name


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
