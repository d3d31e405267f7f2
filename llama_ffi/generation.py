"""The short way: a prompt in, pieces of text out, as they come.

The loop is as tight as Python allows: one batch of one token that is refilled in place, functions and
pieces looked up once, nothing allocated per token on the C side.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from typing import Any, SupportsIndex

from ._core import arrays, check
from ._core.text import Utf8Decoder
from .batch import Batch
from .context import Context
from .errors import ArgumentTypeError, BusyError, InvalidArgumentError, PromptTooLongError
from .model import Model
from .paths import tiny_model_path
from .sampler import SamplerChain
from .sampler.choosing import GREEDY


def generate(
    prompt: str | bytes | Sequence[int],
    *,
    model: Model | str | bytes | os.PathLike[str] | None = None,
    max_tokens: int = 128,
    temp: float = 0.8,
    top_k: int = 40,
    top_p: float = 0.95,
    min_p: float = 0.05,
    seed: SupportsIndex | None = None,
    sampler: SamplerChain | None = None,
    stop: str | Sequence[str] | None = (),
    n_ctx: int = 0,
    n_batch: int = 512,
    n_threads: int | None = None,
    n_gpu_layers: int | None = None,
    add_special: bool = True,
    parse_special: bool = False,
    special: bool = False,
) -> Generation:
    """Generate text that continues a prompt.

    C: llama_decode, llama_sampler_sample, llama_token_to_piece

    Arguments:
        prompt: text, UTF-8 bytes, or token ids. An empty one starts with BOS.
        model: a loaded model, or the path of a GGUF file; None = the small model that ships with the package.
        max_tokens: stop after so many tokens; -1 = when the context is full.
        temp: 0 = always the most likely token; the higher, the more random.
        top_k: sample among the best k tokens only, 0 = all.
        top_p: sample among the best tokens that have this probability together, 1 = all.
        min_p: sample among tokens with at least this share of the best one's probability, 0 = all.
        seed: of the random numbers, 0 to 2**32-1; None = a random one.
        sampler: a chain of your own instead of temp, top_k, top_p, min_p and seed. It stays yours, with the
            state it has afterwards.
        stop: texts that end the generation, or None; they are not part of what is yielded.
        n_ctx: size of the context in tokens; 0 = as many as the prompt and max_tokens need, at most as many
            as the model was trained with.
        n_batch: tokens of the prompt that are computed per call.
        n_threads: None = by the machine.
        n_gpu_layers: layers on GPUs, if ``model`` is a path; None = all.
        add_special: put BOS around the prompt where the model wants it.
        parse_special: recognise special tokens in the prompt's text.
        special: yield the text of control tokens too.

    Returns:
        an iterator over pieces of text, with ``cancel()`` and ``close()``; each is valid text by itself:
        a character that is spread over tokens is held back until it is complete. It ends at a token that ends
        generation, at max_tokens, at ``stop``, or when the context is full. Closing or dropping frees
        everything.

    Raises:
        PromptTooLongError: the prompt doesn't fit into the context.
        ModelLoadError …: as ``Model.load``; ContextCreateError: as ``Context``.
        InvalidArgumentError, ArgumentTypeError: an argument is out of its range.
        TokenRangeError, DecodeError, GrammarError …: while iterating.

    Threads: one at a time per iterator; iterators on one model may run side by side.
    """
    most = check.integer("max_tokens", max_tokens, -1)
    stops = _stops(stop)
    check.integer("n_ctx", n_ctx, 0)
    chain = _chain(temp, top_k, top_p, min_p, seed) if sampler is None else sampler
    if not isinstance(chain, SamplerChain):
        raise ArgumentTypeError(f"sampler must be a SamplerChain, not {type(chain).__name__}")
    own_model = not isinstance(model, Model)
    if isinstance(model, Model):
        loaded = model
    else:
        loaded = Model.load(tiny_model_path() if model is None else model, n_gpu_layers=n_gpu_layers)
    try:
        tokens = _tokens(loaded, prompt, add_special, parse_special)
        wanted = n_ctx or _room(loaded, len(tokens), most)
        if n_ctx == 0 and len(tokens) > wanted:
            raise PromptTooLongError(
                f"the prompt has {len(tokens)} tokens; the model was trained with a context of {wanted}"
            )
        context = Context(loaded, n_ctx=wanted, n_batch=n_batch, n_ubatch=0, n_threads=n_threads)
        if len(tokens) > context.n_ctx_seq:
            raise PromptTooLongError(
                f"the prompt has {len(tokens)} tokens, the context holds {context.n_ctx_seq}; use a larger "
                "n_ctx"
            )
        _ = context.memory  # a model without one generates nothing
    except BaseException:
        if own_model:
            loaded.close()
        raise
    owned: list[Any] = [context]
    if sampler is None:
        owned.append(chain)
    if own_model:
        owned.append(loaded)
    return Generation(context, _text(context, chain, tokens, most, stops, special, owned), owned)


class Generation:
    """Text in the making: an iterator over its pieces, which any thread can stop.

    Threads: ``next()`` one at a time; ``cancel()`` any.
    """

    __slots__ = ("__weakref__", "_context", "_owned", "_pieces")

    def __init__(self, context: Context, pieces: Generator[str, None, None], owned: list[Any]) -> None:
        """Made by :func:`generate`."""
        self._context = context
        self._pieces = pieces
        self._owned = owned

    def __iter__(self) -> Generation:
        return self

    def __next__(self) -> str:
        try:
            return next(self._pieces)
        except ValueError as error:
            if "already executing" not in str(error):
                raise
            raise BusyError("another thread is inside next() of this generation") from None

    def cancel(self) -> None:
        """Make the running ``next()`` raise CancelledError, or the following one.

        What the abort callback reads is set, see :meth:`Context.cancel`.

        Threads: any; returns at once.
        """
        self._context.cancel()

    def close(self) -> None:
        """End it and free what it holds; a second call does nothing.

        Raises:
            BusyError: another thread is inside ``next()``; ``cancel()`` it first.
        """
        try:
            self._pieces.close()
        except ValueError:  # "generator already executing"
            raise BusyError("another thread is inside next() of this generation; cancel() it first") from None
        for each in self._owned:  # a generator that has not begun doesn't run its own end
            each.close()

    def __enter__(self) -> Generation:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _text(
    ctx: Context,
    chain: SamplerChain,
    tokens: list[int],
    most: int,
    stops: list[str],
    special: bool,
    owned: list[Any],
) -> Generator[str, None, None]:
    """Yield the text; close ``owned`` at the end, however it comes."""
    try:
        decoder = Utf8Decoder()
        pieces = _pieces(ctx, chain, tokens, most, special)
        if not stops:
            for text in map(decoder.feed, pieces):
                if text:
                    yield text
        else:
            held = ""
            for piece in pieces:
                held += decoder.feed(piece)
                text, held, done = _until(held, stops)
                if text:
                    yield text
                if done:
                    return
            if held:
                yield held
        rest = decoder.flush()
        if rest:
            yield rest
    finally:
        for each in owned:
            each.close()


def _pieces(
    ctx: Context, chain: SamplerChain, tokens: list[int], most: int, special: bool
) -> Iterator[bytes]:
    """Yield the bytes of one token after the other, without the one that ends generation."""
    if most == 0:
        return
    position = _feed(ctx, tokens)
    vocab = ctx.model.vocab
    size = ctx.n_ctx_seq
    known: dict[int, bytes | None] = {}
    batch = Batch.from_tokens([0])
    value = batch.ptr[0]
    ids, positions = value.token, value.pos
    chain_handle, ctx_handle = chain._handle, ctx._handle
    sample, decode, outputs = chain._sample, ctx._decoder.one, ctx._outputs
    greedy = chain._sample_c
    left = most
    with chain_handle as chain_ptr, ctx_handle as ctx_ptr:
        token = sample(chain_ptr, ctx_ptr, outputs, -1)
    while True:
        try:
            piece = known[token]
        except KeyError:
            piece = known[token] = None if vocab.is_eog(token) else vocab.piece(token, special)
        if piece is None:
            return
        yield piece
        left -= 1
        if left == 0 or position >= size:
            return
        ids[0] = token
        positions[0] = position
        # nothing is held over the `yield`: meanwhile the chain is free for whoever owns it
        with chain_handle as chain_ptr, ctx_handle as ctx_ptr:
            decode(ctx_ptr, batch, value)
            # what `sample` checks for a greedy chain, a row of logits, was there for the first token
            if chain._plain is GREEDY:
                token = greedy(chain_ptr, ctx_ptr, -1)
            else:
                token = sample(chain_ptr, ctx_ptr, outputs, -1)
        position += 1


def _feed(ctx: Context, tokens: list[int]) -> int:
    """Decode the prompt in slices; return the position after it."""
    if ctx.model.has_encoder:
        ctx.encode(Batch.from_tokens(tokens, logits="all"))
        first = ctx.model.decoder_start_token
        tokens = [ctx.model.vocab.bos or 0 if first is None else first]
    step = ctx.n_batch
    for start in range(0, len(tokens), step):
        part = tokens[start : start + step]
        last = start + len(part) == len(tokens)
        ctx.decode(Batch.from_tokens(part, pos0=start, logits="last" if last else None))
    return len(tokens)


def _until(text: str, stops: list[str]) -> tuple[str, str, bool]:
    """Return (what can be yielded, what must be held back, whether a stop text was found)."""
    ends = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    if ends:
        return text[: min(ends)], "", True
    longest = max(map(len, stops)) - 1
    for length in range(min(longest, len(text)), 0, -1):
        tail = text[-length:]
        if any(stop.startswith(tail) for stop in stops):
            return text[:-length], tail, False
    return text, "", False


def _stops(stop: str | Sequence[str] | None) -> list[str]:
    if stop is None:
        return []
    stops = [stop] if isinstance(stop, str) else check.listed("stop", stop, "texts")
    for each in stops:
        if not isinstance(each, str):
            raise ArgumentTypeError(f"stop must be text or a list of texts, not {type(each).__name__}")
    return [each for each in stops if each]


def _chain(temp: float, top_k: int, top_p: float, min_p: float, seed: SupportsIndex | None) -> SamplerChain:
    temperature = check.real("temp", temp, 0.0, 1e6)
    best = check.integer("top_k", top_k, 0)
    mass = check.real("top_p", top_p, 0.0, 1.0)
    share = check.real("min_p", min_p, 0.0, 1.0)
    if seed is not None:
        check.seed(seed)
    chain = SamplerChain()
    if temperature == 0.0:
        return chain.add_greedy()
    if best:
        chain.add_top_k(best)
    if mass < 1.0:
        chain.add_top_p(mass)
    if share > 0.0:
        chain.add_min_p(share)
    return chain.add_temp(temperature).add_dist(seed)


def _tokens(
    model: Model, prompt: str | bytes | Sequence[int], add_special: bool, parse_special: bool
) -> list[int]:
    if isinstance(prompt, str | bytes):
        tokens = model.vocab.tokenize(prompt, add_special, parse_special)
    else:
        tokens = arrays.int32_view(prompt, "prompt").tolist()
        if tokens:
            check.token(min(tokens), model.vocab.n_tokens)
            check.token(max(tokens), model.vocab.n_tokens)
    if tokens:
        return tokens
    start = model.vocab.bos
    if start is None:
        raise InvalidArgumentError(
            "the prompt is empty, and this model has no token that begins a text; give it a word"
        )
    return [start]


def _room(model: Model, n_prompt: int, most: int) -> int:
    """Return the size of a context that is just large enough."""
    trained = model.n_ctx_train
    if trained <= 0:
        return n_prompt + (most if most > 0 else 512)
    return trained if most < 0 else min(trained, n_prompt + most)
