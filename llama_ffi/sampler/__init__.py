"""Samplers: the single steps of a chain, the chain, and what a chain works on."""

from __future__ import annotations

from .chain import SamplerChain
from .single import Sampler

__all__ = ["Sampler", "SamplerChain"]
