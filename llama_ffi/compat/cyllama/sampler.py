"""cyllama's sampler: a chain, and methods that append to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import ArgumentTypeError, SamplerError
from ...sampler import SamplerChain
from . import checks
from .params import LlamaSamplerChainParams
from .vocab import vocab_of

if TYPE_CHECKING:
    from .context import LlamaContext
    from .model import LlamaModel
    from .vocab import LlamaVocab

Step = Callable[[SamplerChain, int], object]
"""What is done to a chain, given the size of the vocabulary."""

LLAMA_DEFAULT_SEED = 0xFFFFFFFF
"""What C takes for "choose one", and says where there is none."""


@dataclass(slots=True)
class LlamaLogitBias:
    """What to add to the logit of one token."""

    token: int = 0
    bias: float = 0.0


@dataclass(slots=True)
class LlamaTokenData:
    """One candidate."""

    id: int
    logit: float
    p: float


class LlamaSampler:
    """A chain of samplers.

    Arguments:
        params: None = the usual ones.

    Errors as those of :class:`llama_ffi.SamplerChain`, which it wraps: a grammar that can't be read is a
    GrammarError (cyllama goes on without it), and nothing may follow what selects.

    Threads: one at a time.
    """

    __slots__ = ("_chain", "_waiting")

    _chain: SamplerChain
    _waiting: list[Step]
    """what waits until the size of the vocabulary is known, in its order"""

    def __init__(self, params: LlamaSamplerChainParams | None = None) -> None:
        if params is not None:
            checks.instance("params", params, LlamaSamplerChainParams)
        self._chain = SamplerChain(no_perf=params is None or bool(params.no_perf))
        self._waiting = []

    @property
    def safe(self) -> SamplerChain:
        """Return llama_ffi's chain under it.

        Raises:
            SamplerError: penalties wait for the first :meth:`sample`, which tells the vocabulary's size.
        """
        if self._waiting:
            raise SamplerError(
                "the chain isn't complete yet: llama.cpp's penalties want the size of the vocabulary, which "
                "the first sample(ctx, idx) tells"
            )
        return self._chain

    def _do(self, step: Step, *, waits: bool = False) -> None:
        if waits or self._waiting:
            self._waiting.append(step)
        else:
            step(self._chain, 0)

    def __repr__(self) -> str:
        return f"<llama_ffi.compat.cyllama.LlamaSampler of {self._chain!r}>"

    def close(self) -> None:
        """Free the chain; a second call does nothing."""
        self._waiting.clear()
        self._chain.close()

    def name(self) -> str:
        """Return "chain"."""
        return "chain"

    def get_seed(self) -> int:
        """Return the seed of the last sampler that has one, LLAMA_DEFAULT_SEED if none has."""
        seed = self.safe.seed
        return LLAMA_DEFAULT_SEED if seed is None else seed

    def reset(self) -> None:
        """Forget what was accepted."""
        self.safe.reset()

    def clone(self) -> LlamaSampler:
        """Return a copy with the same samplers in the same state."""
        copy = LlamaSampler.__new__(LlamaSampler)
        copy._chain = self._chain.clone()
        copy._waiting = list(self._waiting)
        return copy

    # --- using ---

    def sample(self, ctx: LlamaContext, idx: int) -> int:
        """Choose a token, and accept it; programs that call :meth:`accept` as well tell it twice.

        Arguments:
            ctx: the context.
            idx: the token's index in the last batch, or -1 for the last output.
        """
        safe = getattr(ctx, "safe", None)
        if safe is None:
            raise ArgumentTypeError(f"ctx must be a LlamaContext, not {type(ctx).__name__}")
        while self._waiting:
            self._waiting.pop(0)(self._chain, safe.model.vocab.n_tokens)
        return self._chain.sample(safe, idx)

    def accept(self, token: int) -> None:
        """Tell the samplers that ``token`` was chosen."""
        self._do(lambda chain, _: chain.accept(token))

    def get_perf_data(self) -> dict[str, float | int]:
        """Return "t_sample_ms" and "n_sample"; zeros unless made with no_perf=False."""
        perf = self.safe.perf
        return {"t_sample_ms": perf.t_sample_ms, "n_sample": perf.n_sample}

    def print_perf_data(self) -> None:
        """Log what was measured, at the level "info"."""
        self.safe.perf_print()

    def reset_perf_data(self) -> None:
        """Measure from zero."""
        self.safe.perf_reset()

    # --- appending; arguments as the methods of llama_ffi.Sampler ---

    def add_greedy(self) -> None:
        """Append what takes the likeliest token."""
        self._do(lambda chain, _: chain.add_greedy())

    def add_dist(self, seed: int) -> None:
        """Append what draws by probability, from ``seed`` on."""
        self._do(lambda chain, _: chain.add_dist(_seed(seed)))

    def add_top_k(self, k: int) -> None:
        """Append what keeps the ``k`` likeliest."""
        self._do(lambda chain, _: chain.add_top_k(k))

    def add_top_p(self, p: float, min_keep: int) -> None:
        """Append what keeps the likeliest that make up ``p`` together, ``min_keep`` at least."""
        self._do(lambda chain, _: chain.add_top_p(p, min_keep))

    def add_min_p(self, p: float, min_keep: int) -> None:
        """Append what keeps those with ``p`` times the best one's probability, ``min_keep`` at least."""
        self._do(lambda chain, _: chain.add_min_p(p, min_keep))

    def add_typical(self, p: float, min_keep: int) -> None:
        """Append locally typical sampling with ``p``, which keeps ``min_keep`` at least."""
        self._do(lambda chain, _: chain.add_typical(p, min_keep))

    def add_temp(self, t: float) -> None:
        """Append the temperature ``t``."""
        self._do(lambda chain, _: chain.add_temp(t))

    def add_temp_ext(self, t: float, delta: float, exponent: float) -> None:
        """Append the dynamic temperature ``t`` ± ``delta``, with ``exponent``."""
        self._do(lambda chain, _: chain.add_temp_ext(t, delta, exponent))

    def add_xtc(self, p: float, t: float, min_keep: int, seed: int) -> None:
        """Append XTC: probability ``p``, threshold ``t``, keeps ``min_keep``, draws from ``seed`` on."""
        self._do(lambda chain, _: chain.add_xtc(p, t, min_keep, _seed(seed)))

    def add_mirostat(self, n_vocab: int, seed: int, tau: float, eta: float, m: int) -> None:
        """Append Mirostat for ``n_vocab`` tokens, with ``tau``, ``eta`` and ``m``, drawn from ``seed`` on."""
        self._do(lambda chain, _: chain.add_mirostat(n_vocab, _seed(seed), tau, eta, m))

    def add_mirostat_v2(self, seed: int, tau: float, eta: float) -> None:
        """Append Mirostat 2.0 with ``tau`` and ``eta``, drawn from ``seed`` on."""
        self._do(lambda chain, _: chain.add_mirostat_v2(_seed(seed), tau, eta))

    def add_grammar(self, vocab: LlamaVocab | LlamaModel, grammar_str: str, grammar_root: str) -> None:
        """Append a grammar.

        Arguments:
            vocab: the vocabulary (early releases: the model).
            grammar_str: GBNF text.
            grammar_root: the rule to begin with.
        """
        safe = vocab_of(vocab)
        self._do(lambda chain, _: chain.add_grammar(safe, grammar_str, grammar_root))

    def add_penalties(
        self, penalty_last_n: int, penalty_repeat: float, penalty_freq: float, penalty_present: float
    ) -> None:
        """Append penalties on what the last ``penalty_last_n`` tokens hold.

        Arguments:
            penalty_repeat: 1.0 = none.
            penalty_freq, penalty_present: 0.0 = none.
        """
        numbers = (penalty_last_n, penalty_repeat, penalty_freq, penalty_present)
        self._do(lambda chain, n_vocab: chain.add_penalties(n_vocab, *numbers), waits=True)

    def add_logit_bias(self, n_vocab: int, logit_biases: Iterable[Any]) -> None:
        """Append biases.

        Arguments:
            n_vocab: the size of the vocabulary.
            logit_biases: (token, bias) pairs, or LlamaLogitBias objects.
        """
        pairs = []
        for each in checks.listed("logit_biases", logit_biases, "(token, bias) pairs"):
            pair = (each.token, each.bias) if isinstance(each, LlamaLogitBias) else each
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise ArgumentTypeError(f"logit_biases holds {each!r:.40}, which is no (token, bias) pair")
            pairs.append(pair)
        biases = ([token for token, _ in pairs], [bias for _, bias in pairs])
        self._do(lambda chain, _: chain.add_logit_bias(n_vocab, biases))

    def add_infill(self, vocab: LlamaVocab | LlamaModel) -> None:
        """Append what fills in the middle, for ``vocab``."""
        safe = vocab_of(vocab)
        self._do(lambda chain, _: chain.add_infill(safe))


def _seed(seed: int) -> int | None:
    return None if seed == LLAMA_DEFAULT_SEED else seed
