"""The short way: a prompt in, pieces of text out, as they come."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from typing import Any, SupportsIndex

from ._core import arrays, check, stop_texts
from .context import Context
from .errors import BusyError, InvalidArgumentError, PromptTooLongError
from .generation_loop import Progress, Timings, Usage, pieces_of, texts
from .model import Model
from .model_params import GpuLayers
from .paths import tiny_model_path
from .sampler import Sampler, SamplerChain, forms


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
    json_schema: Mapping[str, Any] | bool | str | bytes | type | None = None,
    regex: str | None = None,
    lark: str | None = None,
    grammar: str | None = None,
    stop: str | Sequence[str] | None = (),
    n_ctx: int = 0,
    n_batch: int = 512,
    n_threads: int | None = None,
    n_gpu_layers: GpuLayers = None,
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
        json_schema: write JSON that satisfies this schema, see :meth:`Sampler.json_schema`.
        regex: write text that this regular expression matches, see :meth:`Sampler.regex`.
        lark: write text of this Lark grammar, see :meth:`Sampler.lark`.
        grammar: write text of this GBNF grammar, see :meth:`Sampler.grammar`. One of these four at most, and
            none with a ``sampler``, to which it can be added. The text is whole if ``finish_reason`` is
            "stop".
        stop: texts that end the generation, or None; they are not part of what is yielded.
        n_ctx: size of the context in tokens; 0 = as many as the prompt and max_tokens need, at most as many
            as the model was trained with.
        n_batch: tokens of the prompt that are computed per call.
        n_threads: None = by the machine.
        n_gpu_layers: layers on GPUs, if ``model`` is a path; None = all, "auto" = as many as fit.
        add_special: put BOS around the prompt where the model wants it.
        parse_special: recognise special tokens in the prompt's text.
        special: yield the text of control tokens too.

    Returns:
        an iterator over pieces of text, with ``cancel()`` and ``close()``; each is valid text by itself:
        a character that is spread over tokens is held back until it is complete. It ends at a token that ends
        generation, at max_tokens, at ``stop``, or when the context is full: ``finish_reason`` says which,
        ``usage`` and ``timings`` what it took. Closing or dropping frees everything.

    Raises:
        PromptTooLongError: the prompt doesn't fit into the context.
        ModelLoadError …: as ``Model.load``; ContextCreateError: as ``Context``.
        InvalidArgumentError, ArgumentTypeError: an argument is out of its range.
        GrammarError, UnsupportedError: as the samplers named above.
        TokenRangeError, DecodeError, GrammarError …: while iterating.

    Threads: one at a time per iterator; iterators on one model may run side by side.
    """
    most = check.integer("max_tokens", max_tokens, -1)
    special = check.truth("special", special)
    stops = stop_texts.listed(stop)
    check.integer("n_ctx", n_ctx, 0)
    form = forms.chosen(sampler=sampler, json_schema=json_schema, regex=regex, lark=lark, grammar=grammar)
    chain = sampler_chain(temp, top_k, top_p, min_p, seed) if sampler is None else sampler
    check.instance("sampler", chain, SamplerChain)
    own_model = not isinstance(model, Model)
    if isinstance(model, Model):
        loaded = model
    else:
        room = {"n_ctx": n_ctx} if n_ctx and n_gpu_layers == "auto" else None
        path = tiny_model_path() if model is None else model
        loaded = Model.load(path, n_gpu_layers=n_gpu_layers, fit_context=room)
    try:
        if form is not None and sampler is None:
            chain = sampler_chain(temp, top_k, top_p, min_p, seed, forms.sampler(loaded.vocab, form))
        tokens = _tokens(loaded, prompt, add_special, parse_special)
        context = context_for(loaded, tokens, most, n_ctx=n_ctx, n_batch=n_batch, n_threads=n_threads)
    except BaseException:
        if own_model:
            loaded.close()
        raise
    owned: list[Any] = [context]
    if sampler is None:
        owned.append(chain)
    if own_model:
        owned.append(loaded)
    progress = Progress(tokens)
    pieces = pieces_of(context, chain, progress, most, special)
    return Generation(context, progress, pieces, stops, owned)


def context_for(
    model: Model, tokens: list[int], most: int, *, n_ctx: int, n_batch: int, n_threads: int | None
) -> Context:
    """Return a context that holds the prompt and ``most`` tokens (-1: as many as the model was trained for).

    Raises:
        PromptTooLongError: the prompt doesn't fit.
        UnsupportedError: the model has no memory, so it generates nothing.
        ContextCreateError …: as :class:`Context`.
    """
    wanted = n_ctx or _room(model, len(tokens), most)
    if n_ctx == 0 and len(tokens) > wanted:
        raise PromptTooLongError(
            f"the prompt has {len(tokens)} tokens; the model was trained with a context of {wanted}"
        )
    context = Context(model, n_ctx=wanted, n_batch=n_batch, n_ubatch=0, n_threads=n_threads)
    try:
        if len(tokens) > context.n_ctx_seq:
            raise PromptTooLongError(
                f"the prompt has {len(tokens)} tokens, the context holds {context.n_ctx_seq}; use a larger "
                "n_ctx"
            )
        _ = context.memory
    except BaseException:
        context.close()
        raise
    return context


class Generation:
    """Text in the making: an iterator over its pieces, which any thread can stop.

    Threads: ``next()`` one at a time; ``cancel()`` any.
    """

    __slots__ = ("__weakref__", "_context", "_owned", "_pieces", "_progress")

    def __init__(
        self,
        context: Context,
        progress: Progress,
        pieces: Generator[bytes, None, None],
        stops: list[str],
        owned: list[Any],
    ) -> None:
        """Made by :func:`generate`."""
        self._context = context
        self._progress = progress
        self._pieces = texts(pieces, progress, stops, owned)
        self._owned = owned

    @property
    def finish_reason(self) -> str | None:
        """Why it has ended; None while it goes on, after ``close()``, and after another error.

        "stop": a token that ends generation, or a stop text; "length": max_tokens, or the context is full;
        "cancelled": ``cancel()``.
        """
        return self._progress.finish_reason

    @property
    def usage(self) -> Usage:
        """Return the tokens it took so far, a copy."""
        progress = self._progress
        return Usage(len(progress.tokens), len(progress.made), progress.cached)

    @property
    def timings(self) -> Timings:
        """Return the time it took so far, a copy."""
        progress = self._progress
        return Timings(progress.first - progress.start, progress.last - progress.first)

    @property
    def tokens(self) -> list[int]:
        """Return the tokens that were chosen so far, a copy."""
        return self._progress.made.copy()

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


def sampler_chain(
    temp: float,
    top_k: int,
    top_p: float,
    min_p: float,
    seed: SupportsIndex | None,
    form: Sampler | None = None,
) -> SamplerChain:
    """Return the usual chain for these options, behind ``form`` if it is given; see :func:`generate`."""
    temperature = check.real("temp", temp, 0.0, 1e6)
    best = check.integer("top_k", top_k, 0)
    mass = check.real("top_p", top_p, 0.0, 1.0)
    share = check.real("min_p", min_p, 0.0, 1.0)
    if seed is not None:
        check.seed(seed)
    chain = SamplerChain()
    if form is not None:
        chain.add(form)
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
