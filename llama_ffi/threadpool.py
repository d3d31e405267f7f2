"""Thread pools: which threads of the CPU compute, on which processors, and how eagerly they wait.

A context makes threads of its own for each graph unless a pool is attached to it. A pool's threads stay; on
a machine with many cores that saves time for each token, and it says where they run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, SupportsIndex

from ._core import binding, check
from ._core.choices import members
from ._core.handle import Handle
from ._core.owned import Owned
from .errors import InvalidArgumentError


class ThreadPool(Owned):
    """Threads that contexts compute with.

    C: struct ggml_threadpool, owned; ggml_threadpool_new, ggml_threadpool_free,
    struct ggml_threadpool_params, ggml_threadpool_params_default

    The threads sleep until a context that it is attached to decodes. The thread that decodes is one of the
    pool's ``n_threads``: it too is put on the pool's processors and given its priority, and keeps them.

    Arguments:
        n_threads: 1 to 512.
        cpus: numbers of the processors to run on; none = wherever the system likes.
        strict: give each thread one of ``cpus`` instead of all of them.
        priority: "low", "normal", "medium", "high" or "realtime"; above "normal" needs the right to do so:
            without it llama.cpp prints a warning and goes on.
        poll: how eagerly a thread waits for work, 0 (sleep) to 100 (spin).

    Raises:
        InvalidArgumentError: a value outside of its range; a processor that this process may not use.
        ArgumentTypeError: a value of a wrong type.

    Threads: any. Contexts that share a pool take turns: while one computes, the others get BusyError.
    """

    __slots__ = ("_lib", "n_threads")

    n_threads: int
    """how many threads, with the one that decodes"""

    def __init__(
        self,
        n_threads: SupportsIndex,
        *,
        cpus: Iterable[SupportsIndex] = (),
        strict: bool = False,
        priority: str | int = "normal",
        poll: SupportsIndex = 50,
    ) -> None:
        active = binding.active()
        ffi, lib = active.ffi, active.lib
        most = getattr(lib, "GGML_MAX_N_THREADS", 512)
        count = check.integer("n_threads", n_threads, 1, most)
        params = ffi.new("struct ggml_threadpool_params *", lib.ggml_threadpool_params_default(count))
        chosen = [check.integer("cpus", cpu, 0, most - 1) for cpu in check.listed("cpus", cpus, "numbers")]
        _may_use(chosen)
        for cpu in chosen:
            params.cpumask[cpu] = True
        params.strict_cpu = check.truth("strict", strict)
        params.prio = check.choice("priority", priority, members(active, "ggml_sched_priority"))
        params.poll = check.integer("poll", poll, 0, 100)
        # else C would put the thread that makes the pool on its processors, whether it decodes or not
        params.paused = True
        pointer = lib.ggml_threadpool_new(params)
        self._lib: Any = lib
        self._handle = Handle(ffi, pointer, lib.ggml_threadpool_free, "thread pool", exclusive=True)
        self.n_threads = count  # its getter is declared in ggml-cpu.h and defined nowhere

    def __repr__(self) -> str:
        return f"<llama_ffi.ThreadPool of {self.n_threads} threads{', closed' if self.closed else ''}>"

    def pause(self) -> None:
        """Let the threads sleep instead of waiting for work; the next decode wakes them.

        C: ggml_threadpool_pause

        Raises:
            BusyError: a context computes with it in another thread.
            ClosedError: it is closed.

        Threads: one call at a time.
        """
        with self._handle as pool:  # C would let a thread that is needed sleep, and the decode wait for ever
            self._lib.ggml_threadpool_pause(pool)

    def resume(self) -> None:
        """Let the threads wait for work again.

        C: ggml_threadpool_resume

        Raises:
            BusyError: a context computes with it in another thread.
            ClosedError: it is closed.

        Threads: one call at a time.
        """
        with self._handle as pool:
            self._lib.ggml_threadpool_resume(pool)


def _may_use(cpus: Iterable[int]) -> None:
    """Raise for processors that this process may not use: C would print a line for each thread, and go on."""
    if not hasattr(os, "sched_getaffinity"):
        return
    allowed = os.sched_getaffinity(0)
    refused = sorted(set(cpus) - allowed)
    if refused:
        raise InvalidArgumentError(
            f"cpus names {', '.join(map(str, refused))}; this process may use "
            f"{', '.join(map(str, sorted(allowed)))}"
        )
