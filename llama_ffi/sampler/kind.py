"""What is kept beside a sampler's C object, and the few things that C tells about any sampler."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._core import binding
from ..errors import SamplerError
from .lazy_grammar import LazyGrammar

if TYPE_CHECKING:
    from .python import Link


_NOTHING = nullcontext()


@dataclass(frozen=True)
class Kind:
    """What a chain must know about one of its samplers."""

    name: str
    selects: bool = False
    """it picks the token"""
    reorders: bool = False
    """it sorts or drops candidates, so that a selection made before it would point to another one"""
    grammar: bool = False
    uses_tokens: bool = False
    """a grammar that names tokens, not only characters"""
    lazy: LazyGrammar | None = None
    """the grammar that takes the place of this sampler once it is triggered"""
    resets_pending: bool = False
    """adaptive-p: it remembers the token it selected until that is accepted"""
    python: Link | None = None
    """the Python side of a sampler written in Python"""
    foreign: bool = False
    """made by raw code: nothing is known about it"""
    config: tuple[float, ...] = ()
    """what must be equal if the state of another one is taken over"""
    n_vocab: int = 0
    """the size of the vocabulary it was made for, 0 = any"""


def sampler_name(pointer: Any) -> str:
    """Return the C name of a sampler."""
    active = binding.active()
    if pointer.iface == active.NULL or pointer.iface.name == active.NULL:
        return ""
    name: bytes = active.ffi.string(active.lib.llama_sampler_name(pointer))
    return name.decode("utf-8", "replace")


def seed_of(pointer: Any) -> int | None:
    """Return the seed of a sampler or chain, None if it has none."""
    active = binding.active()
    seed = int(active.lib.llama_sampler_get_seed(pointer))
    return None if seed == active.lib.LLAMA_DEFAULT_SEED else seed


def check_clonable(pointer: Any) -> None:
    """Raise if llama_sampler_clone would abort: a custom sampler with a context and without ``clone``."""
    null = binding.active().NULL
    if pointer.iface == null or (pointer.iface.clone == null and pointer.ctx != null):
        raise SamplerError("this sampler has no clone function")


def noticing(*kinds: Kind) -> AbstractContextManager[object]:
    """Return what raises, at its end, what a sampler in Python has raised inside."""
    if any(kind.python is not None for kind in kinds):
        from .python import Call

        return Call()
    return _NOTHING


def copy_kind(kind: Kind, link: Link | None = None) -> Kind:
    """Return the kind for a clone: a lazy grammar's text is its own, and so is a Python object."""
    lazy = None if kind.lazy is None else kind.lazy.copy()
    return kind if lazy is None and link is None else replace(kind, lazy=lazy, python=link)


def forget_pending(kind: Kind, pointer: Any) -> None:
    """Make adaptive-p forget a token that it selected and nobody has accepted.

    It notes an index into probabilities that its clones don't have: accepting that token would crash there.
    No token has the id -2, so accepting it only clears the note (-1 stands for "none" there).
    """
    if kind.resets_pending:
        binding.active().lib.llama_sampler_accept(pointer, -2)
