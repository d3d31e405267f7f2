"""How probable a text is to a model: log-probabilities of its tokens, and perplexity.

Perplexity is measured as llama.cpp's tool does it, in windows that the text is cut into, so that figures can
be compared: in each window only the second half counts, which every token of it sees a first half before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from ._core import arrays, check
from ._core.model_file import Path
from .batch import Batch
from .context import Context
from .errors import InvalidArgumentError, PromptTooLongError, UnsupportedError
from .model import Model
from .paths import tiny_model_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ROWS = 64
"""Rows of logits that are turned into float64 at a time."""


class Perplexity(NamedTuple):
    """What :func:`perplexity` found. ``float()`` of it is its value."""

    value: float
    """e to the mean negative log-probability: as if the model chose among so many tokens"""
    error: float
    """one standard error of the value"""
    n_tokens: int
    """tokens that were scored"""

    def __float__(self) -> float:
        return self.value


class Score(NamedTuple):
    """What :func:`score` found."""

    tokens: list[int]
    """the tokens that were scored"""
    log_probs: NDArray[np.float64]
    """(n_tokens,) float64, owned: the natural logarithm of each one's probability after all before it"""

    @property
    def total(self) -> float:
        """Return the log-probability of the whole text."""
        return float(self.log_probs.sum())

    @property
    def perplexity(self) -> float:
        """Return e to the mean negative log-probability of a token."""
        return math.exp(-self.total / len(self.tokens))


def perplexity(
    model: Model | Path | None,
    text: str | bytes | Sequence[int],
    *,
    n_ctx: int = 0,
    stride: int = 0,
    max_windows: int = 0,
    n_batch: int = 512,
    n_threads: int | None = None,
    progress: Callable[[float], object] | None = None,
) -> Perplexity:
    """Measure how well a model predicts a text.

    C: llama_decode, llama_get_logits

    Without ``stride`` the text is cut into windows of ``n_ctx`` tokens, and of each the second half is
    scored, as llama.cpp's tool does it. With it, windows begin ``stride`` tokens after each other, and of
    each the last ``stride`` tokens are scored: slower, and every token sees at least ``n_ctx - stride``
    others. A model that wants BOS gets it in place of each window's first token.

    Arguments:
        model: a loaded model or the path of one; None = the small model that ships.
        text: text, or token ids; at least ``n_ctx`` tokens. What doesn't fill a window is left out.
        n_ctx: tokens of a window, 4 or more; 0 = 512, at most what the model was trained with.
        stride: tokens between windows, up to n_ctx - 1; 0 = n_ctx, scoring halves.
        max_windows: 0 = all.
        n_batch: tokens that are computed per call.
        n_threads: None = by the machine.
        progress: called with 0.0 to 1.0; returning False ends it there, with what was scored so far.

    Returns:
        the perplexity and its standard error.

    Raises:
        InvalidArgumentError: the text is shorter than a window, or a number is out of its range.
        UnsupportedError: the model only encodes.
        ModelLoadError …: as ``Model.load``; ContextCreateError, DecodeError …: as :class:`Context`.

    Threads: any; each call has a context of its own.
    """
    import numpy as np

    check.function("progress", progress)
    with opened(model) as loaded:
        tokens = _tokens(loaded, text)
        trained = loaded.n_ctx_train
        window = check.integer("n_ctx", n_ctx, 0) or min(512, trained if trained > 0 else 512)
        check.integer("n_ctx", window, 4)
        step = check.integer("stride", stride, 0, window - 1) or window
        scored = window - window // 2 - 1 if step == window else step
        if len(tokens) < window + (step != window):
            raise InvalidArgumentError(
                f"the text has {len(tokens)} tokens, a window {window}; give more text or a smaller n_ctx"
            )
        begins = list(range(0, len(tokens) - window + 1, step))
        begins = begins[: check.integer("max_windows", max_windows, 0) or len(begins)]
        bos = loaded.vocab.bos if loaded.vocab.add_bos else None
        found: list[NDArray[np.float64]] = []
        with _context(loaded, window, n_batch, n_threads) as context:
            for number, begin in enumerate(begins):
                if progress is not None and progress(number / len(begins)) is False and found:
                    break
                part = tokens[begin : begin + window]
                if bos is not None:
                    part = [bos, *part[1:]]
                found.append(_log_probs(context, part, window - scored))
        if progress is not None:
            progress(1.0)
    losses = -np.concatenate(found)
    mean = float(losses.mean())
    spread = float(losses.std()) / math.sqrt(max(len(losses) - 1, 1))
    return Perplexity(math.exp(mean), math.exp(mean) * spread, len(losses))


def score(
    model: Model | Path | None,
    text: str | bytes | Sequence[int],
    *,
    prompt: str | bytes | Sequence[int] = (),
    n_batch: int = 512,
    n_threads: int | None = None,
) -> Score:
    """Return the log-probability of each token of a text.

    C: llama_decode, llama_get_logits

    Arguments:
        model: a loaded model or the path of one; None = the small model that ships.
        text: text, or token ids, with at least one token to score.
        prompt: what stands before it and isn't scored. Prompt and text are tokenized together; a token that
            reaches over the border counts to the text. Without a prompt a text begins with BOS where the
            model wants it; else its first token, which nothing stands before, is not scored.
        n_batch: tokens that are computed per call.
        n_threads: None = by the machine.

    Returns:
        the tokens and their log-probabilities, owned.

    Raises:
        InvalidArgumentError: no token is left to score; text on one side and token ids on the other.
        PromptTooLongError: more tokens than the model was trained with.
        UnsupportedError: the model only encodes.
        ModelLoadError …: as ``Model.load``; ContextCreateError, DecodeError …: as :class:`Context`.

    Threads: any; each call has a context of its own.
    """
    with opened(model) as loaded:
        tokens, given = _prompted(loaded, prompt, text)
        if given >= len(tokens):
            raise InvalidArgumentError(
                "no token is left to score: the text is empty, or one token long with nothing before it"
            )
        trained = loaded.n_ctx_train
        if 0 < trained < len(tokens):
            raise PromptTooLongError(
                f"prompt and text have {len(tokens)} tokens; the model was trained with {trained}"
            )
        with _context(loaded, len(tokens), n_batch, n_threads) as context:
            return Score(tokens[given:], _log_probs(context, tokens, given))


@contextmanager
def opened(model: Model | Path | None) -> Iterator[Model]:
    """Give a loaded model as it is; load one that is a path, for as long as the ``with`` lasts."""
    if isinstance(model, Model):
        yield model
    else:
        with Model.load(tiny_model_path() if model is None else model) as loaded:
            yield loaded


def _context(model: Model, n_ctx: int, n_batch: int, n_threads: int | None) -> Context:
    if not model.has_decoder:
        raise UnsupportedError(f"{model.arch!r} models only encode; they predict no next token")
    if model.has_encoder:
        raise UnsupportedError(f"{model.arch!r} models want an input for their encoder beside the text")
    size = min(check.integer("n_batch", n_batch, 1), n_ctx)
    return model.context(n_ctx=n_ctx, n_batch=size, n_threads=n_threads)


def _tokens(model: Model, text: str | bytes | Sequence[int], *, special: bool = True) -> list[int]:
    if isinstance(text, str | bytes):
        return model.vocab.tokenize(text, add_special=special)
    tokens = arrays.int32_view(text, "text").tolist()
    for token in (min(tokens), max(tokens)) if tokens else ():
        check.token(token, model.vocab.n_tokens)
    return tokens


def _prompted(
    model: Model, prompt: str | bytes | Sequence[int], text: str | bytes | Sequence[int]
) -> tuple[list[int], int]:
    """Return the tokens of both, and how many of them are given."""
    if not isinstance(prompt, str | bytes):
        prompt = check.listed("prompt", prompt, "token ids, or text")
    if not isinstance(text, str | bytes):
        if isinstance(prompt, str | bytes):
            raise InvalidArgumentError("prompt is text and text is token ids; give two of a kind")
        before = _tokens(model, prompt)
        return before + _tokens(model, text), max(len(before), 1)
    if not isinstance(prompt, str | bytes):
        if len(prompt):
            raise InvalidArgumentError("prompt is token ids and text is text; give two of a kind")
        prompt = text[:0]
    if isinstance(prompt, str) != isinstance(text, str):
        raise InvalidArgumentError("prompt and text are str and bytes; give two of a kind")
    tokens = _tokens(model, prompt + text)  # type: ignore[operator]
    before = _tokens(model, prompt)
    if tokens and model.vocab.add_eos and tokens[-1] == model.vocab.eos:
        tokens, before = tokens[:-1], before[:-1]
    same = next((i for i, pair in enumerate(zip(tokens, before, strict=False)) if pair[0] != pair[1]), None)
    return tokens, max(min(len(before), len(tokens)) if same is None else same, 1)


def _log_probs(context: Context, tokens: Sequence[int], given: int) -> NDArray[np.float64]:
    """Return log p(tokens[i] | tokens before i) for i ≥ given ≥ 1."""
    import numpy as np

    context.memory.clear(data=False)
    last, found = len(tokens) - 1, []
    for begin in range(0, last, context.n_batch):
        end = min(begin + context.n_batch, last)  # nothing is asked of the last token
        wanted = [index for index in range(begin, end) if index + 1 >= given]
        flags = [index + 1 >= given for index in range(begin, end)]
        context.decode(Batch.from_tokens(tokens[begin:end], pos0=begin, logits=flags))
        if not wanted:
            continue
        with context.borrow_logits() as rows:
            for first in range(0, len(wanted), _ROWS):
                part = rows[first : first + _ROWS].astype(np.float64)
                part -= part.max(axis=1, keepdims=True)
                sums = np.log(np.exp(part).sum(axis=1))
                targets = [tokens[index + 1] for index in wanted[first : first + _ROWS]]
                found.append(part[np.arange(len(targets)), targets] - sums)
    return np.concatenate(found)
