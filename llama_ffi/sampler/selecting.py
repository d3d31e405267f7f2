"""Samplers that select a token; one of them ends a chain."""

from __future__ import annotations

from typing import SupportsIndex, TypeVar

from .._core import binding, check
from .arguments import real, seed_of_choice
from .base import Base
from .kind import Kind

S = TypeVar("S", bound=Base)


class Selecting(Base):
    """Constructors of samplers that select the token."""

    __slots__ = ()

    @classmethod
    def greedy(cls: type[S]) -> S:
        """Select the most likely token; of equal ones the lowest id. C: llama_sampler_init_greedy"""
        return cls(binding.active().lib.llama_sampler_init_greedy(), Kind("greedy", selects=True))

    @classmethod
    def dist(cls: type[S], seed: SupportsIndex | None = None) -> S:
        """Select a token at random, by its probability. C: llama_sampler_init_dist"""
        return cls(
            binding.active().lib.llama_sampler_init_dist(seed_of_choice(seed)), Kind("dist", selects=True)
        )

    @classmethod
    def mirostat(
        cls: type[S],
        n_vocab: SupportsIndex,
        seed: SupportsIndex | None = None,
        tau: float = 5.0,
        eta: float = 0.1,
        m: int = 100,
    ) -> S:
        """Select with Mirostat 1.0.

        Surprise is kept near ``tau`` at the learning rate ``eta``, estimated from the best ``m`` tokens of
        ``n_vocab``, the size of the vocabulary.

        C: llama_sampler_init_mirostat
        """
        args = (
            check.integer("n_vocab", n_vocab, 1),
            seed_of_choice(seed),
            real("tau", tau, 0.0),
            real("eta", eta, 0.0),
            check.integer("m", m, 2),
        )
        return cls(
            binding.active().lib.llama_sampler_init_mirostat(*args),
            Kind("mirostat", selects=True, reorders=True, n_vocab=args[0]),
        )

    @classmethod
    def mirostat_v2(cls: type[S], seed: SupportsIndex | None = None, tau: float = 5.0, eta: float = 0.1) -> S:
        """Select with Mirostat 2.0: surprise near ``tau``, learning rate ``eta``.

        C: llama_sampler_init_mirostat_v2
        """
        args = (seed_of_choice(seed), real("tau", tau, 0.0), real("eta", eta, 0.0))
        return cls(
            binding.active().lib.llama_sampler_init_mirostat_v2(*args),
            Kind("mirostat-v2", selects=True, reorders=True),
        )

    @classmethod
    def adaptive_p(cls: type[S], target: float, decay: float = 0.9, seed: SupportsIndex | None = None) -> S:
        """Select tokens whose probability is near ``target`` (0 to 1; negative = off).

        The average that is steered forgets with ``decay`` (0 to 0.99).

        C: llama_sampler_init_adaptive_p
        """
        args = (real("target", target, -1.0, 1.0), real("decay", decay, 0.0, 0.99), seed_of_choice(seed))
        kind = Kind("adaptive-p", selects=True, resets_pending=args[0] >= 0.0)
        return cls(binding.active().lib.llama_sampler_init_adaptive_p(*args), kind)
