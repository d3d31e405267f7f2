"""Chains of samplers: what is in them, in which order, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, SupportsIndex

from .._core import binding, check, logs
from .._core.handle import Handle
from ..errors import ArgumentTypeError, InvalidArgumentError, SamplerError
from .adders import Adders
from .choosing import GREEDY, SELECTS, Choosing, Member
from .kind import Kind, check_clonable, copy_kind, forget_pending, noticing, sampler_name, seed_of
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

    __slots__ = ("_no_perf",)

    def __init__(self, no_perf: bool = True) -> None:
        self._no_perf = check.truth("no_perf", no_perf)
        active = binding.active()
        self._take(active, self._empty(active), [])

    def _empty(self, active: binding.Binding) -> Any:
        params = active.lib.llama_sampler_chain_default_params()
        params.no_perf = self._no_perf
        return active.lib.llama_sampler_chain_init(params)

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
        """Return what was measured so far, a copy. Samplers in Python and what is behind them don't count.

        C: llama_perf_sampler
        """
        with self._handle as chain:
            data = self._lib.llama_perf_sampler(chain)
            return SamplerPerf(float(data.t_sample_ms), int(data.n_sample))

    def perf_reset(self) -> None:
        """Measure from zero. C: llama_perf_sampler_reset"""
        with self._handle as chain:
            self._lib.llama_perf_sampler_reset(chain)

    def perf_print(self) -> None:
        """Log what was measured so far, at the level "info". C: llama_perf_sampler_print"""
        with self._handle as chain, logs.capture():
            self._lib.llama_perf_sampler_print(chain)

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
            self._check_unattached()
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
            self._check_unattached()
            pointer = self._lib.llama_sampler_chain_remove(chain, position)
            member = self._members.pop(position)
            self._plan()
            self._handle.release(*member.keep)
            return Sampler(pointer, member.kind, keep=member.keep)

    def clone(self) -> SamplerChain:
        """Return a copy with the same samplers in the same state.

        C: llama_sampler_clone

        Raises:
            SamplerError: a sampler in it, made by raw code or in Python, has no ``clone``.
        """
        active, lib = binding.active(), self._lib
        get = lib.llama_sampler_chain_get
        with self._handle as chain:
            links = [each.kind.python and each.kind.python.clone() for each in self._members]
            for index in range(len(self._members)):
                check_clonable(get(chain, index))
            copy = SamplerChain.__new__(SamplerChain)
            copy._no_perf = self._no_perf
            members = [
                Member(copy_kind(each.kind, link), each.keep)
                for each, link in zip(self._members, links, strict=True)
            ]
            # what llama_sampler_clone does for chains; Python's samplers are cloned already
            pointer = self._empty(active)
            copy._take(active, pointer, members)
            for index, (member, link) in enumerate(zip(members, links, strict=True)):
                sampler = lib.llama_sampler_clone(get(chain, index)) if link is None else link.make()
                if sampler == active.NULL:
                    raise SamplerError(f"llama.cpp made no copy of the sampler {member.kind.name}")
                forget_pending(member.kind, sampler)
                lib.llama_sampler_chain_add(pointer, sampler)
            for member in members:
                copy._handle.keep(*member.keep)
            return copy

    def reset(self) -> None:
        """Forget what was accepted; random numbers start over, grammars at their root.

        C: llama_sampler_reset
        """
        with self._handle as chain, noticing(*(each.kind for each in self._members)):
            self._lib.llama_sampler_reset(chain)
            for index, member in enumerate(self._members):
                lazy = member.kind.lazy
                if lazy is not None:
                    if lazy.triggered:
                        waiting = self._lib.llama_sampler_init_grammar(lazy._vocab.ptr, b"", b"")
                        self._replace(chain, index, waiting)
                    lazy.reset()

    def copy_state(self, source: SamplerChain) -> None:
        """Take over the state of another chain with the same samplers: what was accepted, random numbers.

        C: llama_sampler_copy

        Arguments:
            source: a chain with the same samplers; it stays as it is.

        Raises:
            SamplerError: the chains don't hold the same samplers, made with the same arguments.
            ClosedError, BusyError.
        """
        if not isinstance(source, SamplerChain):
            raise ArgumentTypeError(f"source must be a SamplerChain, not {type(source).__name__}")
        if source is self:
            return
        lib = self._lib
        get = lib.llama_sampler_chain_get
        with self._handle as chain, source._handle as other:
            self._check_alike(chain, source, other)
            links = [each.kind.python and each.kind.python.clone() for each in source._members]
            for index, (mine, theirs) in enumerate(zip(self._members, source._members, strict=True)):
                link = links[index]
                if link is not None and mine.kind.python is not None:
                    mine.kind.python.object = link.object
                    continue
                lib.llama_sampler_copy(get(other, index), get(chain, index))
                forget_pending(mine.kind, get(chain, index))
                self._handle.keep(*theirs.keep)
                self._handle.release(*mine.keep)
                self._members[index] = Member(copy_kind(theirs.kind), theirs.keep)

    # --- inside ---

    def _check_alike(self, chain: Any, source: SamplerChain, other: Any) -> None:
        get = self._lib.llama_sampler_chain_get
        mine, theirs = self._members, source._members
        for index in range(max(len(mine), len(theirs))):
            names = [each[index].kind.name if index < len(each) else "none" for each in (mine, theirs)]
            alike = (
                "none" not in names
                and get(chain, index).iface == get(other, index).iface
                and mine[index].kind.config == theirs[index].kind.config
                and type(mine[index].kind.python) is type(theirs[index].kind.python)
            )
            if not alike or names[0] != names[1]:
                raise SamplerError(
                    f"sampler {index} is {names[1]} in the source and {names[0]} here, or was made with "
                    f"other arguments; only a chain with the same samplers can take the state over"
                )

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
        special = any(kind.grammar or kind.foreign or kind.python for kind in kinds)
        if kinds and not special and self._backend is None:
            if len(kinds) == 1 and kinds[0].name == "greedy":
                self._plain = GREEDY
            elif kinds[-1].selects:
                self._plain = SELECTS
