"""Chains of samplers: from a row of logits to a token.

``sample`` is apply, check, accept, in this order and never more at once than is safe: llama.cpp's own
``llama_sampler_sample`` asserts that something was selected, and ``llama_sampler_accept`` throws at a
token that a grammar refuses. So a selection is looked at before it is used, and every grammar is asked with
a one-candidate array before anything is accepted: on an error nothing has been.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex

from ._core import binding, check
from ._core.candidates import Candidates, Question
from ._core.handle import Handle
from ._core.owned import Owned
from .errors import ArgumentTypeError, GrammarError, InvalidArgumentError, NoTokenSelectedError, SamplerError
from .sampler import Sampler
from .sampler_adders import Adders
from .sampler_kind import Kind, check_clonable, copy_kind, sampler_name, seed_of

if TYPE_CHECKING:
    from .context import Context
    from .outputs import Outputs


@dataclass(frozen=True)
class SamplerPerf:
    """What a chain has measured (only if made with ``no_perf=False``)."""

    t_sample_ms: float
    """milliseconds spent"""
    n_sample: int
    """tokens accepted"""


@dataclass
class _Member:
    kind: Kind
    keep: tuple[Any, ...]


class SamplerChain(Adders, Owned):
    """A chain of samplers.

    C: llama_sampler_chain_init, owned; the samplers in it are the chain's.

    Arguments:
        no_perf: don't measure times.

    Samplers run in the order in which they were added. A grammar must come before everything that drops
    candidates or selects, and nothing that does either may follow what selects: ``add`` refuses it.

    Threads: one at a time (BusyError otherwise).
    """

    __slots__ = (
        "_accept_c",
        "_apply_c",
        "_array",
        "_ffi",
        "_lib",
        "_members",
        "_n_vocab",
        "_plain",
        "_question",
        "_sample_c",
        "_table",
        "_validate_c",
    )

    def __init__(self, no_perf: bool = True) -> None:
        active = binding.active()
        params = active.lib.llama_sampler_chain_default_params()
        params.no_perf = bool(no_perf)
        self._take(active, active.lib.llama_sampler_chain_init(params), [])

    def _take(self, active: binding.Binding, pointer: Any, members: list[_Member]) -> None:
        lib = active.lib
        self._ffi: Any = active.ffi
        self._lib: Any = lib
        self._handle = Handle(active.ffi, pointer, lib.llama_sampler_free, "sampler chain", exclusive=True)
        self._members = members
        self._apply_c: Any = lib.llama_sampler_apply
        self._accept_c: Any = lib.llama_sampler_accept
        self._sample_c: Any = lib.llama_sampler_sample
        self._validate_c: Any = lib.ggml_validate_row_data
        self._array = active.ffi.new("llama_token_data_array *")
        self._question = Question()
        self._table: Candidates | None = None
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
            self._members.append(_Member(kind, keep))
            self._plan()
        return self

    def remove(self, index: SupportsIndex) -> Sampler:
        """Take a sampler out of the chain and return it; negative indices count from the end.

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
            members = [_Member(copy_kind(member.kind), member.keep) for member in self._members]
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

    # --- sampling ---

    def sample(self, ctx: Context, i: SupportsIndex = -1) -> int:
        """Choose a token from one row of logits, and accept it.

        C: llama_sampler_apply, llama_sampler_accept

        Arguments:
            ctx: the context whose last batch is looked at.
            i: the token's index in that batch, or -1 for the last output, -2 for the one before …

        Returns:
            the token's id.

        Raises:
            NoTokenSelectedError: the chain is empty or doesn't select, or no candidate is left.
            GrammarError: the grammar refuses the token that was selected; nothing has been accepted.
            NoOutputsError: no logits there.
            SamplerError: a sampler was made for another vocabulary.
            ClosedError, BusyError.

        Threads: one at a time on the chain and on the context. The GIL is released while C works.
        """
        index = check.integer("i", i)
        try:
            handle, outputs = ctx._handle, ctx._outputs
        except AttributeError:
            raise ArgumentTypeError(f"ctx must be a Context, not {type(ctx).__name__}") from None
        with self._handle as chain, handle as context:
            return self._sample(chain, context, outputs, index)

    def _sample(self, chain: Any, context: Any, outputs: Outputs, index: int) -> int:
        row, place = outputs.row(context, index)
        n_vocab = outputs.n_vocab
        if self._n_vocab and self._n_vocab != n_vocab:
            raise SamplerError(
                f"a sampler of this chain was made for a vocabulary of {self._n_vocab} tokens; the context "
                f"has {n_vocab}"
            )
        plain = self._plain
        if plain is GREEDY:
            # llama_sampler_sample would assert on a missing row (it is there) and on a missing selection
            # (greedy always selects, NaNs or not); accepting means nothing to it. It is by far
            # the fastest way.
            return int(self._sample_c(chain, context, place))
        if not self._validate_c(_F32, row, 4 * n_vocab):
            self._check_numbers(row, n_vocab)
        if plain is _SELECTS:
            # the same holds for every chain whose last word is a sampler that selects, if there is no grammar
            # (which could refuse) and no sampler of unknown origin, on logits that can be sorted
            return int(self._sample_c(chain, context, place))
        return self._sample_slowly(chain, row, n_vocab)

    def _sample_slowly(self, chain: Any, row: Any, n_vocab: int) -> int:
        table = self._table
        if table is None or table.count != n_vocab:
            table = self._table = Candidates(self._ffi, n_vocab)
        candidates = self._array
        table.fill(row)
        candidates.data, candidates.size, candidates.selected, candidates.sorted = (
            table.data,
            n_vocab,
            -1,
            False,
        )
        self._apply_c(chain, candidates)
        selected = candidates.selected
        if not 0 <= selected < candidates.size:
            raise self._nothing_selected(int(selected), int(candidates.size))
        entry = candidates.data[selected]
        token, logit = int(entry.id), float(entry.logit)
        try:
            if logit == float("-inf"):
                raise NoTokenSelectedError(
                    "every candidate is forbidden; the grammar or a bias of -inf allows none of them"
                )
            self._accept(chain, token)
        except BaseException:
            self._forget_pending(chain)
            raise
        return token

    def accept(self, token: SupportsIndex) -> None:
        """Tell the samplers that a token was chosen, one of the prompt for example.

        C: llama_sampler_accept

        Raises:
            GrammarError: a grammar refuses it; nothing has changed.
            TokenRangeError: outside of the vocabulary, if a sampler knows it, or negative.
            ClosedError, BusyError.
        """
        number = check.token(token, self._n_vocab or 2**31)
        with self._handle as chain:
            self._accept(chain, number)

    def _accept(self, chain: Any, token: int) -> None:
        started: dict[int, Sampler] = {}
        get = self._lib.llama_sampler_chain_get
        for index, member in enumerate(self._members):
            kind = member.kind
            if not kind.grammar:
                continue
            if kind.lazy is not None and not kind.lazy.triggered:
                sampler = kind.lazy.look(token)
                if sampler is not None:
                    started[index] = sampler
            elif not self._question.allows(get(chain, index), token, uses_tokens=kind.uses_tokens):
                raise GrammarError(f"the grammar refuses token {token}; nothing was accepted")
        self._accept_c(chain, token)
        for index, member in enumerate(self._members):
            lazy = member.kind.lazy
            if lazy is not None and not lazy.triggered:
                sampler = started.get(index)
                lazy.accept(token, sampler is not None)
                if sampler is not None:
                    kept = sampler._handle.kept()
                    with sampler._handle:
                        pointer = sampler._handle.consume(self._handle)
                    self._replace(chain, index, pointer)
                    self._handle.release(*kept)  # the member keeps the vocabulary's model already

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
        if kinds and not any(kind.grammar or kind.name == "custom" for kind in kinds):
            if len(kinds) == 1 and kinds[0].name == "greedy":
                self._plain = GREEDY
            elif kinds[-1].selects:
                self._plain = _SELECTS

    def _replace(self, chain: Any, index: int, pointer: Any) -> None:
        """Put ``pointer`` into the place of a sampler, which is freed; C can only append and remove."""
        lib = self._lib
        after = [
            lib.llama_sampler_chain_remove(chain, index + 1)
            for _ in range(lib.llama_sampler_chain_n(chain) - index - 1)
        ]
        lib.llama_sampler_free(lib.llama_sampler_chain_remove(chain, index))
        for each in [pointer, *after]:
            lib.llama_sampler_chain_add(chain, each)

    def _forget_pending(self, chain: Any) -> None:
        # adaptive-p remembers what it selected until the next accept, and a clone made in between would
        # crash in it; no token has the id -1, so accepting that only clears the memory
        for index, member in enumerate(self._members):
            if member.kind.resets_pending:
                self._accept_c(self._lib.llama_sampler_chain_get(chain, index), -1)

    def _check_numbers(self, row: Any, n_vocab: int) -> None:
        """Raise if there are NaNs among the logits: std::sort leaves its array on them."""
        for index, value in enumerate(memoryview(self._ffi.buffer(row, 4 * n_vocab)).cast("B").cast("f")):
            if value != value:
                raise NoTokenSelectedError(
                    f"the model computed NaN as the logit of token {index}; its weights are damaged or "
                    f"overflow (greedy sampling works nevertheless)"
                )

    def _nothing_selected(self, selected: int, size: int) -> NoTokenSelectedError:
        if not self._members:
            return NoTokenSelectedError(
                "the chain is empty; add a sampler that selects: greedy, dist, mirostat or adaptive_p"
            )
        if selected < 0:
            names = ", ".join(member.kind.name for member in self._members)
            return NoTokenSelectedError(
                f"no sampler of the chain ({names}) selects a token; add greedy, dist, mirostat or "
                "adaptive_p at its end"
            )
        return NoTokenSelectedError(f"the chain selected candidate {selected} of {size}")


GREEDY = "greedy"
_SELECTS = "selects"
_F32 = 0
"""GGML_TYPE_F32: fixed by the GGUF format."""
