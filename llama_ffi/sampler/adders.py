"""``chain.add_top_k(40)`` instead of ``chain.add(Sampler.top_k(40))``, for every sampler of llama.cpp."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar

from .single import Sampler

if TYPE_CHECKING:
    from ..vocab import Vocab
    from .candidates import Candidates
    from .custom import PythonSampler
    from .structured import Whitespace

Self = TypeVar("Self", bound="Adders")


class Adders:
    """The ``add_*`` methods of a chain; arguments and errors as in the class methods of :class:`Sampler`."""

    __slots__ = ()

    if TYPE_CHECKING:  # the chain has it

        def add(self: Self, sampler: Sampler) -> Self: ...

    def add_greedy(self: Self) -> Self:
        """Append :meth:`Sampler.greedy`."""
        return self.add(Sampler.greedy())

    def add_dist(self: Self, seed: SupportsIndex | None = None) -> Self:
        """Append :meth:`Sampler.dist`."""
        return self.add(Sampler.dist(seed))

    def add_mirostat(
        self: Self,
        n_vocab: SupportsIndex,
        seed: SupportsIndex | None = None,
        tau: float = 5.0,
        eta: float = 0.1,
        m: int = 100,
    ) -> Self:
        """Append :meth:`Sampler.mirostat`."""
        return self.add(Sampler.mirostat(n_vocab, seed, tau, eta, m))

    def add_mirostat_v2(
        self: Self, seed: SupportsIndex | None = None, tau: float = 5.0, eta: float = 0.1
    ) -> Self:
        """Append :meth:`Sampler.mirostat_v2`."""
        return self.add(Sampler.mirostat_v2(seed, tau, eta))

    def add_adaptive_p(
        self: Self, target: float, decay: float = 0.9, seed: SupportsIndex | None = None
    ) -> Self:
        """Append :meth:`Sampler.adaptive_p`."""
        return self.add(Sampler.adaptive_p(target, decay, seed))

    def add_top_k(self: Self, k: SupportsIndex) -> Self:
        """Append :meth:`Sampler.top_k`."""
        return self.add(Sampler.top_k(k))

    def add_top_p(self: Self, p: float, min_keep: int = 1) -> Self:
        """Append :meth:`Sampler.top_p`."""
        return self.add(Sampler.top_p(p, min_keep))

    def add_min_p(self: Self, p: float, min_keep: int = 1) -> Self:
        """Append :meth:`Sampler.min_p`."""
        return self.add(Sampler.min_p(p, min_keep))

    def add_typical(self: Self, p: float, min_keep: int = 1) -> Self:
        """Append :meth:`Sampler.typical`."""
        return self.add(Sampler.typical(p, min_keep))

    def add_xtc(self: Self, p: float, t: float, min_keep: int = 1, seed: SupportsIndex | None = None) -> Self:
        """Append :meth:`Sampler.xtc`."""
        return self.add(Sampler.xtc(p, t, min_keep, seed))

    def add_top_n_sigma(self: Self, n: float) -> Self:
        """Append :meth:`Sampler.top_n_sigma`."""
        return self.add(Sampler.top_n_sigma(n))

    def add_temp(self: Self, t: float) -> Self:
        """Append :meth:`Sampler.temp`."""
        return self.add(Sampler.temp(t))

    def add_temp_ext(self: Self, t: float, delta: float = 0.0, exponent: float = 1.0) -> Self:
        """Append :meth:`Sampler.temp_ext`."""
        return self.add(Sampler.temp_ext(t, delta, exponent))

    def add_penalties(
        self: Self,
        n_vocab: SupportsIndex,
        penalty_last_n: SupportsIndex = 64,
        penalty_repeat: float = 1.0,
        penalty_freq: float = 0.0,
        penalty_present: float = 0.0,
    ) -> Self:
        """Append :meth:`Sampler.penalties`."""
        return self.add(
            Sampler.penalties(n_vocab, penalty_last_n, penalty_repeat, penalty_freq, penalty_present)
        )

    def add_dry(
        self: Self,
        vocab: Vocab,
        multiplier: float,
        base: float = 1.75,
        allowed_length: SupportsIndex = 2,
        penalty_last_n: SupportsIndex = 1024,
        seq_breakers: Sequence[str | bytes] = ("\n", ":", '"', "*"),
    ) -> Self:
        """Append :meth:`Sampler.dry`."""
        return self.add(Sampler.dry(vocab, multiplier, base, allowed_length, penalty_last_n, seq_breakers))

    def add_logit_bias(
        self: Self,
        n_vocab: SupportsIndex,
        biases: Mapping[int, float] | tuple[Iterable[SupportsIndex], Iterable[float]],
    ) -> Self:
        """Append :meth:`Sampler.logit_bias`."""
        return self.add(Sampler.logit_bias(n_vocab, biases))

    def add_infill(self: Self, vocab: Vocab) -> Self:
        """Append :meth:`Sampler.infill`."""
        return self.add(Sampler.infill(vocab))

    def add_custom(
        self: Self,
        sampler: PythonSampler | Callable[[Candidates], object] | Any,
        *,
        name: str | None = None,
        selects: bool | None = None,
        reorders: bool | None = None,
    ) -> Self:
        """Append :meth:`Sampler.custom`."""
        return self.add(Sampler.custom(sampler, name=name, selects=selects, reorders=reorders))

    def add_grammar(self: Self, vocab: Vocab, grammar: str, root: str = "root") -> Self:
        """Append :meth:`Sampler.grammar`."""
        return self.add(Sampler.grammar(vocab, grammar, root))

    def add_grammar_lazy(
        self: Self,
        vocab: Vocab,
        grammar: str,
        root: str = "root",
        *,
        trigger_patterns: Sequence[str] = (),
        trigger_tokens: Iterable[SupportsIndex] = (),
    ) -> Self:
        """Append :meth:`Sampler.grammar_lazy`."""
        return self.add(
            Sampler.grammar_lazy(
                vocab, grammar, root, trigger_patterns=trigger_patterns, trigger_tokens=trigger_tokens
            )
        )

    def add_json_schema(
        self: Self,
        vocab: Vocab,
        schema: Mapping[str, Any] | bool | str | bytes | type,
        *,
        whitespace: Whitespace = "short",
    ) -> Self:
        """Append :meth:`Sampler.json_schema`."""
        return self.add(Sampler.json_schema(vocab, schema, whitespace=whitespace))

    def add_regex(self: Self, vocab: Vocab, pattern: str) -> Self:
        """Append :meth:`Sampler.regex`."""
        return self.add(Sampler.regex(vocab, pattern))

    def add_lark(self: Self, vocab: Vocab, grammar: str) -> Self:
        """Append :meth:`Sampler.lark`."""
        return self.add(Sampler.lark(vocab, grammar))
