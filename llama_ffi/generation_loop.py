"""The loop behind ``generate``: decode, choose, turn into text, and keep the books.

It is as tight as Python allows: one batch of one token that is refilled in place, functions and pieces looked
up once, nothing allocated per token on the C side.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

from ._core import stop_texts
from ._core.text import Utf8Decoder
from .batch import Batch
from .context import Context
from .errors import CancelledError
from .sampler import SamplerChain
from .sampler.choosing import GREEDY


@dataclass(frozen=True)
class Usage:
    """How many tokens a generation took."""

    prompt_tokens: int
    """tokens of the prompt, those that were in memory already included"""
    completion_tokens: int
    """tokens that were chosen, the one that ends generation included"""
    cached_tokens: int = 0
    """tokens of the prompt that were in memory already and were not computed"""

    @property
    def total_tokens(self) -> int:
        """Return the tokens of the prompt and of what was generated."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Timings:
    """How long a generation took; what its user did between two pieces is included."""

    prompt_seconds: float
    """from the first ``next()`` to the first token"""
    completion_seconds: float
    """from the first token to the last so far"""


class Progress:
    """What a generation has done so far; written by its loop, read by anyone."""

    __slots__ = (
        "cached",
        "finish_reason",
        "first",
        "last",
        "made",
        "sequence",
        "skip_space",
        "start",
        "tokens",
    )

    def __init__(
        self, tokens: list[int], cached: int = 0, skip_space: bool = False, sequence: int = 0
    ) -> None:
        """Begin with a prompt.

        Arguments:
            tokens: the prompt.
            cached: how many of them are in memory already.
            skip_space: the text will begin with a space that isn't meant.
            sequence: where it goes on.
        """
        self.tokens = tokens
        self.sequence = sequence
        self.cached = cached
        self.skip_space = skip_space
        self.made: list[int] = []
        self.finish_reason: str | None = None
        self.start = self.first = self.last = 0.0


def texts(
    pieces: Generator[bytes, None, None], progress: Progress, stops: list[str], owned: list[Any]
) -> Generator[str, None, None]:
    """Yield text made of ``pieces``; close them and ``owned`` at the end, however it comes."""
    try:
        decoder = Utf8Decoder()
        chosen = _without_space(pieces) if progress.skip_space else pieces
        if not stops:
            for text in map(decoder.feed, chosen):
                if text:
                    yield text
        else:
            held = ""
            for piece in chosen:
                held += decoder.feed(piece)
                text, held, done = stop_texts.until(held, stops)
                if text:
                    yield text
                if done:
                    progress.finish_reason = "stop"
                    return
            if held:
                yield held
        rest = decoder.flush()
        if rest:
            yield rest
    except CancelledError:
        progress.finish_reason = "cancelled"
        raise
    finally:
        pieces.close()
        for each in owned:
            each.close()


def _without_space(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if piece:
            yield piece.removeprefix(b" ")
            break
    yield from pieces


def pieces_of(
    ctx: Context, chain: SamplerChain, progress: Progress, most: int, special: bool
) -> Generator[bytes, None, None]:
    """Yield the bytes of one token after the other, without the one that ends generation."""
    clock = time.perf_counter
    progress.start = progress.first = progress.last = clock()
    if most == 0:
        progress.finish_reason = "length"
        return
    position = feed(ctx, progress.tokens, progress.cached, progress.sequence)
    vocab = ctx.model.vocab
    size = min(ctx.n_ctx_seq, ctx._limits.position_limit)
    known: dict[int, bytes | None] = {}
    batch = Batch.from_tokens([0], seq_id=progress.sequence)
    ids, positions = batch.ptr.token, batch.ptr.pos
    chain_handle, ctx_handle = chain._handle, ctx._handle
    sample, decode, outputs = chain._sample, ctx._decoder.decode, ctx._outputs
    greedy = chain._sample_c
    left = most
    with chain_handle as chain_ptr, ctx_handle as ctx_ptr:
        token = sample(chain_ptr, ctx_ptr, outputs, -1)
    progress.first = clock()
    made = progress.made
    while True:
        made.append(token)
        progress.last = clock()
        try:
            piece = known[token]
        except KeyError:
            piece = known[token] = None if vocab.is_eog(token) else vocab.piece(token, special)
        if piece is None:
            progress.finish_reason = "stop"
            return
        left -= 1
        if left == 0 or position >= size:
            progress.finish_reason = "length"
            yield piece
            return
        yield piece
        ids[0] = token
        positions[0] = position
        batch._end = position + 1
        # nothing is held over the `yield`: meanwhile the chain is free for whoever owns it
        with chain_handle as chain_ptr, ctx_handle as ctx_ptr:
            decode(ctx_ptr, batch)
            # what `sample` checks for a greedy chain, a row of logits, was there for the first token
            if chain._plain is GREEDY:
                token = greedy(chain_ptr, ctx_ptr, -1)
            else:
                token = sample(chain_ptr, ctx_ptr, outputs, -1)
        position += 1


def feed(ctx: Context, tokens: list[int], cached: int, sequence: int = 0) -> int:
    """Decode the prompt in slices, without the first ``cached`` tokens; return the position after it."""
    if ctx.model.has_encoder:
        ctx.encode(Batch.from_tokens(tokens, logits="all"))
        first = ctx.model.decoder_start_token
        tokens = [ctx.model.vocab.bos or 0 if first is None else first]
    step = ctx.n_batch
    for start in range(cached, len(tokens), step):
        part = tokens[start : start + step]
        last = start + len(part) == len(tokens)
        ctx.decode(Batch.from_tokens(part, pos0=start, seq_id=sequence, logits="last" if last else None))
    return len(tokens)
