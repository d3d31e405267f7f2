"""Grammars whose every step doubles what llama.cpp must remember.

It follows all ways at once, and keeps for each a stack of what is still to come. Where a rule can get back to
itself along two ways by the same characters, with different things to come (``r ::= "a" r "b" | "a" r "c"``),
n rounds leave 2 to the power of n stacks; a step compares each with all others, and nothing can stop it.

Such a pair of ways is looked for by following the ways of each recursive rule, as llama.cpp does, for a
limited number of steps: what is found is certain, and what takes longer to find is not found.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import combinations

from ...errors import GrammarError
from .reader import Characters, Item, Sequence
from .recursion import components

_MAX_STEPS = 3000
"""Stacks that are looked at for one grammar, at most; a tenth of a second."""

_MAX_DEPTH = 24
_MAX_WAYS = 60

Place = tuple[int, int, int, int]
"""What comes next: numbers of a sequence, its item, a character in that; how often the item was done."""

Stack = tuple[Place, ...]
"""Places, the next one last."""


def check_growth(rules: dict[str, list[Sequence]]) -> None:
    """Raise if two ways lead from a rule back to it."""
    _Growth(rules).check()


class _Growth:
    def __init__(self, rules: dict[str, list[Sequence]]) -> None:
        self.rules = rules
        self.sequences: list[Sequence] = []
        self.starts: dict[str, list[Place]] = {}
        for name, alternatives in rules.items():
            self.starts[name] = [(len(self.sequences) + i, 0, 0, 0) for i in range(len(alternatives))]
            self.sequences.extend(alternatives)
        self.left = _MAX_STEPS

    def check(self) -> None:
        uses = {
            name: [item.rule for sequence in alternatives for item in sequence if item.rule is not None]
            for name, alternatives in self.rules.items()
        }
        component = components(uses)
        for name, used in uses.items():
            if any(component[each] == component[name] for each in used):
                self.follow(name)
                if self.left <= 0:
                    return

    def follow(self, name: str) -> None:
        """Follow all ways that begin with a rule, the shortest texts first."""
        first: frozenset[Stack] = frozenset((start,) for start in self.starts[name])
        todo: deque[tuple[frozenset[Stack], str]] = deque([(first, "")])
        seen = {first}
        while todo and self.left > 0:
            ways, text = todo.popleft()
            tops, calls = self.expand(ways)
            if text and _multiply(calls.get(name, set())):
                raise GrammarError(
                    f"after {text[:40]!r} the grammar's rule {name.partition('_')[0]!r} begins anew in "
                    f"several ways with different things to come, so that every round doubles them; begin "
                    f'the alternatives with what they share ("a r b | a r c" is "a r (b | c)")'
                )
            for code, following in self.steps(tops):
                if following not in seen:
                    seen.add(following)
                    todo.append((following, text + (chr(code) if code < 0x110000 else "<token>")))

    def expand(self, ways: frozenset[Stack]) -> tuple[set[Stack], dict[str, set[Stack]]]:
        """Return the stacks with a character next, and for each rule that begins what comes behind it."""
        tops: set[Stack] = set()
        calls: dict[str, set[Stack]] = {}
        todo, seen = list(ways), set(ways)
        while todo and self.left > 0:
            self.left -= 1
            stack = todo.pop()
            found: list[Stack] = []
            if stack:
                sequence, index, offset, done = stack[-1]
                items = self.sequences[sequence]
                if index >= len(items):
                    found.append(stack[:-1])
                elif offset:
                    tops.add(stack)
                else:
                    item, rest = items[index], stack[:-1]
                    if done >= item.least:
                        found.append(self.on(rest, (sequence, index + 1, 0, 0)))
                    if item.most is None or done < item.most:
                        if item.rule is None:
                            tops.add(stack)
                        else:
                            below = self.on(rest, self.again(item, stack[-1]))
                            if below:
                                calls.setdefault(item.rule, set()).add(below)
                            found.extend((*below, start) for start in self.starts[item.rule])
            for each in found:
                if each not in seen and len(each) <= _MAX_DEPTH and len(seen) < _MAX_WAYS:
                    seen.add(each)
                    todo.append(each)
        return tops, calls

    def again(self, item: Item, place: Place) -> Place:
        """Return where it goes on when an item has been done once more."""
        sequence, index, _offset, done = place
        if item.most == done + 1:
            return (sequence, index + 1, 0, 0)
        return (sequence, index, 0, min(done + 1, item.least) if item.most is None else done + 1)

    def on(self, stack: Stack, place: Place) -> Stack:
        """Return the stack with a place on it, unless that is an end."""
        return stack if place[1] >= len(self.sequences[place[0]]) else (*stack, place)

    def steps(self, tops: set[Stack]) -> Iterator[tuple[int, frozenset[Stack]]]:
        """Yield one character of each kind that the ways tell apart, and the ways behind it."""
        wanted = {stack: self.characters(stack[-1]) for stack in tops}
        codes = {0}
        for each in wanted.values():
            for low, high in each.ranges:
                codes.update((low, high + 1))
        for code in sorted(codes):
            following = frozenset(self.past(stack) for stack, each in wanted.items() if _holds(each, code))
            if following:
                yield code, following

    def characters(self, place: Place) -> Characters:
        return self.sequences[place[0]][place[1]].characters[place[2]]

    def past(self, stack: Stack) -> Stack:
        """Return the stack behind its next character."""
        sequence, index, offset, done = stack[-1]
        item = self.sequences[sequence][index]
        if offset + 1 < len(item.characters):
            return (*stack[:-1], (sequence, index, offset + 1, done))
        return self.on(stack[:-1], self.again(item, stack[-1]))


def _multiply(behind: set[Stack]) -> bool:
    """Return whether rounds with these things to come leave ever more different stacks.

    Two that commute are powers of one: n rounds leave n + 1 stacks of them, not 2 to the power of n.
    """
    return any(one + other != other + one for one, other in combinations(behind, 2))


def _holds(characters: Characters, code: int) -> bool:
    return any(low <= code <= high for low, high in characters.ranges) != characters.negated
