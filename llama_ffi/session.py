"""A text that grows: feed it, generate, go back, fork, save, and go on another day.

The last token of a session is never in the memory yet: it is decoded when something is generated after it,
alone, whether the session has just been fed, was loaded from a file or has gone back. So a session that was
saved goes on exactly as one that wasn't.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex

from . import session_memory, session_sampler
from ._core import check, stop_texts
from .context import Context
from .errors import ArgumentTypeError, InvalidArgumentError, StateError, UnsupportedError
from .generation import Generation, sampler_chain
from .model import Model
from .sampler import SamplerChain
from .session_memory import Growth, SessionMemory
from .session_text import SessionStats, SessionText
from .state_load import Source
from .statefile import StateFile


class Session(SessionText):
    """A text in a context of its own, and what samples its continuation.

    Arguments:
        model: the model; it must stay open.
        n_ctx: tokens that the text may have; 0 = as many as the model was trained for, at most 4096.
        sampler: a chain of your own instead of temp, top_k, top_p, min_p and seed; the session closes it.
        temp, top_k, top_p, min_p, seed: as for :func:`llama_ffi.generate`.
        keep: what to do when the context is full. None = ContextFullError; a number = forget half of the
            text behind its first ``keep`` tokens, and go on (context shift).
        n_forks: how many forks may share the context, 0 to 255; further ones get contexts of their own.
        options: further parameters of the context, see :class:`llama_ffi.Context`.

    Raises:
        UnsupportedError: the model has no memory, or is an encoder–decoder.
        ContextCreateError, InvalidArgumentError …: as :class:`llama_ffi.Context`.

    Threads: one call at a time on a session and its forks (BusyError otherwise).
    """

    __slots__ = ()

    def __init__(
        self,
        model: Model,
        *,
        n_ctx: int = 0,
        sampler: SamplerChain | None = None,
        temp: float = 0.8,
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        seed: SupportsIndex | None = None,
        keep: int | None = None,
        n_forks: int = 0,
        **options: Any,
    ) -> None:
        check.instance("model", model, Model)
        if sampler is not None:
            check.instance("sampler", sampler, SamplerChain)
        if model.has_encoder:
            raise UnsupportedError("a session is one text; an encoder–decoder reads one and writes another")
        self._keep = None if keep is None else check.integer("keep", keep, 0)
        forks = check.integer("n_forks", n_forks, 0, 255)
        size = check.integer("n_ctx", n_ctx, 0) or min(model.n_ctx_train or 4096, 4096)
        given = {"n_ctx": size, "n_batch": 512, "n_ubatch": 0, **options}
        if forks:
            given |= {"n_seq_max": 1 + forks, "kv_unified": True}
        self._chain = sampler_chain(temp, top_k, top_p, min_p, seed) if sampler is None else sampler
        try:
            self._memory = SessionMemory(Context(model, **given), given)
        except BaseException:
            if sampler is None:
                self._chain.close()
            raise
        self.model = model
        self._tokens: list[int] = []
        self._choices: list[int] = []
        self._counts = SessionStats()
        self._running: tuple[Generation, Growth] | None = None

    # --- making it longer ---

    def feed(
        self,
        text: str | bytes | Sequence[int],
        *,
        on_token: Callable[[int], object] | None = None,
        parse_special: bool = False,
    ) -> None:
        """Put text at the end.

        C: llama_decode

        Arguments:
            text: text, UTF-8 bytes or token ids. At the beginning of a session text gets BOS before it, where
                the model wants it.
            on_token: called with each new token when it has been computed (the last one: when it is known).
            parse_special: recognise special tokens in text.

        Raises:
            ContextFullError: it doesn't fit (nothing has changed), and there is no ``keep``.
            TokenRangeError, InvalidArgumentError, ArgumentTypeError: tokens or text that can't be.
            CancelledError, DecodeError, KeyboardInterrupt: the session is as before.
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        if on_token is not None:
            check.function("on_token", on_token)
        self._settle()
        new = self._ids(text, not self._tokens, parse_special)
        self._extend(new, on_token)

    def prompt(self, text: str | bytes | Sequence[int], *, parse_special: bool = False) -> int:
        """Make the session hold exactly this text; what its beginning has in common with it is kept.

        The sampler begins anew.

        C: llama_memory_seq_rm, llama_decode

        Arguments:
            text: as for :meth:`feed`.
            parse_special: recognise special tokens in text.

        Returns:
            the number of tokens that were in memory already.

        Raises:
            as :meth:`feed`; the session then holds the common beginning.

        Threads: one call at a time.
        """
        self._settle()
        wanted = self._ids(text, True, parse_special)
        common = 0
        for ours, theirs in zip(self._tokens, wanted, strict=False):
            if ours != theirs:
                break
            common += 1
        held = min(common, max(len(wanted) - 1, 0), self._memory.held)
        self._cut(common)
        self._chain.reset()
        self._choices.clear()
        self._extend(wanted[common:], None)
        self._counts.cached_tokens += held
        return held

    def generate(
        self,
        max_tokens: int = 128,
        *,
        stop: str | Sequence[str] | None = (),
        special: bool = False,
    ) -> Generation:
        """Generate what comes next.

        C: llama_decode, llama_sampler_sample, llama_token_to_piece

        Arguments:
            max_tokens: stop after so many tokens; -1 = when the context is full (with ``keep``: never).
            stop: texts that end the generation; they are not yielded, but are part of the session.
            special: yield the text of control tokens too.

        Returns:
            an iterator over pieces of text, see :func:`llama_ffi.generate`. What it has chosen when it ends,
            is closed or the session is used again is part of the session.

        Raises:
            InvalidArgumentError: the session is empty and the model has no token that begins a text; an
                argument out of its range.
            ContextFullError: while iterating: no room for max_tokens tokens; the text so far is kept.
            ClosedError, BusyError; DecodeError, GrammarError … while iterating.

        Threads: one at a time; ``cancel()`` of the generation any.
        """
        self._settle()
        most = check.integer("max_tokens", max_tokens, -1)
        special = check.truth("special", special)
        stops = stop_texts.listed(stop)
        if not self._tokens:
            bos = self.model.vocab.bos
            if bos is None:
                raise InvalidArgumentError(
                    "the session is empty, and this model has no token that begins a text; feed it a word"
                )
            self._tokens.append(bos)
        memory = self._memory
        growth = Growth(self._tokens, memory)
        pieces = session_memory.pieces(memory, self._chain, growth, most, self._keep, special)
        generation = Generation(memory.ctx, growth, pieces, stops, [])
        self._running = (generation, growth)
        return generation

    # --- going back, and apart ---

    def rewind(self, n: SupportsIndex) -> None:
        """Take the last ``n`` tokens out again.

        Where the memory can't forget a part (recurrent models), the rest is computed again. What the sampler
        has seen stays seen; ``session.sampler.reset()`` makes it forget.

        C: llama_memory_seq_rm

        Raises:
            InvalidArgumentError: the text isn't that long.
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        self._settle()
        count = check.integer("n", n, 0, len(self._tokens), "as many as the text has")
        self._cut(len(self._tokens) - count)

    def fork(self) -> Session:
        """Return another session with the same text and a copy of the sampler; both go on by themselves.

        Up to ``n_forks`` of them share this context and what it remembers; the others get a context of their
        own, with a copy.

        C: llama_memory_seq_cp; llama_state_seq_get_data_ext, llama_state_seq_set_data_ext

        Raises:
            SamplerError: the sampler can't be copied.
            ContextCreateError, ClosedError, BusyError.

        Threads: one call at a time.
        """
        self._settle()
        other = object.__new__(Session)
        other._chain = self._chain.clone()
        try:
            other._memory = self._memory.fork()
        except BaseException:
            other._chain.close()
            raise
        other.model, other._keep = self.model, self._keep
        other._tokens, other._choices = self._tokens.copy(), self._choices.copy()
        other._counts = SessionStats()
        other._running = None
        return other

    # --- another day ---

    def save(self, path: str | os.PathLike[str]) -> StateFile:
        """Save the session: its tokens, what the memory holds of them, and the sampler's state.

        The sampler's state is kept as the tokens it has chosen, from which :meth:`load` restores it. That
        works for greedy, dist, top-k, top-p, min-p, typical, temp, temp-ext, top-n-sigma, logit-bias,
        penalties, dry and grammar; not for those that draw or adapt by the probabilities they see (xtc,
        mirostat, adaptive-p) and not for samplers written in Python.

        C: llama_state_seq_get_data_ext

        Arguments:
            path: the file.

        Returns:
            the file.

        Raises:
            StateSaveError, UnsupportedError …: as :meth:`llama_ffi.StateFile.save`.

        Threads: one call at a time.
        """
        self._settle()
        held = self._memory.held
        extra = {
            "session": 1,
            "rest": self._tokens[held:],
            "sampler": session_sampler.describe(self._chain, self._choices),
        }
        return StateFile.save(
            self._memory.ctx, path, self._tokens[:held], seq_id=self._memory.sequence, extra=extra
        )

    def load(self, source: Source) -> StateFile:
        """Make the session what it was when :meth:`save` wrote the file.

        The sampler must be made as it was: the same samplers with the same parameters and seed.

        C: llama_state_seq_set_data_ext

        Arguments:
            source: the file's path, or a binary stream that can be read again from its beginning.

        Returns:
            the file.

        Raises:
            StateNotFoundError, StateDamagedError, StateMismatchError, StateError: as
                :meth:`llama_ffi.StateFile.load`; StateMismatchError too if the sampler is made otherwise.
            UnsupportedError: the file's sampler had chosen tokens, and is of a kind that can't be restored.

        Threads: one call at a time.
        """
        if not isinstance(source, str | os.PathLike) and not hasattr(source, "tell"):
            raise ArgumentTypeError(f"source must be a path or an open file, not {type(source).__name__}")
        self._settle()
        try:
            begin = None if isinstance(source, str | os.PathLike) else source.tell()
        except (OSError, ValueError) as error:  # a pipe; closed
            raise StateError(f"the state can't be read twice from this stream: {error}") from error
        found = StateFile.inspect(source)
        if begin is not None:
            source.seek(begin)  # type: ignore[union-attr]
        rest, sampler = session_sampler.read(found, self.model.vocab.n_tokens)
        session_sampler.check(self._chain, sampler)
        memory = self._memory
        found = StateFile.load(memory.ctx, source, seq_id=memory.sequence)
        self._tokens = [*next(iter(found.tokens.values()), []), *rest]
        session_sampler.restore(self._chain, sampler)
        self._choices = list(sampler.choices)
        return found
