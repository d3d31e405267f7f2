"""What was put into a batch of libllama's own kind, which C doesn't tell.

It explains what C refuses, and takes a failed call out of the memory again.
"""

from __future__ import annotations

from typing import Any

from ._core.owned import Owned
from .errors import InvalidBatchError


class Entries(Owned):
    """The part of :class:`BatchExt` that can be read."""

    __slots__ = ("_last_row", "_limits", "_outputs", "_rows", "_tokens", "_where", "_who")

    _limits: Any
    """of the context"""

    def _forget(self) -> None:
        self._tokens: list[int | None] = []
        self._who: list[list[int]] = []
        self._where: list[int | None] = []
        self._outputs: list[bool] = []
        self._rows: set[int] = set()  # entries with an embedding
        self._last_row = -1

    def __len__(self) -> int:
        return len(self._who)

    # --- looking ---

    @property
    def tokens(self) -> list[int]:
        """Return the token ids, a copy; entries without are left out."""
        return [token for token in self._tokens if token is not None]

    @property
    def positions(self) -> list[int]:
        """Return the positions, a copy; with M-RoPE the first of four; -1 = not set yet."""
        return [-1 if place is None else place for place in self._where]

    @property
    def sequences(self) -> list[list[int]]:
        """Return the sequences of each entry, a copy."""
        return [list(each) for each in self._who]

    @property
    def outputs(self) -> list[bool]:
        """Return for each entry whether it shall have outputs, a copy."""
        return list(self._outputs)

    @property
    def n_embd(self) -> int:
        """Return the width of its embeddings; 0 = it has none."""
        return int(self._limits.n_embd_inp) if self._rows else 0

    # --- for the decoder ---

    @property
    def _value(self) -> Any:
        return self._handle.ptr

    _plain = False
    _four = False

    @property
    def _n_outputs(self) -> int:
        return sum(self._outputs)

    @property
    def _end(self) -> int:
        return max(self.positions) + 1

    @property
    def _has_tokens(self) -> bool:
        return self._tokens[0] is not None

    def _coupled(self) -> bool:
        return any(len(each) > 1 for each in self._who)

    def check(self) -> None:
        """Raise for entries that C would not refuse, or only with a word to its log.

        Raises:
            InvalidBatchError: an entry without a position or content, or not all have the same kind of it.
        """
        for index, place in enumerate(self._where):
            if place is None:
                raise InvalidBatchError(f"entry {index} has no position; set_pos() sets it")
            if self._tokens[index] is None and index not in self._rows:
                raise InvalidBatchError(f"entry {index} has neither a token nor an embedding")
        for index, token in enumerate(self._tokens):
            if (token is None, index in self._rows) != (self._tokens[0] is None, 0 in self._rows):
                raise InvalidBatchError(
                    f"entry {index} is of another kind than entry 0: all must have a token, an embedding, "
                    f"or both"
                )
