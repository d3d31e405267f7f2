"""Lazy grammars: wait for a trigger in the text, then let a grammar loose on what follows it.

llama.cpp does the waiting with ``std::regex``, which ends the process on a pattern it doesn't like and
overflows the stack on long texts; and text behind a trigger that the grammar doesn't allow ends it too.
Here the waiting is Python's, and every token is shown to the grammar before it is given to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .._core import binding
from .._core.candidates import Question
from ..errors import GrammarError

if TYPE_CHECKING:
    from ..vocab import Vocab
    from .base import Base


class LazyGrammar:
    """The text since the beginning, and what makes the grammar begin."""

    __slots__ = ("_ends", "_make", "_patterns", "_text", "_tokens", "_trigger_tokens", "_vocab", "triggered")

    def __init__(
        self,
        vocab: Vocab,
        make: Callable[[], Base],
        trigger_tokens: frozenset[int],
        patterns: Sequence[str],
    ) -> None:
        self._vocab = vocab
        self._make = make
        self._trigger_tokens = trigger_tokens
        self._patterns = [_compile(pattern) for pattern in patterns]
        self.reset()

    def reset(self) -> None:
        """Wait again, from an empty text."""
        self.triggered = False
        self._text = b""
        self._tokens: list[int] = []
        self._ends: list[int] = []

    def copy(self) -> LazyGrammar:
        """Return an independent copy in the same state."""
        copy = LazyGrammar.__new__(LazyGrammar)
        copy._vocab, copy._make = self._vocab, self._make
        copy._trigger_tokens, copy._patterns = self._trigger_tokens, self._patterns
        copy.triggered, copy._text = self.triggered, self._text
        copy._tokens, copy._ends = list(self._tokens), list(self._ends)
        return copy

    def look(self, token: int) -> Base | None:
        """Return the grammar that ``token`` triggers, fed with what follows the trigger; None while waiting.

        Changes nothing; :meth:`accept` does.

        Raises:
            GrammarError: the grammar refuses what follows the trigger.
        """
        if token in self._trigger_tokens:
            return self._start([token])
        text = self._text + self._vocab.piece(token)
        start = self._find(text)
        if start < 0:
            return None
        fed: list[int] = []
        tokens, ends = [*self._tokens, token], [*self._ends, len(text)]
        for each, end in zip(tokens, ends, strict=True):
            if end <= start:
                continue
            begin = end - len(self._vocab.piece(each))
            fed.extend([each] if begin >= start else self._spell(text[start:end]))
        return self._start(fed)

    def accept(self, token: int, started: bool) -> None:
        """Take ``token`` into the text, or stop waiting because it has triggered the grammar."""
        if started:
            self.reset()
            self.triggered = True
        else:
            self._text += self._vocab.piece(token)
            self._tokens.append(token)
            self._ends.append(len(self._text))

    def _find(self, data: bytes) -> int:
        """Return where the grammar begins, -1 if nothing matches."""
        text = data.decode("utf-8", "surrogateescape")
        for pattern in self._patterns:
            match = pattern.search(text)
            if match is not None:
                group = next((i for i in range(1, pattern.groups + 1) if match.group(i)), 0)
                return len(text[: match.start(group)].encode("utf-8", "surrogateescape"))
        return -1

    def _spell(self, data: bytes) -> list[int]:
        """Return tokens for the end of a token's piece, which is no token of its own."""
        tokens = self._vocab._spell(data)
        if tokens is None:
            raise GrammarError(
                f"the trigger ends inside a token, and the vocabulary has no tokens for {data!r} behind it"
            )
        return tokens

    def _start(self, tokens: list[int]) -> Base:
        sampler = self._make()
        lib = binding.active().lib
        with sampler._handle as pointer:
            question = Question()
            for token in tokens:
                if not question.allows(pointer, token, uses_tokens=sampler._kind.uses_tokens):
                    text = b"".join(map(self._vocab.piece, tokens)).decode("utf-8", "replace")
                    raise GrammarError(f"the grammar refuses {text!r}, the text that triggered it")
                lib.llama_sampler_accept(pointer, token)
        return sampler


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, TypeError, RecursionError) as error:
        raise GrammarError(f"the trigger pattern {pattern!r} is no regular expression: {error}") from None
