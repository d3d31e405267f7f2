"""Chains of samplers: what is in them, in which order, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, SupportsIndex

from .._core import binding, check
from .._core.handle import Handle
from ..errors import InvalidArgumentError, SamplerError
from .adders import Adders
from .choosing import GREEDY, SELECTS, Choosing, Member
from .kind import Kind, check_clonable, copy_kind, sampler_name, seed_of
from .single import Sampler


@dataclass(frozen=True)
class SamplerPerf:
    """What a chain has measured (only if made with ``no_perf=False``)."""

    t_sample_ms: float
    """milliseconds spent"""
    n_sample: int
    """tokens accepted"""


class SamplerChain(Adders, Choosing):
    """A chain of samplers.

    C: llama_sampler_chain_init, owned; the samplers in it are the chain's.

    Arguments:
        no_perf: don't measure times.

    Samplers run in the order in which they were added. A grammar must come before everything that drops
    candidates or selects, and nothing that does either may follow what selects: ``add`` refuses it.

    Threads: one at a time (BusyError otherwise).
    """

    __slots__ = ()

    def __init__(self, no_perf: bool = True) -> None:
        active = binding.active()
        params = active.lib.llama_sampler_chain_default_params()
        params.no_perf = bool(no_perf)
        self._take(active, active.lib.llama_sampler_chain_init(params), [])

    def _take(self, active: binding.Binding, pointer: Any, members: list[Member]) -> None:
        free = active.lib.llama_sampler_free
        self._handle = Handle(active.ffi, pointer, free, "sampler chain", exclusive=True)
        self._members = members
        self._begin(active)
        self._plan()

    def close(self) -> None:
        """Free the chain and the samplers in it.

        C: llama_sampler_free

        Threads: any; a second close does nothing.
        """
        super().close()
        self._members = []  # they hold what the samplers needed, a model for example

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        names = ", ".join(member.kind.name for member in self._members) or "empty"
        return f"<llama_ffi.SamplerChain: {names}{', closed' * self.closed}>"

    # --- what is in it ---

    @property
    def names(self) -> list[str]:
        """Return the samplers' names in their order; "?" in front says that a sampler is switched off.

        C: llama_sampler_chain_n, llama_sampler_chain_get, llama_sampler_name
        """
        lib = self._lib
        with self._handle as chain:
            count = lib.llama_sampler_chain_n(chain)
            return [sampler_name(lib.llama_sampler_chain_get(chain, index)) for index in range(count)]

    @property
    def seed(self) -> int | None:
        """Return the seed of the last sampler that has one, None if none has. C: llama_sampler_get_seed"""
        with self._handle as chain:
            return seed_of(chain)

    @property
    def perf(self) -> SamplerPerf:
        """Return what was measured so far, a copy. C: llama_perf_sampler"""
        with self._handle as chain:
            data = self._lib.llama_perf_sampler(chain)
            return SamplerPerf(float(data.t_sample_ms), int(data.n_sample))

    def perf_reset(self) -> None:
        """Measure from zero. C: llama_perf_sampler_reset"""
        with self._handle as chain:
            self._lib.llama_perf_sampler_reset(chain)

    def add(self, sampler: Sampler) -> SamplerChain:
        """Append a sampler; it belongs to the chain from now on. Return the chain.

        C: llama_sampler_chain_add

        Raises:
            SamplerError: it doesn't fit behind what is there: a grammar behind a sampler that drops
                candidates or selects, anything that drops or selects behind one that selects.
            ConsumedError: another chain has it.
            ClosedError, BusyError.
        """
        if not isinstance(sampler, Sampler):
            raise SamplerError(f"only a Sampler can be added to a chain, not a {type(sampler).__name__}")
        kind = sampler._kind
        with self._handle as chain, sampler._handle:
            self._check_order(kind)
            keep = sampler._handle.kept()
            pointer = sampler._handle.consume(self._handle)
            self._lib.llama_sampler_chain_add(chain, pointer)
            self._members.append(Member(kind, keep))
            self._plan()
        return self

    def remove(self, index: SupportsIndex) -> Sampler:
        """Take the sampler at ``index`` out of the chain and return it; negative ones count from the end.

        C: llama_sampler_chain_remove

        Raises:
            InvalidArgumentError: no sampler there.
            ClosedError, BusyError.
        """
        with self._handle as chain:
            count = len(self._members)
            position = check.integer("index", index, -count, max(count - 1, 0)) if count else -1
            if not count:
                raise InvalidArgumentError("the chain is empty")
            position += count if position < 0 else 0
            pointer = self._lib.llama_sampler_chain_remove(chain, position)
            member = self._members.pop(position)
            self._plan()
            self._handle.release(*member.keep)
            return Sampler(pointer, member.kind, keep=member.keep)

    def clone(self) -> SamplerChain:
        """Return a copy with the same samplers in the same state.

        C: llama_sampler_clone

        Raises:
            SamplerError: a sampler in it, made by raw code, has no ``clone``.
        """
        active, lib = binding.active(), self._lib
        with self._handle as chain:
            for index in range(len(self._members)):
                check_clonable(lib.llama_sampler_chain_get(chain, index))
            pointer = lib.llama_sampler_clone(chain)
            if pointer == active.NULL:
                raise SamplerError("llama.cpp made no copy of the chain")
            copy = SamplerChain.__new__(SamplerChain)
            members = [Member(copy_kind(member.kind), member.keep) for member in self._members]
            copy._take(active, pointer, members)
            for member in members:
                copy._handle.keep(*member.keep)
            return copy

    def reset(self) -> None:
        """Forget what was accepted; random numbers start over, grammars at their root.

        C: llama_sampler_reset
        """
        with self._handle as chain:
            self._lib.llama_sampler_reset(chain)
            for index, member in enumerate(self._members):
                lazy = member.kind.lazy
                if lazy is not None:
                    if lazy.triggered:
                        waiting = self._lib.llama_sampler_init_grammar(lazy._vocab.ptr, b"", b"")
                        self._replace(chain, index, waiting)
                    lazy.reset()

    # --- inside ---

    def _check_order(self, new: Kind) -> None:
        for member in self._members:
            old = member.kind
            if new.grammar and (old.selects or old.reorders):
                raise SamplerError(
                    f"a grammar behind {old.name} comes too late: add it first, or tokens that it refuses "
                    "are selected"
                )
            if old.selects and (new.selects or new.reorders):
                raise SamplerError(
                    f"{new.name} behind {old.name} would change which token is selected; add {old.name} last"
                )
            if new.n_vocab and old.n_vocab and new.n_vocab != old.n_vocab:
                raise SamplerError(
                    f"{new.name} is for a vocabulary of {new.n_vocab} tokens, {old.name} for one of "
                    f"{old.n_vocab}"
                )

    def _plan(self) -> None:
        """Decide, once per change, how ``sample`` goes about it."""
        kinds = [member.kind for member in self._members]
        self._n_vocab = next((kind.n_vocab for kind in kinds if kind.n_vocab), 0)
        self._plain = None
        if kinds and not any(kind.grammar or kind.foreign for kind in kinds):
            if len(kinds) == 1 and kinds[0].name == "greedy":
                self._plain = GREEDY
            elif kinds[-1].selects:
                self._plain = SELECTS
