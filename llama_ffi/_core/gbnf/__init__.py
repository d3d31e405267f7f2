"""Read a GBNF grammar, to refuse what libllama's own reader doesn't survive.

llama.cpp prints parse errors on stderr and recurses with the nesting; and its test for left recursion
misses rules that are empty only by way of other rules, after which a single step of the grammar grows
its stacks without end. So a grammar is read here first: the same language, errors with a line number,
a limit for the nesting, and the exact condition for endless growth. That test also calls itself for every
rule that can come first, as often as it comes: depth and number of those calls are limited too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from ...errors import GrammarError
from .growth import check_growth
from .reader import Reader, Sequence
from .recursion import check_recursion
from .work import check_work

_MAX_LENGTH = 1_000_000
"""Characters; reading so many takes some seconds."""


@dataclass(frozen=True)
class Grammar:
    """What there is to know about a grammar that can be used."""

    rules: dict[str, list[Sequence]] = field(repr=False)
    uses_tokens: bool
    """it names tokens (``<think>``, ``<[42]>``), not only characters"""


@lru_cache(maxsize=16)
def read(source: str, root: str) -> Grammar:
    """Return the grammar in ``source``.

    Raises:
        GrammarError: it is too long, doesn't parse, lacks a rule, nests too deep, never comes to an end, or
            doubles its ways with every round.
    """
    if len(source) > _MAX_LENGTH:
        raise GrammarError(f"the grammar has {len(source)} characters; {_MAX_LENGTH} are possible")
    reader = Reader(source)
    rules = reader.read()
    if root not in rules:
        raise GrammarError(f"the grammar has no rule {root!r}; it has: {', '.join(reader.named) or 'none'}")
    for name, alternatives in rules.items():
        for item in (item for sequence in alternatives for item in sequence):
            if item.rule is not None and item.rule not in rules:
                raise GrammarError(f"the grammar's rule {name!r} uses {item.rule!r}, which is not defined")
    check_recursion(rules)
    check_work(rules)
    check_growth(rules)
    return Grammar(rules, reader.uses_tokens)
