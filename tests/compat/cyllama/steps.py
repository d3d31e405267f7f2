"""What the tests of cyllama's classes share."""

from __future__ import annotations

import llama_ffi.compat.cyllama as cy

TEXT = "Once upon a time"


def feed(ctx: cy.LlamaContext, text: str = TEXT) -> list[int]:
    tokens = cy.common_tokenize(ctx, text, True)
    assert ctx.decode(cy.llama_batch_get_one(tokens)) == 0
    return tokens


def go_on(ctx: cy.LlamaContext, pos: int, count: int) -> list[int]:
    sampler, chosen = cy.LlamaSampler(), []
    sampler.add_greedy()
    for index in range(count):
        chosen.append(sampler.sample(ctx, -1))
        ctx.decode(cy.llama_batch_get_one([chosen[-1]], pos + index))
    return chosen
