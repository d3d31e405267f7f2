"""How deep llama.cpp's own test for left recursion goes, and how long it takes."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import GrammarError
from .reader import Item, Sequence
from .recursion import left_recursive

_MAX_DEPTH = 500
"""Rules that begin with one another; llama.cpp's test takes some 200 bytes of stack for each."""

_MAX_STEPS = 50_000_000
"""Elements of rules that its test looks at, at most; about a second."""


def check_work(rules: dict[str, list[Sequence]]) -> None:
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


def _first_items(alternatives: list[Sequence], empty: set[str]) -> Iterator[Item]:
    """Yield what llama.cpp's test takes for what can come first."""
    for sequence in alternatives:
        for item in sequence:
            if item.most == 0:
                continue
            yield item
            if item.least > 0 and item.rule not in empty:
                break


def _options(item: Item) -> int:
    """Return how many rules llama.cpp makes of a repetition."""
    return 1 if item.most is None else item.most - item.least


def _inner_first(rules: dict[str, list[Sequence]], empty: set[str]) -> Iterator[str]:
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
                    raise left_recursive(name)
                if item.rule is not None and item.rule not in done:
                    inside.add(item.rule)
                    work.append((item.rule, _first_items(rules[item.rule], empty)))
                    break
            else:
                work.pop()
                inside.remove(name)
                done.add(name)
                yield name
