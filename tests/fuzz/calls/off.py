"""Checks that can be switched off, to see that the fuzzer finds what they stand before."""

from __future__ import annotations

from collections.abc import Callable

from tests.lifetime import killers


def _batches() -> None:
    killers.decoding.check = killers.nothing


def _sequences() -> None:
    killers.check.sequence = killers.whatever


def _tokens() -> None:
    killers.check.token = killers.whatever


def _grammar_order() -> None:
    killers.lf.SamplerChain._check_order = killers.nothing


def _clones() -> None:
    killers.base.check_clonable = killers.nothing


def _parameters() -> None:
    killers.context_params._check_together = killers.nothing


def _refused_tokens() -> None:
    killers.lazy_grammar.Question.allows = lambda self, grammar, token, **kwargs: True


def _integers() -> None:
    killers.check.integer = lambda name, value, *_args, **_kwargs: int(value)


SWITCHES: dict[str, Callable[[], None]] = {
    "batches": _batches,
    "sequences": _sequences,
    "tokens": _tokens,
    "grammar order": _grammar_order,
    "clones": _clones,
    "parameters": _parameters,
    "refused tokens": _refused_tokens,
    "integers": _integers,
}
