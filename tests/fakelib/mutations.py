"""The safe layer with one mechanism taken out: the random lives must notice each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llama_ffi._core import busy, callbacks, gate, handle
from llama_ffi._core.handle import Handle


def children_keep_nothing() -> None:
    """A child's finalizer doesn't hold its parents."""
    original = Handle.__init__

    def init(self: Handle, *args: Any, keep: Any = (), **kwargs: Any) -> None:
        original(self, *args, **kwargs)

    Handle.__init__ = init  # type: ignore[method-assign]
    Handle.keep = lambda self, *objects: None  # type: ignore[method-assign]


def close_frees_at_once() -> None:
    """``close()`` frees by itself instead of dropping one reference of several."""
    original = Handle._drop

    def drop(self: Handle) -> None:
        self._finalizer()
        original(self)

    Handle._drop = drop  # type: ignore[method-assign]


def finalizer_frees_nothing() -> None:
    """Nobody but ``close()`` frees, and that doesn't either."""
    handle._release.__code__ = (lambda record: None).__code__


def no_busy_lock() -> None:
    """Two threads may be inside of one object."""

    class NoLock:
        """Says yes to everybody."""

        def _is_owned(self) -> bool:
            return False

        def acquire(self, _blocking: bool = True) -> bool:
            return True

        def release(self) -> None:
            pass

    busy.BusyLock.__init__ = lambda self: setattr(self, "rlock", NoLock())  # type: ignore[method-assign]


def forks_are_not_counted() -> None:
    """A forked process takes the parent's objects for its own."""
    handle._after_fork_in_child.__code__ = (lambda: None).__code__


def consumed_keeps_its_finalizer() -> None:
    """A sampler that a chain took is freed by its own handle as well."""

    def consume(self: Handle, by: Handle) -> Any:
        pointer = self.ptr
        by.keep(*self._record.keep)
        self._end(handle.ConsumedError, "consumed")
        return pointer

    Handle.consume = consume  # type: ignore[method-assign]


def consumed_takes_nothing_along() -> None:
    """What a sampler kept alive doesn't move to the chain that took it, nor to the chain's list."""
    from llama_ffi.sampler import chain

    member = chain.Member
    chain.Member = lambda kind, keep: member(kind, ())  # type: ignore[assignment,misc]
    original = Handle.consume

    def consume(self: Handle, by: Handle) -> Any:
        self._record.keep.clear()
        return original(self, by)

    Handle.consume = consume  # type: ignore[method-assign]


def no_gate() -> None:
    """Adapters are loaded and freed while other threads look at them."""
    gate.Gate.open = lambda self, also_for=0: True  # type: ignore[method-assign]
    gate._Reading.__enter__ = lambda self: None  # type: ignore[method-assign]


def contexts_keep_no_adapters() -> None:
    """A context doesn't keep the adapters that it uses."""
    from llama_ffi import context_adapters

    class Pairs(list):  # type: ignore[type-arg]
        """Adapters that are used, but not kept."""

    plain = context_adapters.ContextAdapters.set_loras

    def set_loras(self: Any, loras: Any) -> None:
        plain(self, loras)
        self._handle.release(*self._lora_pointers)
        self._loras, self._lora_pointers = (), Pairs()

    context_adapters.ContextAdapters.set_loras = set_loras  # type: ignore[method-assign]


def snapshots_on_the_device_stay_valid() -> None:
    """A newer snapshot of the sequence doesn't invalidate the older."""
    from llama_ffi import snapshot

    snapshot.Snapshot.valid = property(lambda self: True)  # type: ignore[assignment,method-assign]


def pools_are_not_shared() -> None:
    """Contexts with one pool don't take turns."""
    Handle.share_lock = lambda self, other: None  # type: ignore[method-assign]


def contexts_keep_no_pools() -> None:
    """A detached pool is given up at once."""
    from llama_ffi import context_resources

    plain = context_resources.ContextResources.detach_threadpool

    def detach(self: Any) -> None:
        plain(self)
        for kept in self._handle.kept():
            if "threadpool" in str(kept):
                self._handle.release(kept)

    context_resources.ContextResources.detach_threadpool = detach  # type: ignore[method-assign]


def batches_keep_no_context() -> None:
    """A batch of a context doesn't hold it."""
    original = Handle.__init__

    def init(self: Handle, ffi: Any, pointer: Any, free: Any, kind: str, *args: Any, **kwargs: Any) -> None:
        if kind == "batch":
            kwargs["keep"] = ()
        original(self, ffi, pointer, free, kind, *args, **kwargs)

    Handle.__init__ = init  # type: ignore[method-assign]


def batches_fit_any_context() -> None:
    """A context computes the batches of others."""
    from llama_ffi.batch_ext import BatchExt
    from llama_ffi.context_processing import ProcessesBatches

    plain = ProcessesBatches.process

    def process(self: Any, batch: BatchExt, *, encode: bool = False) -> None:
        batch.context = self
        plain(self, batch, encode=encode)

    ProcessesBatches.process = process  # type: ignore[method-assign]


def finalizers_never_queue() -> None:
    """A finalizer frees inline even under a callback."""
    callbacks.inside = lambda: False


MUTATIONS: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (
        children_keep_nothing,
        close_frees_at_once,
        finalizer_frees_nothing,
        no_busy_lock,
        forks_are_not_counted,
        consumed_keeps_its_finalizer,
        consumed_takes_nothing_along,
        finalizers_never_queue,
        no_gate,
        contexts_keep_no_adapters,
        snapshots_on_the_device_stay_valid,
        pools_are_not_shared,
        contexts_keep_no_pools,
        batches_keep_no_context,
        batches_fit_any_context,
    )
}
