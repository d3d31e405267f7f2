"""Tiny models with random weights, of every kind that llama.cpp knows, for tests.

    from llama_ffi import testing

    with testing.random_model("mamba", seed=1, n_layer=3) as model:
        ...

No file and no download: metadata describes the network, a vocabulary is made by code, and the weights come
from a seed. :func:`kinds` lists the names, :func:`architectures` says of each that can't be made why.
"""

from __future__ import annotations

from .factory import (
    Architecture,
    architectures,
    kinds,
    random_metadata,
    random_model,
    save_random_model,
)
from .weights import random_weights

__all__ = [
    "Architecture",
    "architectures",
    "kinds",
    "random_metadata",
    "random_model",
    "random_weights",
    "save_random_model",
]
