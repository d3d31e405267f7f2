"""Every sampler of llama.cpp, ready to be made; and what the samplers' tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import llama_ffi as lf

YES_OR_NO = 'root ::= "yes" | "no"'


def all_samplers(vocab: lf.Vocab) -> dict[str, Callable[[], lf.Sampler]]:
    n = vocab.n_tokens
    make = lf.Sampler
    return {
        "grammar": lambda: make.grammar(vocab, YES_OR_NO),
        "grammar_lazy": lambda: make.grammar_lazy(vocab, YES_OR_NO, trigger_patterns=["xyz"]),
        "logit_bias": lambda: make.logit_bias(n, {5: -1.5, 7: float("-inf")}),
        "penalties": lambda: make.penalties(n, 64, 1.1, 0.1, 0.1),
        "dry": lambda: make.dry(vocab, 0.8),
        "top_n_sigma": lambda: make.top_n_sigma(2.0),
        "temp": lambda: make.temp(0.8),
        "temp_ext": lambda: make.temp_ext(0.8, 0.2),
        "top_k": lambda: make.top_k(40),
        "typical": lambda: make.typical(0.9),
        "top_p": lambda: make.top_p(0.9),
        "min_p": lambda: make.min_p(0.05),
        "xtc": lambda: make.xtc(0.5, 0.1, seed=1),
        "infill": lambda: make.infill(vocab),
        "greedy": make.greedy,
        "dist": lambda: make.dist(1),
        "mirostat": lambda: make.mirostat(n, 1),
        "mirostat_v2": lambda: make.mirostat_v2(1),
        "adaptive_p": lambda: make.adaptive_p(0.5, seed=1),
    }


def token_of(vocab: lf.Vocab, piece: bytes) -> int:
    return next(token for token in range(vocab.n_tokens) if vocab.piece(token) == piece)


NAMES = [
    "grammar",
    "grammar_lazy",
    "logit_bias",
    "penalties",
    "dry",
    "top_n_sigma",
    "temp",
    "temp_ext",
    "top_k",
    "typical",
    "top_p",
    "min_p",
    "xtc",
    "infill",
    "greedy",
    "dist",
    "mirostat",
    "mirostat_v2",
    "adaptive_p",
]
SELECTING = ("greedy", "dist", "mirostat", "mirostat_v2", "adaptive_p")


class Once(lf.PythonSampler):
    """Lets no token come twice."""

    name = "once"
    reorders = False

    def __init__(self, seen: tuple[int, ...] = ()) -> None:
        self.seen = list(seen)

    def apply(self, candidates: lf.Candidates) -> None:
        candidates.logits[np.isin(candidates.ids, self.seen)] = -np.inf

    def accept(self, token: int) -> None:
        self.seen.append(token)

    def reset(self) -> None:
        self.seen.clear()

    def clone(self) -> Once:
        return Once(tuple(self.seen))


def chain_of(function: Callable[[lf.Candidates], object], **kind: Any) -> lf.SamplerChain:
    return lf.SamplerChain().add_custom(function, **kind)
