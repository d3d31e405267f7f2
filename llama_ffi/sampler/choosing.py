"""From a row of logits to a token.

``sample`` is apply, check, accept, in this order and never more at once than is safe: llama.cpp's own
``llama_sampler_sample`` asserts that something was selected, and ``llama_sampler_accept`` throws at a
token that a grammar refuses. So a selection is looked at before it is used, and every grammar is asked with
a one-candidate array before anything is accepted: on an error nothing has been.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex

from .._core import binding, check
from .._core.candidates import Question, Table
from .._core.owned import Owned
from ..errors import ArgumentTypeError, GrammarError, NoTokenSelectedError, SamplerError
from .base import Base
from .kind import Kind, forget_pending, noticing
from .offload import Offer, n_on_backend

if TYPE_CHECKING:
    from ..context import Context
    from ..outputs import Outputs
    from .candidates import Candidates

GREEDY = "greedy"
"""A chain of greedy alone."""

SELECTS = "selects"
"""A chain in which nothing can go wrong, and whose last sampler selects."""

_F32 = 0
"""GGML_TYPE_F32: fixed by the GGUF format."""


@dataclass
class Member:
    """One sampler of a chain."""

    kind: Kind
    keep: tuple[Any, ...]
    """what it keeps alive"""


class Choosing(Owned):
    """The part of a chain that looks at logits and tokens."""

    __slots__ = (
        "_accept_c",
        "_apply_c",
        "_array",
        "_backend",
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

    _backend: tuple[object, int, int] | None
    """where it was attached: the key of the context's BackendSampling, the sequence, how many run there"""
    _members: list[Member]
    _n_vocab: int
    """the size of the vocabulary that a sampler was made for, 0 = any"""
    _plain: str | None
    """how ``sample`` can be short: GREEDY, SELECTS or not at all"""

    if TYPE_CHECKING:  # the chain has it

        def _plan(self) -> None: ...

    def _begin(self, active: binding.Binding) -> None:
        """Look up once what every token needs."""
        lib = active.lib
        self._ffi: Any = active.ffi
        self._lib: Any = lib
        self._apply_c: Any = lib.llama_sampler_apply
        self._accept_c: Any = lib.llama_sampler_accept
        self._sample_c: Any = lib.llama_sampler_sample
        self._validate_c: Any = lib.ggml_validate_row_data
        self._array = active.ffi.new("llama_token_data_array *")
        self._question = Question()
        self._table: Table | None = None
        self._backend = None

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
            UnsupportedError: the model computes none (BERT and its kin).
            SamplerError: a sampler was made for another vocabulary.
            ClosedError, BusyError.

        Threads: one at a time on the chain and on the context. The GIL is released while C works.
        """
        index = check.integer("i", i)
        try:
            handle, outputs = ctx._handle, ctx._outputs
            _ = outputs.sampling  # a batch has outputs, too: a list
        except AttributeError:
            raise ArgumentTypeError(f"ctx must be a Context, not {type(ctx).__name__}") from None
        with self._handle as chain, handle as context:
            return self._sample(chain, context, outputs, index)

    def _sample(self, chain: Any, context: Any, outputs: Outputs, index: int) -> int:
        if outputs.sampling is not None and outputs.sampling.sampled(index):
            return self._sample_offer(chain, outputs.sampling, outputs.sampling.offer(context, index))
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
        if plain is SELECTS:
            # the same holds for every chain whose last word is a sampler that selects, if there is no grammar
            # (which could refuse) and no sampler of unknown origin, on logits that can be sorted
            return int(self._sample_c(chain, context, place))
        return self._sample_slowly(chain, row, n_vocab)

    def _sample_slowly(self, chain: Any, row: Any, n_vocab: int) -> int:
        self._check_unattached()
        table = self._take_table(n_vocab)
        table.fill(row)
        return self._choose(chain, table, n_vocab, n_vocab)

    def _sample_offer(self, chain: Any, sampling: Any, offer: Offer) -> int:
        """Go on where the back end has stopped."""
        at = self._backend
        if at is None or at[0] is not sampling.key or at[1] != offer.sequence:
            raise SamplerError(
                f"this output was sampled on the back end by the chain of sequence {offer.sequence}; only "
                f"that chain can go on with it"
            )
        numbers, count = (offer.probs, offer.n_probs) if offer.n_probs else (offer.logits, offer.n_logits)
        if not self._validate_c(_F32, numbers, 4 * count):
            self._check_numbers(numbers, count)
        if offer.token >= 0:
            self._accept(chain, offer.token)
            return offer.token
        table = self._take_table(sampling.n_vocab)
        table.fill_some(offer.ids, offer.logits, offer.n_logits)
        return self._choose(chain, table, offer.n_logits, sampling.n_vocab)

    def _take_table(self, count: int) -> Table:
        """Return memory for candidates, and have none: if a sampler fails, others may hold views of it."""
        table, self._table = self._table, None
        return Table(self._ffi, count) if table is None or table.count != count else table

    def _choose(self, chain: Any, table: Table, size: int, n_vocab: int) -> int:
        candidates = self._array
        candidates.data, candidates.size, candidates.selected, candidates.sorted = table.data, size, -1, False
        self._table = self._apply_each(chain, table, n_vocab)
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

    def apply(self, candidates: Candidates) -> Candidates:
        """Run the samplers on candidates of your own, and accept nothing.

        C: llama_sampler_apply

        Arguments:
            candidates: are changed in place; a selection made before is forgotten.

        Returns:
            the candidates: fewer, in another order, one of them selected, as the samplers have it.

        Raises:
            SamplerError: a logit is NaN or +inf, an id isn't in the vocabulary that a sampler was made for.
            ClosedError, BusyError.

        Threads: one at a time on the chain and on the candidates.
        """
        from .candidates import ANY_TOKEN, Candidates  # with numpy

        check.instance("candidates", candidates, Candidates)
        array = self._array
        n_vocab = self._n_vocab or ANY_TOKEN
        with self._handle as chain:
            self._check_unattached()
            table = self._take_table(len(candidates))
            is_sorted = candidates._to_c(table, n_vocab)
            array.data, array.size, array.selected, array.sorted = table.data, table.count, -1, is_sorted
            try:
                self._table = self._apply_each(chain, table, n_vocab)
            except BaseException:
                self._forget_pending(chain)
                raise
            candidates._from_c(array)
        return candidates

    def _apply_each(self, chain: Any, table: Table, n_vocab: int) -> Table:
        """Run the samplers; one by one if some are Python's. Return the table that C's array is in now."""
        if not any(member.kind.python for member in self._members):
            self._apply_c(chain, self._array)
            return table
        from .python import Call

        get = self._lib.llama_sampler_chain_get
        with Call(table, n_vocab) as call:
            for index in range(0 if self._backend is None else self._backend[2], len(self._members)):
                self._apply_c(get(chain, index), self._array)
                call.check()
            return call.table or table

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
        started: dict[int, Base] = {}
        get = self._lib.llama_sampler_chain_get
        for index, member in enumerate(self._members):
            kind = member.kind
            if not kind.grammar:
                continue
            if kind.python is not None:
                if not kind.python.object.allows(token):
                    raise GrammarError(f"the sampler {kind.name} refuses token {token}; nothing was accepted")
            elif kind.lazy is not None and not kind.lazy.triggered:
                sampler = kind.lazy.look(token)
                if sampler is not None:
                    started[index] = sampler
            elif not self._question.allows(get(chain, index), token, uses_tokens=kind.uses_tokens):
                raise GrammarError(f"the grammar refuses token {token}; nothing was accepted")
        with noticing(*(member.kind for member in self._members)):
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

    def _attach(self, key: object, sequence: int, pointer: Any, n_vocab: int) -> None:
        self._backend = (key, sequence, n_on_backend(pointer, len(self._members)))
        self._plan()
        self._n_vocab = n_vocab

    def _detach(self) -> None:
        self._backend = (None, -1, 0)

    def _check_unattached(self) -> None:
        if self._backend is not None:
            where = "is attached" if self._backend[0] is not None else "was attached"
            raise SamplerError(
                f"this chain {where} to a context, and its first samplers run only there; use its clone()"
            )

    def _forget_pending(self, chain: Any) -> None:
        for index, member in enumerate(self._members):
            forget_pending(member.kind, self._lib.llama_sampler_chain_get(chain, index))

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
