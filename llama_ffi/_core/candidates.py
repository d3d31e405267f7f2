"""Arrays of candidates for samplers: the whole vocabulary without a loop over it, and a single one."""

from __future__ import annotations

from array import array
from typing import Any

from ..errors import NativeAbortError
from . import binding

ROW_BYTES = 12
"""sizeof(llama_token_data): an int32 and two floats."""


class Table:
    """An array of candidates that is filled without a loop over the vocabulary."""

    __slots__ = ("_bytes", "_ffi", "_logits", "_template", "count", "data")

    def __init__(self, ffi: Any, count: int) -> None:
        self._ffi = ffi
        self.count = count
        self.data = ffi.new("llama_token_data[]", count)
        self._template: Any = None
        self._bytes = 4 * count
        self._logits: Any = None

    def rows(self, dtype: Any) -> Any:
        """Return the array as numpy's; every view made from it keeps the memory alive."""
        import numpy as np

        return np.frombuffer(self._ffi.buffer(self.data), dtype)

    def holds(self, pointer: Any) -> int:
        """Return how many rows lie before ``pointer``, -1 if it points elsewhere."""
        cast = self._ffi.cast
        offset = int(cast("intptr_t", pointer)) - int(cast("intptr_t", self.data))
        return offset // ROW_BYTES if 0 <= offset < ROW_BYTES * self.count else -1

    def fill(self, row: Any) -> None:
        """Set every id to its index (sorting has moved them) and every logit to the row's."""
        if self._template is None:
            self._template = array("i", bytes(ROW_BYTES * self.count))
            self._template[0::3] = array("i", range(self.count))
            self._logits = memoryview(self._ffi.buffer(self.data)).cast("B").cast("f")[1::3]
        self._ffi.memmove(self.data, self._template, 3 * self._bytes)
        self._logits[:] = memoryview(self._ffi.buffer(row, self._bytes)).cast("B").cast("f")

    def fill_some(self, ids: Any, logits: Any, count: int) -> None:
        """Take ``count`` candidates from two arrays."""
        buffer = self._ffi.buffer
        ints = memoryview(buffer(self.data)).cast("B").cast("i")
        ints[0 : 3 * count : 3] = memoryview(buffer(ids, 4 * count)).cast("B").cast("i")
        ints[1 : 3 * count : 3] = memoryview(buffer(logits, 4 * count)).cast("B").cast("i")


class Question:
    """One candidate, to ask a grammar whether it would take a token: accepting any other ends the process."""

    __slots__ = ("_apply", "_array", "_data")

    def __init__(self) -> None:
        active = binding.active()
        self._data = active.ffi.new("llama_token_data[1]")
        self._array = active.ffi.new("llama_token_data_array *")
        self._apply: Any = active.lib.llama_sampler_apply

    def allows(self, grammar: Any, token: int, *, uses_tokens: bool = False) -> bool:
        """Return whether ``grammar`` (a sampler's pointer) would accept ``token`` now.

        Grammars that name tokens answer yes to a token whose text begins before the place where it is
        named, and throw when it is accepted. So it is tried out on a clone, behind the guard.
        """
        data, array = self._data, self._array
        data[0].id, data[0].logit, data[0].p = token, 0.0, 0.0
        array.data, array.size, array.selected, array.sorted = data, 1, -1, False
        self._apply(grammar, array)
        if data[0].logit != 0.0:
            return False
        return not uses_tokens or self._survives(grammar, token)

    def _survives(self, grammar: Any, token: int) -> bool:
        lib = binding.active().lib
        clone = lib.llama_sampler_clone(grammar)
        try:
            lib.llama_sampler_accept(clone, token)
        except NativeAbortError:
            return False  # the clone is in no state to be freed
        lib.llama_sampler_free(clone)
        return True
