"""Two hundred lives of a model and a context: resident memory stays where it was."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

import llama_ffi as lf
from llama_ffi._core import handle

pytestmark = pytest.mark.model

CYCLES = 200
WARM_UP = 20
ALLOWED = 2 << 20
"""Bytes that 180 cycles may add: one lost context of this size is already more than a tenth of it."""


def resident() -> int:
    """Return the bytes of memory that this process has and that no file backs."""
    fields = dict(
        line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if ":" in line
    )
    return int(fields["RssAnon"].split()[0]) * 1024


def one_life(path: Path) -> None:
    with lf.Model.load(path) as model, model.context(n_ctx=256, n_batch=32, n_threads=1) as ctx:
        ctx.decode(lf.Batch.from_tokens(model.vocab.tokenize("Once upon a time")))
        with lf.SamplerChain() as chain:
            chain.add_grammar(model.vocab, "root ::= [a-zA-Z ]*").add_top_k(5).add_dist(1)
            token = chain.clone().sample(ctx)
        assert model.vocab.piece(token)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc/self/status")
def test_two_hundred_cycles(tiny_model: Path) -> None:
    gc.collect()  # what earlier tests have left
    owned = handle.live()
    for _ in range(WARM_UP):
        one_life(tiny_model)
    gc.collect()
    before = resident()
    for _ in range(CYCLES - WARM_UP):
        one_life(tiny_model)
    gc.collect()
    growth = resident() - before
    assert growth < ALLOWED, (
        f"{growth / 1024:,.0f} KiB more after {CYCLES} cycles, {before / 1024:,.0f} KiB before"
    )
    assert handle.live() == owned
