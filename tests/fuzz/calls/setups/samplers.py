"""Set-ups for samplers and their chains, in right and wrong order."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.fuzz.calls.setups.kit import LLAMA, RESULT, Ready, Setup, chain, context, decoded, need

if TYPE_CHECKING:
    from tests.fuzz.calls.world import World


def a_chain(world: World, rnd: random.Random) -> Ready:
    return Ready(chain(world, rnd))


def empty_chain(world: World, rnd: random.Random) -> Ready:
    made = need(world.do("SamplerChain", None))
    if rnd.random() < 0.4:
        world.do("SamplerChain.add_temp", made, t=0.5)
    return Ready(made)


def addition(world: World, rnd: random.Random) -> Ready:
    made = empty_chain(world, rnd)
    name = rnd.choice(("top_k", "dist", "greedy", "temp", "min_p", "xtc", "grammar", "adaptive_p"))
    return Ready(made.on, {"sampler": need(world.call(f"Sampler.{name}", rnd))})


def own_sampler(world: World, rnd: random.Random) -> Ready:
    name = rnd.choice(("top_k", "dist", "greedy", "penalties", "grammar", "custom", "mirostat"))
    return Ready(need(world.call(f"Sampler.{name}", rnd)))


def same_chains(world: World, rnd: random.Random) -> Ready:
    other = chain(world, rnd, seed=3)
    if rnd.random() < 0.25:
        other = need(world.do("SamplerChain", None))
        for name in ("grammar", "mirostat", "penalties"):
            sampler = world.call(f"Sampler.{name}", rnd)
            if sampler is not None:
                world.do("SamplerChain.add", other, sampler=sampler)
    return Ready(chain(world, rnd, seed=3), {"source": other})


def sample(world: World, rnd: random.Random) -> Ready:
    made = need(world.do("SamplerChain", None))
    ctx = decoded(world, rnd) if rnd.random() < 0.85 else context(world, rnd)
    grammar = rnd.random()
    if 0.1 < grammar < 0.3:
        vocab = need(world.do("Model.vocab", LLAMA))
        world.do("SamplerChain.add_grammar", made, vocab=vocab, grammar='root ::= "a" root | "b"')
    for name, args in (("top_k", {"k": 9}), ("temp", {"t": 0.7}), ("top_p", {"p": 0.9, "min_keep": 1})):
        if rnd.random() < 0.5:
            world.do(f"SamplerChain.add_{name}", made, **args)
    if rnd.random() < 0.9:
        world.do("SamplerChain.add_dist", made, seed=1)
    if grammar < 0.1:  # in the wrong place
        vocab = need(world.do("Model.vocab", LLAMA))
        world.do("SamplerChain.add_grammar", made, vocab=vocab, grammar='root ::= "yes"')
    return Ready(made, {"ctx": ctx, "i": -1})


def accept(world: World, rnd: random.Random) -> Ready:
    made, text = need(world.do("SamplerChain", None)), rnd.random() < 0.4
    if text:
        vocab = need(world.do("Model.vocab", LLAMA))
        world.do("SamplerChain.add_grammar", made, vocab=vocab, grammar="root ::= [a-z ]+")
    world.do("SamplerChain.add_penalties", made, n_vocab=289, penalty_last_n=8)
    # "a" to "z" have the ids 260 to 285
    return Ready(made, {"token": rnd.randint(260, 285) if rnd.random() < 0.7 else rnd.randint(0, 288)})


def apply(world: World, rnd: random.Random) -> Ready:
    values = need(world.do("Candidates", None, logits={"normal": [1, 289]}))
    return Ready(chain(world, rnd), {"candidates": values})


def raw_sampler(world: World, rnd: random.Random) -> Ready:
    made = {"raw": rnd.choice(("greedy", "without clone", "NULL"))}
    return Ready(None, {"pointer": made}, [("Sampler.name", RESULT, {}), ("Sampler.clone", RESULT, {})])


SETUPS: dict[str, Setup] = {
    "Sampler": raw_sampler,
    "SamplerChain.add": addition,
    "SamplerChain.copy_state": same_chains,
    "SamplerChain.remove": a_chain,
    "SamplerChain.sample": sample,
    "SamplerChain.accept": accept,
    "SamplerChain.apply": apply,
    "SamplerChain.clone": a_chain,
}

OWNERS: dict[str, Setup] = {
    "Sampler": own_sampler,
    "SamplerChain": empty_chain,
}
