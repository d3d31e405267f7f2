"""Zero-copy views of memory that belongs to a C object.

numpy can't revoke an array. So a view's root, the one object that every array, slice and memoryview made
from it holds in the end, is a cffi pointer that keeps the C object alive and is counted: closing the
object defers the free until the last view is gone, and a call that could move the memory first asks
whether any view is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import BorrowedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Borrows:
    """The views of one C object."""

    __slots__ = ("_live", "open")

    def __init__(self) -> None:
        self._live: set[int] = set()  # no lock: a destructor may run in the middle of any of our lines
        self.open = 0
        """how many ``with`` blocks are open"""

    def floats(self, ffi: Any, owner: Any, pointer: Any, *shape: int) -> NDArray[np.float32]:
        """Return the floats at ``pointer`` as a read-only array of ``shape`` that keeps ``owner`` alive."""
        import numpy as np

        count = 1
        for extent in shape:
            count *= extent
        keeper = _Root(self, owner)
        self._live.add(id(keeper))
        root = ffi.gc(pointer, keeper)
        rows: NDArray[np.float32] = np.frombuffer(ffi.buffer(root, 4 * count), np.float32).reshape(shape)
        rows.flags.writeable = False
        return rows

    @property
    def live(self) -> int:
        """How many views exist, in a ``with`` block or kept beyond it."""
        return len(self._live)

    def refuse_call(self, what: str) -> None:
        """Raise if a ``with`` block is open, inside which the values must stay."""
        if self.open:
            raise BorrowedError(
                f"{what} would change what a borrowed view shows; leave the `with` block first, or copy"
            )

    def refuse_move(self, what: str) -> None:
        """Raise if any view exists: the call would move the memory under it."""
        if self._live:
            raise BorrowedError(
                f"{what} would move the memory that {len(self._live)} borrowed array(s) still show; "
                f"delete them first, or keep copies (array.copy()) instead"
            )

    def forget(self, keeper: int) -> None:
        """Note that a view is gone."""
        self._live.discard(keeper)


class _Root:
    """The destructor of a view's root: until it is called, it holds the owner."""

    __slots__ = ("_borrows", "_owner")

    def __init__(self, borrows: Borrows, owner: Any) -> None:
        self._borrows = borrows
        self._owner = owner

    def __call__(self, _pointer: Any) -> None:
        self._borrows.forget(id(self))
        self._owner = None
