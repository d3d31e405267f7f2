"""cyllama's thread pools."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...errors import ArgumentTypeError
from ...threadpool import ThreadPool


@dataclass(slots=True)
class GgmlThreadPoolParams:
    """How to make a pool of threads."""

    n_threads: int
    prio: int = 0
    """-1 = low, 0 = normal … 3 = realtime"""
    poll: int = 50
    """0 (sleep) to 100 (spin)"""
    strict_cpu: bool = False
    paused: bool = False
    """begin in pause"""
    cpumask: list[bool] = field(default_factory=list)
    """which processors; none = all"""

    def match(self, other: GgmlThreadPoolParams) -> bool:
        """Return whether ``other`` says the same."""
        return self == other


class GgmlThreadPool:
    """Threads that contexts compute with; errors as :class:`llama_ffi.ThreadPool`.

    Arguments:
        params: the parameters.

    Threads: any.
    """

    __slots__ = ("safe",)

    safe: ThreadPool
    """llama_ffi's pool under it"""

    def __init__(self, params: GgmlThreadPoolParams) -> None:
        if not isinstance(params, GgmlThreadPoolParams):
            raise ArgumentTypeError(f"params must be GgmlThreadPoolParams, not {type(params).__name__}")
        self.safe = ThreadPool(
            params.n_threads,
            cpus=[cpu for cpu, wanted in enumerate(params.cpumask) if wanted],
            strict=params.strict_cpu,
            priority=params.prio,
            poll=params.poll,
        )
        if not params.paused:
            self.safe.resume()

    def pause(self) -> None:
        """Let the threads sleep."""
        self.safe.pause()

    def resume(self) -> None:
        """Wake the threads."""
        self.safe.resume()

    def close(self) -> None:
        """Free the pool; a second call does nothing."""
        self.safe.close()


def safe_pool(pool: GgmlThreadPool) -> ThreadPool:
    """Return llama_ffi's pool of ``pool``, or raise what it is instead."""
    if not isinstance(pool, GgmlThreadPool):
        raise ArgumentTypeError(f"a GgmlThreadPool is needed, not a {type(pool).__name__}")
    return pool.safe
