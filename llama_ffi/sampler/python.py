"""Samplers whose functions are Python's: the other side of ``struct llama_sampler_i``.

All of them share one interface in C; ``llama_sampler.ctx`` says which Python object is meant. That object
lives until C frees the sampler, whoever the sampler belongs to then.

An exception can't travel through C. It is kept for the thread it was raised on, and the chain, which calls
its samplers one by one if one of them is Python's, asks for it after each: what follows in the chain never
sees what a failed sampler has left. The same holds for what a sampler must not do: it is looked at before
the next one runs.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

from .._core import binding, callbacks, check
from .._core.candidates import ROW_BYTES, Table
from ..errors import ArgumentTypeError, NoTokenSelectedError, SamplerError
from .candidates import ANY_TOKEN, Candidates, check_rows, descends, dtype


class _Thread(threading.local):
    call: Call | None = None
    error: BaseException | None = None


_thread = _Thread()


class Call:
    """A call of the safe layer's that may get to samplers in Python: ``with Call(table, n_vocab) as call:``.

    Arguments:
        table: the candidates' memory, if it is ours; else samplers work on a copy.
        n_vocab: ids end here.
    """

    __slots__ = ("_outer", "n_vocab", "table")

    def __init__(self, table: Table | None = None, n_vocab: int = ANY_TOKEN) -> None:
        self.table = table
        self.n_vocab = n_vocab

    def __enter__(self) -> Call:
        self._outer = (_thread.call, _thread.error)  # a sampler may use another chain
        _thread.call, _thread.error = self, None
        return self

    def __exit__(self, kind: object, _error: object, _tb: object) -> None:
        error = _thread.error
        _thread.call, _thread.error = self._outer
        if error is not None and kind is None:
            raise error

    def check(self) -> None:
        """Raise what a sampler raised."""
        error, _thread.error = _thread.error, None
        if error is not None:
            raise error


class Link:
    """One sampler written in Python, as C has it."""

    __slots__ = ("name", "object", "reorders", "selects", "text")

    def __init__(
        self,
        sampler: Any,
        *,
        name: str | None = None,
        selects: bool | None = None,
        reorders: bool | None = None,
    ) -> None:
        if not callable(getattr(sampler, "apply", None)):
            raise ArgumentTypeError(
                f"a sampler needs a method apply(candidates), which {type(sampler).__name__} doesn't have"
            )
        if name is None:
            name = getattr(sampler, "name", type(sampler).__name__)
        if not isinstance(name, str):
            raise ArgumentTypeError(f"the name of a sampler must be text, not {type(name).__name__}")
        self.object = sampler
        self.name = name
        self.selects = check.truth(
            "selects", getattr(sampler, "selects", False) if selects is None else selects
        )
        self.reorders = check.truth(
            "reorders", getattr(sampler, "reorders", True) if reorders is None else reorders
        )
        self.text = binding.active().ffi.new("char[]", name.encode("utf-8", "replace").replace(b"\0", b"?"))

    def make(self) -> Any:
        """Return a new C sampler (owned by the caller) for this."""
        active = binding.active()
        handle = active.ffi.new_handle(self)
        pointer = active.lib.llama_sampler_init(_interface(), handle)
        _links[_address(handle)] = handle
        return pointer

    def clone(self) -> Link:
        """Return one for a copy of the Python object.

        Raises:
            SamplerError: it can't be copied.
        """
        make = getattr(self.object, "clone", None)
        if not callable(make):
            raise SamplerError(
                f"the sampler {self.name!r} is written in Python and has no clone(); give it one that "
                f"returns a copy with the same state"
            )
        guard_depth = callbacks.enter()  # its chain is busy meanwhile, for this thread too
        try:
            copy = make()
        finally:
            callbacks.leave(guard_depth)
        return Link(copy, name=self.name, selects=self.selects, reorders=self.reorders)

    def apply(self, array: Any, call: Call | None) -> None:
        """Let Python work on C's candidates, and look at the result."""
        import numpy as np

        ffi, size, selected = binding.active().ffi, int(array.size), int(array.selected)
        if not size:
            raise NoTokenSelectedError(f"no candidate is left for the sampler {self.name!r}")
        table = None if call is None else call.table
        first = -1 if table is None else table.holds(array.data)
        theirs = None
        if table is None or first < 0:
            # memory of raw code's, which may go at any time: no view of it may survive
            theirs, table, first = array.data, Table(ffi, size), 0
            ffi.memmove(table.data, theirs, ROW_BYTES * size)
        memory = ffi.buffer(table.data)
        quiet = sys.getrefcount(memory)
        lent = Candidates._lend(np.frombuffer(memory, dtype())[first : first + size], selected, array.sorted)
        before = None if self.reorders else lent.ids.copy()
        try:
            self.object.apply(lent)
        finally:
            size = lent._take_back()
        begin = table.data + first
        if theirs is None and call is not None and sys.getrefcount(memory) > quiet:
            # somebody has kept a view, through which he could write while C sorts: C moves out
            call.table = Table(ffi, table.count)
            begin = call.table.data
            ffi.memmove(begin, table.data + first, ROW_BYTES * size)
            array.data = begin
        rows = np.frombuffer(ffi.buffer(begin, ROW_BYTES * size), dtype())
        self._check(rows, lent, before, selected, ANY_TOKEN if call is None else call.n_vocab)
        array.size, array.selected, array.sorted = size, lent._selected, lent._sorted and descends(rows)
        if theirs is not None:
            ffi.memmove(theirs, begin, ROW_BYTES * size)

    def _check(self, rows: Any, lent: Candidates, before: Any, selected: int, n_vocab: int) -> None:
        who = f"the sampler {self.name!r}"
        check_rows(rows, who, n_vocab)
        if lent._selected >= rows.shape[0]:
            raise SamplerError(f"{who} selected candidate {lent._selected} and left {rows.shape[0]}")
        if lent._selected >= 0 and lent._selected != selected and not self.selects:
            raise SamplerError(
                f"{who} selected a token without having said so: make it with selects=True (or say so "
                f"in its class), so that nothing behind it reorders the candidates"
            )
        if before is not None and (len(before) != rows.shape[0] or (before != rows["id"]).any()):
            raise SamplerError(f"{who} reordered or dropped candidates, although it has reorders=False")


_links: dict[int, Any] = {}
"""The handle behind ``llama_sampler.ctx`` of each sampler that C hasn't freed yet."""

_shared: list[Any] = []
"""The interface, and the callbacks in it; they live as long as the process."""


def _keep(error: BaseException) -> None:
    if _thread.call is None:  # raw code has called: nobody will ask
        sys.excepthook(type(error), error, error.__traceback__)
    elif _thread.error is None:
        _thread.error = error


def _strike(_kind: object, error: BaseException, _tb: object) -> None:
    """Keep what is raised before the first line of a callback: Ctrl-C can strike there."""
    _keep(error)


def _called_by_c(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def called(*args: Any) -> Any:
        guard_depth = callbacks.enter()
        try:
            return function(*args)
        except BaseException as error:
            _keep(error)
            return _default(function.__name__)
        finally:
            callbacks.leave(guard_depth)

    return called


def _default(name: str) -> Any:
    return binding.active().NULL if name in ("_name", "_clone") else None


def _link(pointer: Any) -> Link:
    link: Link = binding.active().ffi.from_handle(pointer.ctx)
    return link


def _address(handle: Any) -> int:
    return int(binding.active().ffi.cast("intptr_t", handle))


@_called_by_c
def _name(pointer: Any) -> Any:
    return _link(pointer).text


@_called_by_c
def _apply(pointer: Any, array: Any) -> None:
    _link(pointer).apply(array, _thread.call)


@_called_by_c
def _accept(pointer: Any, token: int) -> None:
    accept = getattr(_link(pointer).object, "accept", None)
    if accept is not None:
        accept(token)


@_called_by_c
def _reset(pointer: Any) -> None:
    reset = getattr(_link(pointer).object, "reset", None)
    if reset is not None:
        reset()


@_called_by_c
def _clone(pointer: Any) -> Any:
    return _link(pointer).clone().make()


@_called_by_c
def _free(pointer: Any) -> None:
    _links.pop(_address(pointer.ctx), None)


def _interface() -> Any:
    if not _shared:
        ffi = binding.active().ffi
        interface = ffi.new("struct llama_sampler_i *")
        fields = dict(ffi.typeof("struct llama_sampler_i").fields)
        for function in (_name, _accept, _apply, _reset, _clone, _free):
            name = function.__name__.removeprefix("_")
            callback = ffi.callback(fields[name].type, function, onerror=_strike)
            setattr(interface, name, callback)
            _shared.append(callback)
        _shared.insert(0, interface)
    return _shared[0]
