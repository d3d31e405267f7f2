"""How long computing took, as llama.cpp has measured it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ContextPerf:
    """What a context has computed since it was made or since ``reset_perf()``.

    C: struct llama_perf_context_data
    """

    start_ms: float
    """when the measurement began, in milliseconds of :func:`llama_ffi.time_us`'s clock"""
    load_ms: float
    """loading the model, the first decode included, which reads a mapped file's pages"""
    p_eval_ms: float
    """computing prompts: batches of several tokens"""
    eval_ms: float
    """computing single tokens; those after which nothing was read count as a prompt"""
    n_p_eval: int
    """tokens of prompts; llama.cpp says 1 where it has counted none"""
    n_eval: int
    """single tokens; llama.cpp says 1 where it has counted none"""
    n_reused: int
    """how often the graph of the call before served again"""

    @property
    def p_eval_per_second(self) -> float:
        """Return the prompt's tokens per second, 0 if nothing was measured."""
        return 1000 * self.n_p_eval / self.p_eval_ms if self.p_eval_ms else 0.0

    @property
    def eval_per_second(self) -> float:
        """Return the single tokens per second, 0 if nothing was measured."""
        return 1000 * self.n_eval / self.eval_ms if self.eval_ms else 0.0
