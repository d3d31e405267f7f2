"""Samplers that change logits: temperatures, penalties, biases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar

from .._core import binding, check
from .._core import text as text_
from ..errors import ArgumentTypeError, InvalidArgumentError, SamplerError
from .arguments import MAX_BIAS, MAX_HISTORY, real, temperature, vocabulary
from .base import Base
from .kind import Kind

if TYPE_CHECKING:
    from ..vocab import Vocab

S = TypeVar("S", bound=Base)


class Reshaping(Base):
    """Constructors of samplers that change logits."""

    __slots__ = ()

    @classmethod
    def temp(cls: type[S], t: float) -> S:
        """Divide the logits by ``t``; 0 or less leaves only the most likely token.

        C: llama_sampler_init_temp
        """
        number = temperature(t)
        return cls(binding.active().lib.llama_sampler_init_temp(number), Kind("temp", config=(number,)))

    @classmethod
    def temp_ext(cls: type[S], t: float, delta: float = 0.0, exponent: float = 1.0) -> S:
        """Divide the logits by ``t`` ± ``delta``, by the entropy to the power of ``exponent``.

        C: llama_sampler_init_temp_ext
        """
        args = (temperature(t), real("delta", delta, 0.0), real("exponent", exponent))
        pointer = binding.active().lib.llama_sampler_init_temp_ext(*args)
        return cls(pointer, Kind("temp-ext", reorders=True, config=args))

    @classmethod
    def penalties(
        cls: type[S],
        n_vocab: SupportsIndex,
        penalty_last_n: SupportsIndex = 64,
        penalty_repeat: float = 1.0,
        penalty_freq: float = 0.0,
        penalty_present: float = 0.0,
    ) -> S:
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
            check.integer("penalty_last_n", penalty_last_n, 0, MAX_HISTORY),
            real("penalty_repeat", penalty_repeat, math.ulp(0.0)),
            real("penalty_freq", penalty_freq),
            real("penalty_present", penalty_present),
        )
        kind = Kind("penalties", config=args, n_vocab=args[0])
        return cls(binding.active().lib.llama_sampler_init_penalties(*args), kind)

    @classmethod
    def dry(
        cls: type[S],
        vocab: Vocab,
        multiplier: float,
        base: float = 1.75,
        allowed_length: SupportsIndex = 2,
        penalty_last_n: SupportsIndex = 1024,
        seq_breakers: Sequence[str | bytes] = ("\n", ":", '"', "*"),
    ) -> S:
        """Make the continuation of repetitions less likely ("don't repeat yourself").

        C: llama_sampler_init_dry

        Arguments:
            vocab: the vocabulary of the model, which is kept alive.
            multiplier: strength, 0 = off.
            base: grows the penalty with each token beyond ``allowed_length``.
            allowed_length: tokens that may repeat freely.
            penalty_last_n: tokens to look back, 0 = off.
            seq_breakers: texts over which a repetition doesn't reach, up to 40 bytes each.

        Raises:
            SamplerError: a text is too long, or not ASCII where the vocabulary wants that.
        """
        model = vocabulary(vocab)
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
            real("multiplier", multiplier),
            real("base", base),
            check.integer("allowed_length", allowed_length, 0),
            check.integer("penalty_last_n", penalty_last_n, 0, MAX_HISTORY),
            ffi.new("char *[]", texts) if texts else ffi.NULL,
            len(texts),
        )
        return cls(
            binding.active().lib.llama_sampler_init_dry(*args),
            Kind("dry", n_vocab=vocab.n_tokens),
            keep=[model],
        )

    @classmethod
    def logit_bias(
        cls: type[S],
        n_vocab: SupportsIndex,
        biases: Mapping[int, float] | tuple[Iterable[SupportsIndex], Iterable[float]],
    ) -> S:
        """Add to the logits of some tokens; -inf forbids a token.

        C: llama_sampler_init_logit_bias

        Arguments:
            n_vocab: the size of the vocabulary.
            biases: {token: bias}, or (tokens, biases) as two lists or arrays of one length.

        Raises:
            TokenRangeError: a token is outside of [0, n_vocab).
            InvalidArgumentError: a bias is NaN or above a million (llama.cpp sorts larger numbers wrongly; a
                million makes a token certain), a token has two, or the arrays differ in length.
        """
        size = check.integer("n_vocab", n_vocab, 1)
        known = dict(biases.items() if isinstance(biases, Mapping) else _pairs(biases))
        ffi = binding.active().ffi
        array = ffi.new("llama_logit_bias[]", len(known))
        for entry, (token, bias) in zip(array, known.items(), strict=True):
            entry.token = check.token(token, size)
            entry.bias = check.real(f"the bias of token {token}", bias, high=MAX_BIAS, finite=False)
        pointer = binding.active().lib.llama_sampler_init_logit_bias(size, len(known), array)
        return cls(pointer, Kind("logit-bias", n_vocab=size))


def _pairs(biases: Any) -> list[tuple[Any, Any]]:
    if not isinstance(biases, tuple) or len(biases) != 2:
        raise ArgumentTypeError(
            f"biases must be a dict {{token: bias}} or (tokens, biases), not {type(biases).__name__}"
        )
    tokens = check.listed("the tokens of biases", biases[0], "token ids")
    values = check.listed("biases", biases[1], "numbers")
    if len(tokens) != len(values) or len(set(tokens)) != len(tokens):
        raise InvalidArgumentError(
            f"{len(tokens)} tokens ({len(set(tokens))} different ones) have {len(values)} biases; there must "
            f"be one for each"
        )
    return list(zip(tokens, values, strict=True))
