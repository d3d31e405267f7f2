"""Texts as vectors, and documents in the order of what they say about a query.

Several texts go through the model at a time, each as a sequence of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ._core import arrays, check
from ._core.model_file import Path
from .batch import Batch
from .context import Context
from .errors import InvalidArgumentError, PromptTooLongError, UnsupportedError
from .memory import Memory
from .model import Model
from .scoring import opened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Text = str | bytes | Sequence[int]

_AT_ONCE = 64
"""Texts that are computed together, at most."""


class Ranked(NamedTuple):
    """A document and how well it fits."""

    document: int
    """its place in the list that was given, from 0"""
    score: float
    """the larger, the better"""


def embed(
    model: Model | Path,
    texts: str | bytes | Iterable[Text],
    *,
    pooling: str | None = None,
    normalize: bool = True,
    truncate: bool = False,
    n_batch: int = 512,
    n_threads: int | None = None,
) -> NDArray[np.float32]:
    """Turn texts into vectors that are near each other when the texts mean the same.

    C: llama_decode, llama_encode, llama_get_embeddings_seq

    Arguments:
        model: a loaded model, or the path of one; best one that was trained for embeddings.
        texts: one text, or several; each text, UTF-8 bytes or token ids.
        pooling: how tokens' vectors become one: "mean", "cls" or "last"; None = as the model says, and "mean"
            if it says nothing.
        normalize: scale each vector to length 1.
        truncate: cut texts that the model can't take; else they are an error.
        n_batch: tokens that are computed together; more if a text is longer.
        n_threads: None = by the machine.

    Returns:
        (n_texts, n_embd_out) float32, owned; of one text (n_embd_out,).

    Raises:
        PromptTooLongError: a text has more tokens than the model was trained with.
        InvalidArgumentError: a text without tokens; a pooling that is none of the three.
        UnsupportedError: a model that encodes and decodes, or one that ranks: see :func:`rerank`.
        ModelLoadError …: as ``Model.load``; ContextCreateError, DecodeError …: as :class:`Context`.

    Threads: any; each call has a context of its own.
    """
    import numpy as np

    single = isinstance(texts, str | bytes)
    listed: list[Text] = [texts] if isinstance(texts, str | bytes) else check.listed("texts", texts, "texts")
    if pooling is not None:
        check.choice("pooling", pooling, {"mean": "mean", "cls": "cls", "last": "last"})
    with opened(model) as loaded:
        tokens = [_tokens(loaded, text, truncate) for text in listed]
        kind = pooling or _pooling(loaded)
        rows = list(_pooled(loaded, tokens, kind, n_batch, n_threads))
        result = np.stack(rows) if rows else np.empty((0, loaded.n_embd_out), np.float32)
    if check.truth("normalize", normalize):
        lengths = np.linalg.norm(result.astype(np.float64), axis=1, keepdims=True)
        result = (result / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return result[0] if single else result


def rerank(
    model: Model | Path,
    query: str,
    documents: Iterable[str],
    *,
    n_batch: int = 512,
    n_threads: int | None = None,
) -> list[Ranked]:
    """Sort documents by how well they answer a query, the best one first.

    C: llama_encode, llama_decode, llama_get_embeddings_seq

    Arguments:
        model: a loaded model with a classifier head (a "reranker"), or the path of one.
        query: what is looked for.
        documents: the texts.
        n_batch: tokens that are computed together; more if a document is longer.
        n_threads: None = by the machine.

    Returns:
        one entry for each document, with its place in ``documents`` and the model's first score, as it is.

    Raises:
        UnsupportedError: the model has no classifier head.
        PromptTooLongError: query and document together have more tokens than the model was trained with.
        InvalidArgumentError: query and document have no tokens.
        ModelLoadError …: as ``Model.load``; ContextCreateError, DecodeError …: as :class:`Context`.

    Threads: any; each call has a context of its own.
    """
    listed = check.listed("documents", documents, "texts")
    with opened(model) as loaded:
        if _pooling(loaded, ranks=True) != "rank":
            raise UnsupportedError("this model doesn't rank: it has no classifier head (pooling type RANK)")
        pairs = [_fitting(loaded, _pair(loaded, query, each), False) for each in listed]
        scores = [float(row[0]) for row in _pooled(loaded, pairs, "rank", n_batch, n_threads)]
    ranked = [Ranked(index, score) for index, score in enumerate(scores)]
    return sorted(ranked, key=lambda each: -each.score)


def _pooling(model: Model, *, ranks: bool = False) -> str:
    names = {"1": "mean", "2": "cls", "3": "last", "4": "rank"}
    kind = names.get(model.metadata.get(f"{model.arch}.pooling_type", ""), "mean")
    if kind == "rank" and not ranks:
        raise UnsupportedError("this model ranks documents; use rerank(), or choose a pooling")
    return kind


def _tokens(model: Model, text: Text, truncate: bool) -> list[int]:
    if isinstance(text, str | bytes):
        tokens = model.vocab.tokenize(text)
    else:
        tokens = arrays.int32_view(text, "a text").tolist()
    return _fitting(model, tokens, truncate)


def _fitting(model: Model, tokens: list[int], truncate: bool) -> list[int]:
    most = model.n_ctx_train
    if not tokens:
        raise InvalidArgumentError("a text has no tokens; a vector needs at least one")
    if 0 < most < len(tokens):
        if not truncate:
            raise PromptTooLongError(
                f"a text has {len(tokens)} tokens; the model was trained with {most} (truncate=True cuts it)"
            )
        ends = model.vocab.is_control(tokens[-1])  # [SEP], which these models look at
        tokens = [*tokens[: most - 1], tokens[-1]] if ends else tokens[:most]
    return tokens


def _pair(model: Model, query: str, document: str) -> list[int]:
    """Return the tokens of a query and a document, as the model was trained to see them."""
    vocab = model.vocab
    template = model.chat_template("rerank")
    if template is not None:
        text = template.replace("{query}", query).replace("{document}", document)
        return vocab.tokenize(text, add_special=False, parse_special=True)
    end = vocab.eos if vocab.eos is not None else vocab.sep
    parts: list[list[int]] = [
        [vocab.bos] if vocab.add_bos and vocab.bos is not None else [],
        vocab.tokenize(query, add_special=False),
        [end] if vocab.add_eos and end is not None else [],
        [vocab.sep] if vocab.add_sep and vocab.sep is not None else [],
        vocab.tokenize(document, add_special=False),
        [end] if vocab.add_eos and end is not None else [],
    ]
    return [token for part in parts for token in part]


def _pooled(
    model: Model, texts: Sequence[list[int]], pooling: str, n_batch: int, n_threads: int | None
) -> Iterator[NDArray[np.float32]]:
    """Yield the vector, or the scores, of each text."""
    if model.has_encoder and model.has_decoder:
        raise UnsupportedError(f"{model.arch!r} models encode for a decoder; their vectors are no embeddings")
    if not texts:
        return
    longest = max(map(len, texts))
    room = max(check.integer("n_batch", n_batch, 1), longest)
    groups = list(_groups(texts, room))
    n_seq_max = max(map(len, groups))
    room = max(sum(map(len, group)) for group in groups)
    room = -(-room // n_seq_max) * n_seq_max  # the graph for mean pooling is planned with equal shares
    with Context(
        model,
        n_ctx=room,
        n_batch=room,
        n_ubatch=room,  # a text must not be cut: it is pooled where it is computed
        n_seq_max=n_seq_max,
        kv_unified=True,
        embeddings=True,
        pooling_type=pooling,
        n_threads=n_threads,
        n_threads_batch=n_threads,
    ) as context:
        memory = _memory(context)
        compute = context.encode if memory is None else context.decode
        for group in groups:
            if memory is not None:
                memory.clear(data=False)
            batch = Batch(sum(map(len, group)))
            for sequence, tokens in enumerate(group):
                for position, token in enumerate(tokens):
                    batch.add(token, position, [sequence], logits=True)
            compute(batch)
            for sequence in range(len(group)):
                yield context.embeddings_seq(sequence)


def _memory(context: Context) -> Memory | None:
    try:
        return context.memory
    except UnsupportedError:
        return None


def _groups(texts: Sequence[list[int]], room: int) -> Iterator[list[list[int]]]:
    """Yield texts in their order, as many at a time as fit."""
    group: list[list[int]] = []
    used = 0
    for text in texts:
        if group and (used + len(text) > room or len(group) == _AT_ONCE):
            yield group
            group, used = [], 0
        group.append(text)
        used += len(text)
    yield group
