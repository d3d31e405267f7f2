"""What a context computes with and what that costs: threads, thread pools, times, memory."""

from __future__ import annotations

from typing import Any, SupportsIndex

from . import memory_use
from ._core import binding, check, logs
from ._core.owned import Owned
from .errors import InvalidArgumentError, UnsupportedError
from .memory_use import MemoryBreakdown
from .perf import ContextPerf
from .threadpool import ThreadPool


class ContextResources(Owned):
    """The part of :class:`Context` that says what it computes with."""

    __slots__ = ("_ffi", "_lib", "_measures", "_pool_sizes")

    _ffi: Any
    _lib: Any
    _measures: bool
    """made with no_perf=False"""
    _pool_sizes: tuple[int, int] | None
    """the threads of the attached pools, for one token and for several"""

    # --- threads ---

    @property
    def n_threads(self) -> int:
        """Return the threads for one token. C: llama_n_threads"""
        with self._handle as ctx:
            return int(self._lib.llama_n_threads(ctx))

    @property
    def n_threads_batch(self) -> int:
        """Return the threads for several tokens. C: llama_n_threads_batch"""
        with self._handle as ctx:
            return int(self._lib.llama_n_threads_batch(ctx))

    def set_n_threads(self, n_threads: SupportsIndex, n_threads_batch: SupportsIndex | None = None) -> None:
        """Set the number of threads, 1 to 512, for one token and for several (None = the same).

        C: llama_set_n_threads

        Raises:
            InvalidArgumentError: outside of the range, or more than an attached pool has.
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        most = getattr(self._lib, "GGML_MAX_N_THREADS", 512)
        one = check.integer("n_threads", n_threads, 1, most)
        several = (
            one if n_threads_batch is None else check.integer("n_threads_batch", n_threads_batch, 1, most)
        )
        with self._handle as ctx, logs.capture():
            pools = self._pool_sizes
            if pools is not None and (one > pools[0] or several > pools[1]):
                raise InvalidArgumentError(
                    f"{one} and {several} threads are more than the attached pools have "
                    f"({pools[0]} and {pools[1]}); detach_threadpool() first, or attach larger ones"
                )
            self._lib.llama_set_n_threads(ctx, one, several)

    def attach_threadpool(self, pool: ThreadPool, batch_pool: ThreadPool | None = None) -> None:
        """Compute with the threads of ``pool`` from now on, batches of several tokens with ``batch_pool``.

        The numbers of threads become those of the pools. The context keeps the pools alive to its own end:
        C remembers the last one that it computed with, even after :meth:`detach_threadpool`. Contexts that
        share a pool take turns from now on.

        C: llama_attach_threadpool, llama_set_n_threads

        Arguments:
            pool: the pool for single tokens.
            batch_pool: the pool for several tokens; None = the same.

        Raises:
            ArgumentTypeError: that is no ThreadPool.
            ClosedError: the context or a pool is closed.
            BusyError: one of them is in use.

        Threads: one call at a time.
        """
        check.instance("pool", pool, ThreadPool)
        if batch_pool is not None:
            check.instance("batch_pool", batch_pool, ThreadPool)
        second = pool if batch_pool is None else batch_pool
        with self._handle as ctx, pool._handle as one, logs.capture():
            if second is pool:
                self._attach(ctx, (pool, one), (pool, one))
            else:
                with second._handle as several:
                    self._attach(ctx, (pool, one), (second, several))

    def _attach(self, ctx: Any, one: tuple[ThreadPool, Any], several: tuple[ThreadPool, Any]) -> None:
        handle = self._handle
        for pool, pointer in (one, several):
            if not any(kept is pointer for kept in handle.kept()):
                handle.keep(pointer)
                handle.share_lock(pool._handle)
        self._lib.llama_attach_threadpool(ctx, one[1], several[1])
        self._pool_sizes = one[0].n_threads, several[0].n_threads
        self._lib.llama_set_n_threads(ctx, *self._pool_sizes)

    def detach_threadpool(self) -> None:
        """Compute with threads of its own again, as many as before; without a pool it does nothing.

        C: llama_detach_threadpool

        Raises:
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        with self._handle as ctx, logs.capture():
            self._lib.llama_detach_threadpool(ctx)
            self._pool_sizes = None

    # --- what it costs ---

    def perf(self) -> ContextPerf:
        """Return how long computing took since the context was made, or since :meth:`reset_perf`.

        C: llama_perf_context, llama_synchronize

        Returns:
            a copy.

        Raises:
            UnsupportedError: the context was made with no_perf=True, which is the default.
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        with self._handle as ctx:
            if not self._measures:
                raise UnsupportedError("nothing is measured; make the context with no_perf=False")
            self._lib.llama_synchronize(ctx)  # which is where C adds up what was decoded
            data = self._lib.llama_perf_context(ctx)
        return ContextPerf(
            start_ms=data.t_start_ms,
            load_ms=data.t_load_ms,
            p_eval_ms=data.t_p_eval_ms,
            eval_ms=data.t_eval_ms,
            n_p_eval=data.n_p_eval,
            n_eval=data.n_eval,
            n_reused=data.n_reused,
        )

    def reset_perf(self) -> None:
        """Begin to measure anew.

        C: llama_perf_context_reset

        Raises:
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        with self._handle as ctx:
            self._lib.llama_perf_context_reset(ctx)

    def memory_breakdown(self) -> MemoryBreakdown:
        """Return where the memory of the context and its model lies; ``print()`` shows it as a table.

        C: none; llama.cpp tells it in C++ only, through the guard library.

        Returns:
            the bytes of weights, of what the context remembers and of buffers for computing, by kind of
            memory; a copy.

        Raises:
            UnsupportedError: this library doesn't tell (it has no guard library of the same source).
            ClosedError, BusyError.

        Threads: one call at a time.
        """
        with self._handle as ctx:
            return memory_use.of_context(binding.active(), ctx)
