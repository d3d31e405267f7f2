"""cyllama's batches, and the functions that fill them."""

from __future__ import annotations

from collections.abc import Sequence

from ...batch import Batch
from ...errors import InvalidArgumentError
from . import checks
from .errors import BatchFullError


class LlamaBatch:
    """Room for tokens of one decode.

    Arguments:
        n_tokens: how many fit, 1 or more.
        embd: 0 = tokens; else embeddings of this width, which go in by ``batch.safe.set_embeddings``.
        n_seq_max: sequences that one token can belong to.
        verbose: without effect.

    Threads: one at a time.
    """

    __slots__ = ("_safe", "embd", "n_seq_max", "verbose")

    embd: int
    n_seq_max: int
    verbose: bool

    def __init__(self, *, n_tokens: int, embd: int = 0, n_seq_max: int = 1, verbose: bool = True) -> None:
        self._safe: Batch | None = Batch(n_tokens, n_seq_max, embd)
        self.embd = embd
        self.n_seq_max = n_seq_max
        self.verbose = verbose

    @property
    def safe(self) -> Batch:
        """Return llama_ffi's batch under it.

        Raises:
            InvalidArgumentError: it is closed.
        """
        if self._safe is None:
            raise InvalidArgumentError("the batch is closed")
        return self._safe

    @property
    def n_tokens(self) -> int:
        """Return how many tokens are in it."""
        return len(self.safe)

    def add(self, id: int, pos: int, seq_ids: Sequence[int], logits: bool) -> None:
        """Append one token.

        Arguments:
            id: the token.
            pos: its position.
            seq_ids: the sequences it belongs to.
            logits: whether it shall have outputs.

        Raises:
            BatchFullError (an IndexError): there is no room.
            InvalidArgumentError: a value can't be.
        """
        batch = self.safe
        self._room(1)
        batch.add(id, pos, seq_ids, bool(logits))

    def clear(self) -> None:
        """Forget the content; the room stays."""
        self.safe.clear()

    def reset(self) -> None:
        """Forget the content; the room stays."""
        self.safe.clear()

    def set_batch(self, batch: Sequence[int], n_past: int, logits_all: bool) -> None:
        """Replace the content by consecutive tokens of sequence 0.

        Arguments:
            batch: the tokens, at least one.
            n_past: the position of the first.
            logits_all: outputs for all of them; else for the last only.

        Raises:
            BatchFullError (an IndexError): there is no room.
            InvalidArgumentError: a value can't be.
        """
        safe = self.safe
        batch = checks.tokens("batch", batch)
        safe.clear()
        self._room(len(batch))
        safe.set(batch, n_past, 0, "all" if logits_all else "last")

    def add_sequence(self, batch: Sequence[int], seq_id: int, logits_all: bool) -> None:
        """Append tokens of one sequence, from its position 0 on.

        Arguments:
            batch: the tokens.
            seq_id: the sequence.
            logits_all: outputs for all of them; else for the last only.

        Raises:
            BatchFullError (an IndexError): there is no room for all of them; none was added.
            InvalidArgumentError: a value can't be.
        """
        safe = self.safe
        batch = checks.tokens("batch", batch)
        self._room(len(batch))
        for position, token in enumerate(batch):
            safe.add(token, position, [seq_id], bool(logits_all) or position == len(batch) - 1)

    def set_last_logits_to_true(self) -> None:
        """Ask for outputs of the last token; an empty batch stays as it is."""
        safe = self.safe
        if not len(safe) or safe.outputs[-1]:
            return
        rows = list(zip(safe.tokens, safe.positions, safe.sequences, safe.outputs, strict=True))
        safe.clear()
        for index, (token, position, sequences, output) in enumerate(rows):
            safe.add(token, position, sequences, output or index == len(rows) - 1)

    def close(self) -> None:
        """Give its memory back; a second call does nothing."""
        self._safe = None

    def _room(self, count: int) -> None:
        safe = self.safe
        if len(safe) + count > safe.capacity:
            raise BatchFullError(f"{len(safe)} + {count} tokens don't fit into a batch of {safe.capacity}")


def safe_batch(batch: LlamaBatch) -> Batch:
    """Return llama_ffi's batch of ``batch``, or raise what it is instead."""
    return checks.instance("batch", batch, LlamaBatch).safe


def common_batch_add(batch: LlamaBatch, id: int, pos: int, seq_ids: Sequence[int], logits: bool) -> None:
    """Append one token; arguments and errors as :meth:`LlamaBatch.add`, of ``batch``.

    Threads: one at a time.
    """
    safe_batch(batch)
    batch.add(id, pos, seq_ids, logits)


def common_batch_clear(batch: LlamaBatch) -> None:
    """Forget the content of ``batch``; the room stays.

    Threads: one at a time.
    """
    safe_batch(batch).clear()


def llama_batch_get_one(tokens: Sequence[int], n_past: int = 0) -> LlamaBatch:
    """Return a batch of consecutive tokens of sequence 0, with outputs for the last.

    Arguments:
        tokens: the tokens, at least one.
        n_past: the position of the first.

    Raises:
        InvalidArgumentError: no tokens, or a value can't be.

    Threads: any.
    """
    if not len(checks.tokens("tokens", tokens)):
        raise InvalidArgumentError("a batch needs at least one token")
    batch = LlamaBatch(n_tokens=len(tokens))
    batch.set_batch(tokens, n_past, False)
    return batch
