"""The tokens to choose from, with their logits: what samplers work on, as numpy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsIndex

from .._core import arrays, binding, check
from .._core.candidates import ROW_BYTES, Table
from ..errors import ArgumentTypeError, InvalidArgumentError, SamplerError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

MAX_LOGIT = 1e8
"""Where llama.cpp sorts more than 128 candidates, it puts logits from 3.4e8 on behind all others."""

ANY_TOKEN = 2**31
"""Where ids end if no vocabulary is known."""


def dtype() -> np.dtype[Any]:
    """Return llama_token_data as a numpy type."""
    import numpy as np

    return np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Candidates:
    """Tokens to choose from.

    C: llama_token_data_array

    Arguments:
        logits: (n,) of real numbers, at least one, none of them NaN or +inf; copied.
        ids: (n,) the tokens they belong to; None = 0, 1, 2 …

    Raises:
        ArgumentTypeError, InvalidArgumentError: something else than that.

    ``chain.apply(candidates)`` works on it in place, and a sampler written in Python is given one. The arrays
    are views: writing into them changes the candidates.

    Threads: one at a time.
    """

    __slots__ = ("_rows", "_selected", "_sorted")

    _rows: NDArray[Any] | None
    """None when they are given back"""

    def __init__(self, logits: ArrayLike, ids: ArrayLike | None = None) -> None:
        import numpy as np

        try:
            values = np.asarray(logits, np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            raise ArgumentTypeError(f"logits must be an array of numbers: {error}") from None
        if values.ndim != 1 or not values.size:
            raise InvalidArgumentError(f"logits have the shape {values.shape}; it must be (n,) with n > 0")
        rows = np.zeros(values.size, dtype())
        rows["logit"] = values
        given = range_of(values.size) if ids is None else arrays.int32_view(ids, "ids")
        if len(given) != values.size:
            raise InvalidArgumentError(f"there are {len(given)} ids for {values.size} logits")
        rows["id"] = given
        check_rows(rows, "Candidates", ANY_TOKEN)
        self._rows, self._selected, self._sorted = rows, -1, False

    @classmethod
    def _lend(cls, rows: NDArray[Any], selected: int, is_sorted: bool) -> Candidates:
        """Return candidates over somebody else's memory, to be ended with ``_take_back``."""
        lent = cls.__new__(cls)
        lent._rows, lent._sorted = rows, is_sorted
        lent._selected = selected if selected < len(rows) else -1
        return lent

    def _take_back(self) -> int:
        """End it; return how many are left."""
        size, self._rows = len(self), None
        return size

    def __len__(self) -> int:
        return int(self.data.shape[0])

    def __repr__(self) -> str:
        if self._rows is None:
            return "<llama_ffi.Candidates, given back>"
        chosen = f", token {self.token} selected" if self.token is not None else ""
        return f"<llama_ffi.Candidates: {len(self)} tokens{chosen}>"

    # --- the arrays ---

    @property
    def data(self) -> NDArray[Any]:
        """Return all of it.

        Returns:
            (n,) of the fields ``id`` (int32), ``logit`` and ``p`` (float32); *borrowed*, writable.

        Raises:
            SamplerError: they were lent to ``apply`` of a sampler written in Python, and that call is over.
        """
        if self._rows is None:
            raise SamplerError(
                "these candidates belonged to a call of apply() that is over; copy what you want to keep"
            )
        return self._rows

    @property
    def ids(self) -> NDArray[np.int32]:
        """Return the tokens' ids, (n,) int32; *borrowed*, writable."""
        return self.data["id"]

    @property
    def logits(self) -> NDArray[np.float32]:
        """Return the logits, (n,) float32; *borrowed*, writable."""
        return self.data["logit"]

    @property
    def p(self) -> NDArray[np.float32]:
        """Return the probabilities, (n,) float32; *borrowed*, writable.

        They are as the last sampler left them, which need not have computed any: see :meth:`softmax`.
        """
        return self.data["p"]

    # --- the rest of the struct ---

    @property
    def selected(self) -> int | None:
        """Return which one is selected: its index among the candidates, not its id; None = none yet.

        Raises:
            InvalidArgumentError: set to an index that doesn't exist.
        """
        return None if self._selected < 0 else self._selected

    @selected.setter
    def selected(self, index: SupportsIndex | None) -> None:
        """Select the candidate at ``index``, or none."""
        self._selected = -1 if index is None else check.integer("selected", index, 0, len(self) - 1)

    @property
    def token(self) -> int | None:
        """Return the id of the selected token, None if there is none."""
        return None if self._selected < 0 else int(self.ids[self._selected])

    @property
    def sorted(self) -> bool:
        """Whether the logits descend: samplers don't sort again what says so. Checked after ``apply``."""
        return self._sorted

    @sorted.setter
    def sorted(self, value: bool) -> None:
        """Say whether the logits descend.

        Arguments:
            value: True if they do.
        """
        self._sorted = check.truth("sorted", value)

    # --- what samplers do ---

    def keep(self, which: ArrayLike | slice) -> None:
        """Keep some candidates, in the order given, and drop the others; a selection is forgotten.

        Arguments:
            which: a mask, indices, or a slice; as in ``array[which]``.

        Raises:
            InvalidArgumentError: nothing or more than before would be left, or an index doesn't exist.
        """
        import numpy as np

        rows = self.data
        if not isinstance(which, slice):
            try:
                which = np.asarray(which)
            except ValueError as error:  # lists of several lengths
                raise ArgumentTypeError(f"keep() takes a mask, indices or a slice: {error}") from None
            if which.dtype.kind not in "biu":
                raise ArgumentTypeError(f"keep() takes a mask, indices or a slice, not {which.dtype} values")
        try:
            kept = rows[which]
        except (IndexError, ValueError, TypeError, OverflowError) as error:
            raise InvalidArgumentError(f"these candidates can't be kept: {error}") from None
        if kept.ndim != 1 or not 0 < kept.size <= rows.size:
            raise InvalidArgumentError(
                f"an array of shape {kept.shape} would be left; keep 1 to {rows.size} of the candidates"
            )
        kept = kept.copy()  # it may overlap
        self._rows = rows[: kept.size]
        self._rows[:] = kept
        self._selected, self._sorted = -1, False

    def sort(self) -> None:
        """Put the largest logits first; a selection is forgotten."""
        import numpy as np

        self.keep(np.argsort(-self.logits, kind="stable"))
        self._sorted = True

    def softmax(self) -> NDArray[np.float32]:
        """Compute the probabilities from the logits and return them, (n,) float32; *borrowed*."""
        import numpy as np

        p = self.p
        logits = self.logits
        best = logits.max()
        p[:] = np.exp(logits - best) if best > -np.inf else 1.0
        p /= p.sum()
        return p

    def copy(self) -> Candidates:
        """Return an independent copy."""
        return Candidates._lend(self.data.copy(), self._selected, self._sorted)

    # --- to C and back ---

    def _to_c(self, table: Table, n_vocab: int) -> bool:
        """Copy them into C's memory, where nobody else can write; return whether they are sorted."""
        rows = self.data
        copy = table.rows(dtype())[: rows.shape[0]]
        copy[:] = rows
        check_rows(copy, "the candidates", n_vocab)
        return self._sorted and descends(copy)

    def _from_c(self, array: Any) -> None:
        """Copy back what C has made of them."""
        import numpy as np

        size, selected = int(array.size), int(array.selected)
        memory = binding.active().ffi.buffer(array.data, ROW_BYTES * size) if size else b""
        result, rows = np.frombuffer(memory, dtype()), self.data
        self._rows = rows[:size] if size <= rows.shape[0] else np.zeros(size, dtype())
        self._rows[:] = result
        self._selected = selected if 0 <= selected < size else -1
        self._sorted = bool(array.sorted)


def range_of(count: int) -> NDArray[np.int32]:
    """Return 0, 1, 2 … (count,)."""
    import numpy as np

    return np.arange(count, dtype=np.int32)


def descends(rows: NDArray[Any]) -> bool:
    """Return whether the logits are sorted."""
    logits = rows["logit"]
    return bool((logits[1:] <= logits[:-1]).all())


def check_rows(rows: NDArray[Any], who: str, n_vocab: int) -> None:
    """Raise unless every sampler of C survives these rows.

    Sorting leaves its array on NaN, and goes wrong on very large logits; +inf becomes NaN in a softmax; ids
    are looked up in tables.
    """
    import numpy as np

    logits = rows["logit"]
    best = logits.max()
    if not best <= MAX_LOGIT:
        index = int(np.flatnonzero(~(logits <= MAX_LOGIT))[0])
        raise SamplerError(
            f"{who}: the logit of token {int(rows['id'][index])} is {logits[index]}; samplers take "
            f"numbers up to {MAX_LOGIT:g} (certain) and -inf (forbidden)"
        )
    ids = rows["id"]
    if ids.min() < 0 or ids.max() >= n_vocab:
        wrong = int(ids[(ids < 0) | (ids >= n_vocab)][0])
        raise SamplerError(f"{who}: there is a candidate with the id {wrong}; ids are 0 to {n_vocab - 1}")
