"""The exact condition for endless growth: a rule that can begin with itself and go on."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import GrammarError
from .reader import Sequence


def _nullable(rules: dict[str, list[Sequence]]) -> set[str]:
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


def _first_rules(alternatives: list[Sequence], empty: set[str]) -> Iterator[tuple[str, bool]]:
    """Yield the rules that can come first, and whether something follows them."""
    for sequence in alternatives:
        for index, item in enumerate(sequence):
            if item.rule is not None:
                yield item.rule, index + 1 < len(sequence) or item.most != 1
            if item.least > 0 and item.rule not in empty:
                break


def check_recursion(rules: dict[str, list[Sequence]]) -> None:
    """Raise if a rule can begin with itself and go on: such a grammar has no first character."""
    empty = _nullable(rules)
    edges = {name: list(_first_rules(alternatives, empty)) for name, alternatives in rules.items()}
    component = components({name: [target for target, _ in targets] for name, targets in edges.items()})
    for name, targets in edges.items():
        for target, goes_on in targets:
            if goes_on and component[name] == component[target]:
                raise left_recursive(name)


def left_recursive(name: str) -> GrammarError:
    return GrammarError(
        f"the grammar's rule {name.partition('_')[0]!r} is left-recursive: it can begin with itself before "
        f"any character; write the repetition with * or +, or put the recursion at the end"
    )


def components(edges: dict[str, list[str]]) -> dict[str, int]:
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
