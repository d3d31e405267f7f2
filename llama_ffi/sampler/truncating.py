"""Samplers that drop candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex, TypeVar

from .._core import binding, check
from ..errors import SamplerError
from .arguments import least, real, seed_of_choice, vocabulary
from .base import Base
from .kind import Kind

if TYPE_CHECKING:
    from ..vocab import Vocab

S = TypeVar("S", bound=Base)


class Truncating(Base):
    """Constructors of samplers that drop candidates."""

    __slots__ = ()

    @classmethod
    def top_k(cls: type[S], k: SupportsIndex) -> S:
        """Keep the ``k`` most likely tokens; 0 or less keeps all. C: llama_sampler_init_top_k"""
        number = check.integer("k", k)
        pointer = binding.active().lib.llama_sampler_init_top_k(number)
        return cls(pointer, Kind("top-k", reorders=True, config=(number,)))

    @classmethod
    def top_p(cls: type[S], p: float, min_keep: int = 1) -> S:
        """Keep the most likely tokens that have ``p`` of the probability together; 1 keeps all.

        C: llama_sampler_init_top_p
        """
        args = (real("p", p, 0.0), least(min_keep))
        pointer = binding.active().lib.llama_sampler_init_top_p(*args)
        return cls(pointer, Kind("top-p", reorders=True, config=args))

    @classmethod
    def min_p(cls: type[S], p: float, min_keep: int = 1) -> S:
        """Keep tokens with at least ``p`` times the best one's probability; 0 keeps all.

        C: llama_sampler_init_min_p
        """
        args = (real("p", p, 0.0), least(min_keep))
        pointer = binding.active().lib.llama_sampler_init_min_p(*args)
        return cls(pointer, Kind("min-p", reorders=True, config=args))

    @classmethod
    def typical(cls: type[S], p: float, min_keep: int = 1) -> S:
        """Keep the locally typical tokens that have ``p`` of the probability together; 1 keeps all.

        C: llama_sampler_init_typical
        """
        args = (real("p", p, 0.0), least(min_keep))
        return cls(binding.active().lib.llama_sampler_init_typical(*args), Kind("typical", reorders=True))

    @classmethod
    def xtc(cls: type[S], p: float, t: float, min_keep: int = 1, seed: SupportsIndex | None = None) -> S:
        """With probability ``p`` drop all but the last of the tokens above the threshold ``t``.

        C: llama_sampler_init_xtc
        """
        args = (real("p", p, 0.0), real("t", t, 0.0), least(min_keep), seed_of_choice(seed))
        return cls(binding.active().lib.llama_sampler_init_xtc(*args), Kind("xtc", reorders=True))

    @classmethod
    def top_n_sigma(cls: type[S], n: float) -> S:
        """Keep tokens whose logit is at most ``n`` standard deviations below the best; 0 or less keeps all.

        C: llama_sampler_init_top_n_sigma
        """
        return cls(binding.active().lib.llama_sampler_init_top_n_sigma(real("n", n)), Kind("top-n-sigma"))

    @classmethod
    def infill(cls: type[S], vocab: Vocab) -> S:
        """Merge tokens of ``vocab`` that begin alike, for filling a gap; to be put behind top_k and top_p.

        C: llama_sampler_init_infill

        Raises:
            SamplerError: the vocabulary has no token that ends a text, or one of more than 512 bytes.
        """
        model = vocabulary(vocab)
        if vocab.eot is None and vocab.eos is None:
            raise SamplerError("infill needs a vocabulary with an end-of-turn or end-of-sequence token")
        longest = max(map(len, vocab._ids_of_pieces()), default=0)
        if longest > 512:
            raise SamplerError(
                f"infill takes pieces of up to 512 bytes, and this vocabulary has one of {longest}"
            )
        kind = Kind("infill", reorders=True, n_vocab=vocab.n_tokens)
        return cls(binding.active().lib.llama_sampler_init_infill(vocab.ptr), kind, keep=[model])
