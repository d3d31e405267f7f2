"""What a model is trained on: rows of tokens, each with what shall follow each token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ._core import arrays, check
from .errors import InvalidArgumentError


class Dataset:
    """Rows of tokens, each with what shall follow each token.

    Arguments:
        rows: token ids: a list of equally long lists, or an array (row, token). Without ``labels`` each row
            has one more token than the trainer's ``n_ctx``: what follows a token is the next one.
        labels: what follows each token, of the same shape as ``rows``.

    Raises:
        InvalidArgumentError: no rows, rows of different lengths, labels of another shape.
        ArgumentTypeError: something else than integers.

    Threads: any may read.
    """

    __slots__ = ("_labels", "_tokens", "n_ctx")

    n_ctx: int
    """tokens of a row that are trained on"""

    def __init__(self, rows: Sequence[arrays.Int32s], labels: Sequence[arrays.Int32s] | None = None) -> None:
        tokens = [_row(row, "rows") for row in check.listed("rows", rows, "rows of tokens")]
        if not tokens or len({len(row) for row in tokens}) != 1:
            raise InvalidArgumentError("a dataset needs at least one row, and all rows of one length")
        if labels is None:
            self._labels = [row[1:] for row in tokens]
            self._tokens = [row[:-1] for row in tokens]
        else:
            given = check.listed("labels", labels, "rows of tokens")
            self._tokens, self._labels = tokens, [_row(row, "labels") for row in given]
            if [len(row) for row in self._labels] != [len(row) for row in self._tokens]:
                raise InvalidArgumentError("labels must have the same shape as rows")
        self.n_ctx = len(self._tokens[0])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._tokens)

    def __iter__(self) -> Iterator[tuple[memoryview, memoryview]]:
        """Iterate over (tokens, labels), both views of int32."""
        return iter(zip(self._tokens, self._labels, strict=True))


def _row(values: arrays.Int32s, what: str) -> memoryview:
    return arrays.int32_view(values, what)
