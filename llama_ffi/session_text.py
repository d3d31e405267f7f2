"""What a session is made of: the tokens of its text, how many are in memory, what has been counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TypeVar

from ._core import arrays, check
from .context import Context
from .errors import ContextFullError
from .generation import Generation
from .model import Model
from .sampler import SamplerChain
from .session_memory import Growth, SessionMemory

_Self = TypeVar("_Self", bound="SessionText")


@dataclass
class SessionStats:
    """What a session has computed so far."""

    prompt_tokens: int = 0
    """tokens that were fed and computed"""
    cached_tokens: int = 0
    """tokens that were asked for and were in memory already"""
    generated_tokens: int = 0
    """tokens that were chosen"""
    prompt_seconds: float = 0.0
    generation_seconds: float = 0.0

    @property
    def prompt_tokens_per_second(self) -> float:
        """Return how fast what was fed was computed, 0.0 before that."""
        return self.prompt_tokens / self.prompt_seconds if self.prompt_seconds else 0.0

    @property
    def generated_tokens_per_second(self) -> float:
        """Return how fast text was generated, 0.0 before that."""
        return self.generated_tokens / self.generation_seconds if self.generation_seconds else 0.0


class SessionText:
    """The text of a session, which its methods make longer and shorter."""

    __slots__ = (
        "__weakref__",
        "_chain",
        "_choices",
        "_counts",
        "_keep",
        "_memory",
        "_running",
        "_tokens",
        "model",
    )

    model: Model
    """the model"""

    _chain: SamplerChain
    _choices: list[int]
    """the tokens that the sampler has chosen since it began"""
    _counts: SessionStats
    _keep: int | None
    _memory: SessionMemory
    _running: tuple[Generation, Growth] | None
    _tokens: list[int]

    def __repr__(self) -> str:
        state = ", closed" if self.closed else f" of {len(self._tokens)} tokens"
        return f"<llama_ffi.Session{state}>"

    @property
    def context(self) -> Context:
        """Return its context; what is decoded there behind its back is not part of the text."""
        return self._memory.ctx

    @property
    def tokens(self) -> list[int]:
        """Return the tokens of the text, a copy."""
        self._settle()
        return self._tokens.copy()

    @property
    def text(self) -> str:
        """Return the text, without control tokens.

        C: llama_detokenize
        """
        tokens, vocab = self.tokens, self.model.vocab
        # The space that SPM vocabularies put before the first word is taken out at the very beginning only.
        return vocab.detokenize(tokens[1:] if tokens[:1] == [vocab.bos] else tokens, remove_special=True)

    @property
    def stats(self) -> SessionStats:
        """Return what it has computed so far, a copy."""
        self._settle()
        return replace(self._counts)

    @property
    def sampler(self) -> SamplerChain:
        """Return the chain that chooses; it belongs to the session."""
        return self._chain

    # --- its life ---

    @property
    def closed(self) -> bool:
        """Return whether it can no longer be used."""
        return self._memory.closed

    def close(self) -> None:
        """Free what it holds; a context that forks share is freed with the last of them.

        Threads: any; a second close does nothing.
        """
        if self._running is not None:
            self._running[0].close()
            self._running = None
        self._memory.close()
        self._chain.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    # --- inside ---

    def _settle(self) -> None:
        """End a running generation; what it has chosen becomes part of the text."""
        if self._running is None:
            _ = self._memory.held  # raises if it is closed
            return
        generation, growth = self._running
        generation.close()
        self._running = None
        self._tokens = growth.text
        self._choices += growth.made
        timings = generation.timings
        self._counts.generated_tokens += len(growth.made)
        self._counts.generation_seconds += timings.prompt_seconds + timings.completion_seconds

    def _ids(self, text: str | bytes | Sequence[int], first: bool, parse_special: bool) -> list[int]:
        vocab = self.model.vocab
        if isinstance(text, str | bytes):
            return vocab.tokenize(text, first, parse_special)
        tokens = arrays.int32_view(text, "text").tolist()
        for each in (min(tokens), max(tokens)) if tokens else ():
            check.token(each, vocab.n_tokens)
        return tokens

    def _cut(self, count: int) -> None:
        """Make the text its first ``count`` tokens, of which the last is never in memory."""
        self._memory.cut(self._tokens[: max(count - 1, 0)])
        self._tokens = self._tokens[:count]

    def _extend(self, new: list[int], on_token: Callable[[int], object] | None) -> None:
        """Compute all but the last token of the text and ``new``."""
        memory, text = self._memory, self._tokens + new
        while len(text) > memory.size:
            if self._keep is None:
                raise ContextFullError(
                    f"the text would have {len(text)} tokens, the context holds {memory.size}; use a larger "
                    f"n_ctx, or keep= to let its older half go"
                )
            if len(self._tokens) - self._keep < 2:
                raise ContextFullError(f"{len(new)} tokens don't fit behind the {self._keep} that are kept")
            memory.fill(self._tokens[:-1])
            self._tokens = memory.shift(self._tokens, self._keep)
            text = self._tokens + new
        begin, held = time.perf_counter(), memory.held
        try:
            memory.fill(text[:-1])
        except BaseException:
            memory.cut(self._tokens[:-1])
            raise
        self._tokens = text
        self._counts.prompt_tokens += memory.held - held
        self._counts.prompt_seconds += time.perf_counter() - begin
        if on_token is not None:
            for token in new:
                on_token(token)
