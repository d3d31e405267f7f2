"""Which chains can be handed to a back end, and what comes back.

llama.cpp checks little of this: some chains fail an assertion when the graph is built, and some samplers do
something else there than on the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .._core import binding
from ..errors import SamplerError
from .kind import Kind, sampler_name

if TYPE_CHECKING:
    from .choosing import Choosing

_MAX_LINKS = 50
"""C plans the samplers' graph for 2048 nodes; one takes up to 30."""

_MAX_CANDIDATES = 128 * 1024
"""It tries each sampler out on so many."""

_ON_BACKENDS = frozenset(
    {"greedy", "dist", "top-k", "top-p", "min-p", "temp", "temp-ext", "penalties", "logit-bias"}
)


class Offer(NamedTuple):
    """What a back end has made of one output; the pointers are valid until the next decode."""

    sequence: int
    token: int
    """-1 = none was selected"""
    ids: Any
    logits: Any
    n_logits: int
    probs: Any
    n_probs: int
    n_ids: int
    """0 = all ids, in their order"""


def check_offload(chain: Choosing, pointer: Any, n_vocab: int) -> None:
    """Raise unless a back end does with this chain what the CPU would do."""
    if chain._backend is not None:
        raise SamplerError(
            "this chain is attached to a context, or was: it can't be used elsewhere; attach its clone()"
        )
    kinds = [member.kind for member in chain._members]
    if not kinds:
        raise SamplerError("the chain is empty; add samplers before you attach it")
    if len(kinds) > _MAX_LINKS:
        raise SamplerError(f"the chain has {len(kinds)} samplers; a back end takes {_MAX_LINKS}")
    for kind in kinds:
        if kind.n_vocab and kind.n_vocab != n_vocab:
            raise SamplerError(
                f"{kind.name} was made for a vocabulary of {kind.n_vocab} tokens; the context has {n_vocab}"
            )
    get, left = binding.active().lib.llama_sampler_chain_get, n_vocab
    moved, n_moved = "", 0
    for index, kind in enumerate(kinds):
        if sampler_name(get(pointer, index)).startswith("?"):
            continue
        if kind.name not in _ON_BACKENDS or kind.foreign or kind.python:
            return
        if n_moved == 2 and left > 1 and kind.name in ("top-k", "top-p"):
            # what the second leaves has a shape that C's third asserts on
            raise SamplerError(f"a back end takes two of top_k and top_p; {kind.name} would be the third")
        left, moves = _follow(kind, left, moved)
        if moves:
            moved = kind.name
            n_moved += 1


def n_on_backend(pointer: Any, count: int) -> int:
    """Return how many samplers of an attached chain run on the back end: those C has marked."""
    get = binding.active().lib.llama_sampler_chain_get
    for index in range(count):
        if not sampler_name(get(pointer, index)).startswith(("+", "?")):
            return index
    return count


def _follow(kind: Kind, left: int, moved: str) -> tuple[int, bool]:
    """Return how many candidates a sampler leaves, and whether they are no longer in the ids' order."""
    value = kind.config[0] if kind.config else 0.0
    if kind.name == "top-k":
        most = min(left, _MAX_CANDIDATES)
        if value > most:
            raise SamplerError(f"top_k({value:g}) on a back end keeps {most} at most; there are no more")
        return int(value), True
    if kind.name in ("greedy", "logit-bias") and moved:
        cure = "use dist, behind top_k(1)" if kind.name == "greedy" else "add it first"
        raise SamplerError(
            f"{kind.name} behind {moved} takes the place of a candidate for its id on a back end; {cure}"
        )
    if kind.name in ("top-p", "min-p"):
        if kind.config[1] > 1:
            raise SamplerError(f"back ends don't look at min_keep of {kind.name}; use 1")
        if kind.name == "min-p" and value >= 1.0:
            raise SamplerError("min_p(1) on a back end drops the best token too; use top_k(1)")
        return left, kind.name == "top-p"
    if kind.name == "temp-ext" and kind.config[1] > 0.0 and value > 0.0:
        if left == 1:
            raise SamplerError("temp_ext on a back end computes NaN where one candidate is left; use temp")
        return left, False
    if kind.name in ("temp", "temp-ext") and value <= 0.0:
        return 1, True
    return left, False
