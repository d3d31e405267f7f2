"""Samplers: the single steps of a chain, and the constructors for all that llama.cpp has.

A sampler is owned until a chain takes it (``consumed``) and again when the chain gives it back. What the
chain must know about it - whether it selects a token, whether it reorders or drops candidates, which
vocabulary it belongs to - is kept beside the C object.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex

from ._core import binding, check, gbnf, logs
from ._core import text as text_
from ._core.handle import Handle
from ._core.owned import Owned
from .errors import ArgumentTypeError, GrammarError, SamplerError
from .lazy_grammar import LazyGrammar
from .sampler_kind import Kind, check_clonable, copy_kind, sampler_name, seed_of

if TYPE_CHECKING:
    from .vocab import Vocab

_MAX_HISTORY = 1 << 24
"""Tokens that a sampler may remember; the memory for them is taken at once."""

_MAX_KEEP = 2**31 - 1


class Sampler(Owned):
    """One sampler.

    C: struct llama_sampler, owned unless a chain took it.

    Made by the class methods below; they have the names and arguments of ``llama_sampler_init_*``.
    A ``seed`` of None is a random one.

    Threads: one at a time (BusyError otherwise).
    """

    __slots__ = ("_kind",)

    def __init__(self, pointer: Any, kind: Kind | None = None, *, keep: Iterable[Any] = ()) -> None:
        """Take over a ``struct llama_sampler *`` that raw code made."""
        active = binding.active()
        if pointer == active.NULL:
            raise SamplerError("the sampler pointer is NULL")
        self._kind = Kind("custom") if kind is None else kind
        free = active.lib.llama_sampler_free
        self._handle = Handle(active.ffi, pointer, free, "sampler", keep=keep, exclusive=True)

    @property
    def consumed(self) -> bool:
        """Return whether a chain owns it now."""
        return self._handle.consumed

    def __repr__(self) -> str:
        state = ", in a chain" if self.consumed else ", closed" if self.closed else ""
        return f"<llama_ffi.Sampler {self._kind.name}{state}>"

    @property
    def name(self) -> str:
        """Return its name; "?" in front says that its arguments switch it off.

        C: llama_sampler_name
        """
        with self._handle as pointer:
            return sampler_name(pointer)

    @property
    def seed(self) -> int | None:
        """Return the seed in use, None if it draws no random numbers (or xtc or adaptive-p, which don't
        tell).

        C: llama_sampler_get_seed
        """
        with self._handle as pointer:
            return seed_of(pointer)

    def reset(self) -> None:
        """Forget what was accepted; random numbers start over.

        C: llama_sampler_reset
        """
        with self._handle as pointer:
            binding.active().lib.llama_sampler_reset(pointer)

    def clone(self) -> Sampler:
        """Return a copy with the same state.

        C: llama_sampler_clone

        Raises:
            SamplerError: it was made by raw code without a ``clone`` function.
        """
        active = binding.active()
        with self._handle as pointer:
            check_clonable(pointer)
            copy = active.lib.llama_sampler_clone(pointer)
            if copy == active.NULL:
                raise SamplerError(f"the sampler {self._kind.name} could not be cloned")
            return Sampler(copy, copy_kind(self._kind), keep=self._handle.kept())

    # --- those that select ---

    @classmethod
    def greedy(cls) -> Sampler:
        """Select the most likely token; of equal ones the lowest id. C: llama_sampler_init_greedy"""
        return cls(_lib().llama_sampler_init_greedy(), Kind("greedy", selects=True))

    @classmethod
    def dist(cls, seed: SupportsIndex | None = None) -> Sampler:
        """Select a token at random, by its probability. C: llama_sampler_init_dist"""
        return cls(_lib().llama_sampler_init_dist(_seed(seed)), Kind("dist", selects=True))

    @classmethod
    def mirostat(
        cls,
        n_vocab: SupportsIndex,
        seed: SupportsIndex | None = None,
        tau: float = 5.0,
        eta: float = 0.1,
        m: int = 100,
    ) -> Sampler:
        """Select with Mirostat 1.0.

        Surprise is kept near ``tau`` at the learning rate ``eta``, estimated from the best ``m`` tokens.

        C: llama_sampler_init_mirostat
        """
        args = (
            check.integer("n_vocab", n_vocab, 1),
            _seed(seed),
            _real("tau", tau, 0.0),
            _real("eta", eta, 0.0),
            check.integer("m", m, 2),
        )
        return cls(_lib().llama_sampler_init_mirostat(*args), Kind("mirostat", selects=True, reorders=True))

    @classmethod
    def mirostat_v2(cls, seed: SupportsIndex | None = None, tau: float = 5.0, eta: float = 0.1) -> Sampler:
        """Select with Mirostat 2.0: surprise near ``tau``, learning rate ``eta``.

        C: llama_sampler_init_mirostat_v2
        """
        args = (_seed(seed), _real("tau", tau, 0.0), _real("eta", eta, 0.0))
        return cls(
            _lib().llama_sampler_init_mirostat_v2(*args), Kind("mirostat-v2", selects=True, reorders=True)
        )

    @classmethod
    def adaptive_p(cls, target: float, decay: float = 0.9, seed: SupportsIndex | None = None) -> Sampler:
        """Select tokens whose probability is near ``target`` (0 to 1; negative = off).

        The average that is steered forgets with ``decay`` (0 to 0.99).

        C: llama_sampler_init_adaptive_p
        """
        args = (_real("target", target, -1.0, 1.0), _real("decay", decay, 0.0, 0.99), _seed(seed))
        kind = Kind("adaptive-p", selects=True, resets_pending=args[0] >= 0.0)
        return cls(_lib().llama_sampler_init_adaptive_p(*args), kind)

    # --- those that drop candidates ---

    @classmethod
    def top_k(cls, k: SupportsIndex) -> Sampler:
        """Keep the ``k`` most likely tokens; 0 or less keeps all. C: llama_sampler_init_top_k"""
        return cls(_lib().llama_sampler_init_top_k(check.integer("k", k)), Kind("top-k", reorders=True))

    @classmethod
    def top_p(cls, p: float, min_keep: int = 1) -> Sampler:
        """Keep the most likely tokens that have ``p`` of the probability together; 1 keeps all.

        C: llama_sampler_init_top_p
        """
        args = (_real("p", p, 0.0), _keep(min_keep))
        return cls(_lib().llama_sampler_init_top_p(*args), Kind("top-p", reorders=True))

    @classmethod
    def min_p(cls, p: float, min_keep: int = 1) -> Sampler:
        """Keep tokens with at least ``p`` times the best one's probability; 0 keeps all.

        C: llama_sampler_init_min_p
        """
        args = (_real("p", p, 0.0), _keep(min_keep))
        return cls(_lib().llama_sampler_init_min_p(*args), Kind("min-p", reorders=True))

    @classmethod
    def typical(cls, p: float, min_keep: int = 1) -> Sampler:
        """Keep the locally typical tokens that have ``p`` of the probability together; 1 keeps all.

        C: llama_sampler_init_typical
        """
        args = (_real("p", p, 0.0), _keep(min_keep))
        return cls(_lib().llama_sampler_init_typical(*args), Kind("typical", reorders=True))

    @classmethod
    def xtc(cls, p: float, t: float, min_keep: int = 1, seed: SupportsIndex | None = None) -> Sampler:
        """With probability ``p`` drop all but the last of the tokens above the threshold ``t``.

        C: llama_sampler_init_xtc
        """
        args = (_real("p", p, 0.0), _real("t", t, 0.0), _keep(min_keep), _seed(seed))
        return cls(_lib().llama_sampler_init_xtc(*args), Kind("xtc", reorders=True))

    @classmethod
    def top_n_sigma(cls, n: float) -> Sampler:
        """Keep tokens whose logit is at most ``n`` standard deviations below the best; 0 or less keeps all.

        C: llama_sampler_init_top_n_sigma
        """
        return cls(_lib().llama_sampler_init_top_n_sigma(_real("n", n)), Kind("top-n-sigma"))

    @classmethod
    def infill(cls, vocab: Vocab) -> Sampler:
        """Merge tokens that begin alike, for filling a gap; to be put behind top_k and top_p.

        C: llama_sampler_init_infill

        Raises:
            SamplerError: the vocabulary has no token that ends a text, or one of more than 512 bytes.
        """
        _check_vocab(vocab)
        model = vocab._handle.ptr
        if vocab.eot is None and vocab.eos is None:
            raise SamplerError("infill needs a vocabulary with an end-of-turn or end-of-sequence token")
        longest = max(map(len, vocab._ids_of_pieces()), default=0)
        if longest > 512:
            raise SamplerError(
                f"infill takes pieces of up to 512 bytes, and this vocabulary has one of {longest}"
            )
        kind = Kind("infill", reorders=True, n_vocab=vocab.n_tokens)
        return cls(_lib().llama_sampler_init_infill(vocab.ptr), kind, keep=[model])

    # --- those that change logits ---

    @classmethod
    def temp(cls, t: float) -> Sampler:
        """Divide the logits by ``t``; 0 or less leaves only the most likely token.

        C: llama_sampler_init_temp
        """
        return cls(_lib().llama_sampler_init_temp(_real("t", t)), Kind("temp"))

    @classmethod
    def temp_ext(cls, t: float, delta: float = 0.0, exponent: float = 1.0) -> Sampler:
        """Divide the logits by ``t`` ± ``delta``, by the entropy to the power of ``exponent``.

        C: llama_sampler_init_temp_ext
        """
        args = (_real("t", t), _real("delta", delta, 0.0), _real("exponent", exponent))
        return cls(_lib().llama_sampler_init_temp_ext(*args), Kind("temp-ext", reorders=True))

    @classmethod
    def penalties(
        cls,
        n_vocab: SupportsIndex,
        penalty_last_n: SupportsIndex = 64,
        penalty_repeat: float = 1.0,
        penalty_freq: float = 0.0,
        penalty_present: float = 0.0,
    ) -> Sampler:
        """Make recent tokens less likely.

        C: llama_sampler_init_penalties

        Arguments:
            n_vocab: the size of the vocabulary.
            penalty_last_n: tokens to look back, 0 = off.
            penalty_repeat: divides positive logits, multiplies negative ones; above 0, 1.0 = off.
            penalty_freq: is subtracted once for each occurrence.
            penalty_present: is subtracted once.
        """
        args = (
            check.integer("n_vocab", n_vocab, 1),
            check.integer("penalty_last_n", penalty_last_n, 0, _MAX_HISTORY),
            _real("penalty_repeat", penalty_repeat, math.ulp(0.0)),
            _real("penalty_freq", penalty_freq),
            _real("penalty_present", penalty_present),
        )
        return cls(_lib().llama_sampler_init_penalties(*args), Kind("penalties"))

    @classmethod
    def dry(
        cls,
        vocab: Vocab,
        multiplier: float,
        base: float = 1.75,
        allowed_length: SupportsIndex = 2,
        penalty_last_n: SupportsIndex = 1024,
        seq_breakers: Sequence[str | bytes] = ("\n", ":", '"', "*"),
    ) -> Sampler:
        """Make the continuation of repetitions less likely ("don't repeat yourself").

        C: llama_sampler_init_dry

        Arguments:
            multiplier: strength, 0 = off.
            base: grows the penalty with each token beyond ``allowed_length``.
            allowed_length: tokens that may repeat freely.
            penalty_last_n: tokens to look back, 0 = off.
            seq_breakers: texts over which a repetition doesn't reach, up to 40 bytes each.
        """
        _check_vocab(vocab)
        model = vocab._handle.ptr
        vocab._check_vocab()
        ffi = binding.active().ffi
        texts_given = check.listed("seq_breakers", seq_breakers, "texts")
        breakers = [text_.encode_c(each, "a sequence breaker") for each in texts_given]
        for each in breakers:
            # C cuts them off at 40 bytes, maybe inside a character, and tokenizes every end of them
            if len(each) > 40:
                raise SamplerError(f"a sequence breaker has {len(each)} bytes; 40 are possible: {each!r}")
            if not each.isascii() and not (vocab.type.name == "SPM" and vocab._checks.falls_back_to_bytes()):
                raise SamplerError(
                    f"sequence breakers must be ASCII in {vocab.type.name} vocabularies: {each!r}"
                )
            vocab._checks.text(each, False)
        texts = [ffi.new("char[]", each) for each in breakers]
        args = (
            vocab.ptr,
            _real("multiplier", multiplier),
            _real("base", base),
            check.integer("allowed_length", allowed_length, 0),
            check.integer("penalty_last_n", penalty_last_n, 0, _MAX_HISTORY),
            ffi.new("char *[]", texts) if texts else ffi.NULL,
            len(texts),
        )
        return cls(_lib().llama_sampler_init_dry(*args), Kind("dry", n_vocab=vocab.n_tokens), keep=[model])

    @classmethod
    def logit_bias(cls, n_vocab: SupportsIndex, biases: Mapping[int, float]) -> Sampler:
        """Add to the logits of some tokens; -inf forbids a token.

        C: llama_sampler_init_logit_bias

        Raises:
            TokenRangeError: a token is outside of [0, n_vocab).
            InvalidArgumentError: a bias is NaN or +inf (add a large number instead).
        """
        size = check.integer("n_vocab", n_vocab, 1)
        if not isinstance(biases, Mapping):
            raise ArgumentTypeError(f"biases must be a dict of token ids, not {type(biases).__name__}")
        ffi = binding.active().ffi
        array = ffi.new("llama_logit_bias[]", len(biases))
        for entry, (token, bias) in zip(array, biases.items(), strict=True):
            entry.token = check.token(token, size)
            entry.bias = check.real(f"the bias of token {token}", bias, high=3e38, finite=False)
        return cls(_lib().llama_sampler_init_logit_bias(size, len(biases), array), Kind("logit-bias"))

    # --- grammars ---

    @classmethod
    def grammar(cls, vocab: Vocab, grammar: str, root: str = "root") -> Sampler:
        """Allow only text that the grammar (GBNF) allows; to be put before what selects or drops candidates.

        C: llama_sampler_init_grammar

        Arguments:
            vocab: of the model that will be sampled from.
            grammar: the rules, in GBNF.
            root: the rule that a text must match.

        Raises:
            GrammarError: the grammar doesn't parse (with the line), has no such root, is left-recursive, or
                names tokens (``<think>``) while the library has no guard: llama.cpp throws on some of those.
            UnsupportedError: the model has no vocabulary.
        """
        return _grammar(vocab, *_read_grammar(vocab, grammar, root))

    @classmethod
    def grammar_lazy(
        cls,
        vocab: Vocab,
        grammar: str,
        root: str = "root",
        *,
        trigger_patterns: Sequence[str] = (),
        trigger_tokens: Iterable[SupportsIndex] = (),
    ) -> Sampler:
        """Allow everything until a trigger appears, and from there on only what the grammar allows.

        Instead of llama_sampler_init_grammar_lazy_patterns, which compiles the patterns with ``std::regex``
        (its
        exceptions end the process, and so does its recursion on a few ten thousand characters): the waiting
        is done here, and the grammar itself by llama.cpp once it is triggered.

        Arguments:
            vocab, grammar, root: as for :meth:`grammar`.
            trigger_patterns: regular expressions (Python's), searched in all text since the beginning. The
                grammar applies from the first group that matched something, or else from the match.
            trigger_tokens: token ids; the grammar applies from the token on.

        Raises:
            GrammarError: as for :meth:`grammar`, or a pattern is no regular expression.
            TokenRangeError: a trigger token is outside of the vocabulary.
        """
        read = _read_grammar(vocab, grammar, root)
        patterns = check.listed("trigger_patterns", trigger_patterns, "regular expressions")
        for pattern in patterns:
            check.instance("a trigger pattern", pattern, str)
        triggers = check.listed("trigger_tokens", trigger_tokens, "token ids")
        tokens = frozenset(check.token(token, vocab.n_tokens, "trigger token") for token in triggers)
        _grammar(vocab, *read).close()  # what llama.cpp won't take is said now, not when triggered
        lazy = LazyGrammar(vocab, lambda: _grammar(vocab, *read), tokens, patterns)
        waiting = _lib().llama_sampler_init_grammar(vocab.ptr, b"", b"")  # an empty grammar allows everything
        kind = Kind("grammar-lazy", grammar=True, uses_tokens=read[2], lazy=lazy, n_vocab=vocab.n_tokens)
        return cls(waiting, kind, keep=[vocab._handle.ptr])


def _check_vocab(vocab: Vocab) -> None:
    if not hasattr(vocab, "_ids_of_pieces"):  # importing its class would turn the layers around
        raise ArgumentTypeError(f"vocab must be a Vocab (model.vocab), not {type(vocab).__name__}")


def _read_grammar(vocab: Vocab, grammar: str, root: str) -> tuple[bytes, bytes, bool]:
    _check_vocab(vocab)
    vocab._check_vocab()
    check.instance("grammar", grammar, str)
    source, start = text_.encode_c(grammar, "grammar"), text_.encode_c(root, "root")
    uses_tokens = gbnf.read(grammar, start.decode()).uses_tokens
    if uses_tokens and binding.active().guard is None:
        raise GrammarError(
            "the grammar names tokens (<...>): llama.cpp throws on some of them, and this library has no "
            "guard that would catch it; write their text, or use a library built by llama_ffi"
        )
    return source, start, uses_tokens


def _grammar(vocab: Vocab, source: bytes, root: bytes, uses_tokens: bool) -> Sampler:
    active = binding.active()
    model = vocab._handle.ptr
    with logs.capture() as lines:
        pointer = active.lib.llama_sampler_init_grammar(vocab.ptr, source, root)
    if pointer == active.NULL:
        raise GrammarError(
            f"llama.cpp refuses the grammar: {'; '.join(lines) or 'it gives no reason'}", log=lines
        )
    kind = Kind("grammar", grammar=True, uses_tokens=uses_tokens, n_vocab=vocab.n_tokens)
    return Sampler(pointer, kind, keep=[model])


def _lib() -> Any:
    return binding.active().lib


def _seed(value: SupportsIndex | None) -> int:
    return int(binding.active().lib.LLAMA_DEFAULT_SEED) if value is None else check.seed(value)


def _real(name: str, value: float, low: float = -3e38, high: float = 3e38) -> float:
    return check.real(name, value, low, high)


def _keep(value: SupportsIndex) -> int:
    return check.integer("min_keep", value, 0, _MAX_KEEP)
