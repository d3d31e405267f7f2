"""Samplers that let only text of a certain form through: a JSON schema, a regular expression, a Lark grammar.

The work is llguidance's (the extra ``llama-ffi[guidance]``): after each token it computes a mask over the
vocabulary, one bit for each token, which is laid over the candidates here.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .._core import check, guidance
from .._core import json_schema as schemas
from .._core import text as text_
from ..errors import GrammarError
from .arguments import vocabulary
from .base import Base
from .kind import Kind

if TYPE_CHECKING:
    from ..vocab import Vocab
    from .candidates import Candidates

S = TypeVar("S", bound=Base)

Whitespace = Literal["short", "none", "any"]

WHITESPACE = {"short": r"( |\n[ \t]{0,40})", "none": None, "any": r"[ \n\r\t]+"}
"""What may stand between two parts of a JSON text, by name."""

_FEW = 16
"""So many candidates are asked one by one, which is faster than a mask."""


class Structured(Base):
    """Constructors of samplers that llguidance does the work of."""

    __slots__ = ()

    @classmethod
    def json_schema(
        cls: type[S],
        vocab: Vocab,
        schema: Mapping[str, Any] | bool | str | bytes | type,
        *,
        whitespace: Whitespace = "short",
    ) -> S:
        """Allow only JSON that satisfies a schema; to be put before what selects or drops candidates.

        Needs the package llguidance: ``pip install "llama-ffi[guidance]"``.

        C: llama_sampler_init

        Arguments:
            vocab: of the model that will be sampled from.
            schema: a JSON schema (draft 2020-12): a dict, JSON text, or a class with ``model_json_schema()``
                such as pydantic's; ``True`` or ``{}`` is any JSON. Its key "x-guidance" holds further options
                of llguidance.
            whitespace: "short": between two parts of the text at most a space, or a new line and 40 spaces to
                indent it; "none": nothing; "any": as much as the model likes, which can be endless.

        What the schema doesn't bound (strings without "maxLength", arrays without "maxItems") goes on for as
        long as the model likes. A schema can have a million characters; what it says beyond llguidance's
        subset is refused, never ignored.

        Raises:
            GrammarError: no JSON schema, one that can't be satisfied, or one that llguidance doesn't support
                or finds too complex, in its words. The last can happen while sampling, too.
            UnsupportedError: llguidance isn't installed; the model has no vocabulary, or one without a token
                that ends generation.
            InvalidArgumentError: an unknown kind of whitespace.
            MemoryError: there is no room for the stack that a schema of this length may need.
        """
        pattern = check.choice("whitespace", whitespace, WHITESPACE)
        made = guidance.from_json_schema(schemas.read(schema), pattern)
        return _make(cls, vocab, made, "json-schema", "the JSON schema")

    @classmethod
    def regex(cls: type[S], vocab: Vocab, pattern: str) -> S:
        """Allow only text that a regular expression matches as a whole.

        Needs the package llguidance: ``pip install "llama-ffi[guidance]"``.

        C: llama_sampler_init

        Arguments:
            vocab: of the model that will be sampled from.
            pattern: in the syntax of Rust's regex crate: like Python's, without look-around and
                back-references; at most a million characters.

        Raises:
            GrammarError: no such expression, or one that is too complex; the latter while sampling, too.
            UnsupportedError, MemoryError: as for :meth:`json_schema`.
        """
        check.instance("pattern", pattern, str)
        _check_text("regular expression", pattern)
        return _make(cls, vocab, guidance.from_regex(pattern), "regex", "the regular expression")

    @classmethod
    def lark(cls: type[S], vocab: Vocab, grammar: str) -> S:
        """Allow only text of a context-free grammar in Lark's syntax, as llguidance has it.

        Needs the package llguidance: ``pip install "llama-ffi[guidance]"``.

        C: llama_sampler_init

        Arguments:
            vocab: of the model that will be sampled from.
            grammar: the rules; ``start`` is the first. ``%json {…}`` in it is a JSON schema, ``<|name|>`` a
                special token. At most a million characters.

        Raises:
            GrammarError: no such grammar, or one that is too complex; the latter while sampling, too.
            UnsupportedError, MemoryError: as for :meth:`json_schema`.
        """
        check.instance("grammar", grammar, str)
        _check_text("Lark grammar", grammar)
        return _make(cls, vocab, guidance.from_lark(grammar), "lark", "the Lark grammar")


class Constraint:
    """What a matcher of llguidance is to a chain."""

    reorders = False
    selects = False

    def __init__(self, vocab: Vocab, start: Any, matcher: Any, name: str) -> None:
        """Begin as ``matcher`` is.

        Arguments:
            vocab: kept alive; the matcher asks it how texts are tokenized.
            start: the same matcher at the grammar's beginning; never changed.
            matcher: this object's own.
            name: in ``chain.names`` and in messages.
        """
        self.name = name
        self._vocab = vocab
        self._ends = frozenset(guidance.tokenizer(vocab).ends)
        self._start = start
        self._matcher = matcher

    def apply(self, candidates: Candidates) -> None:
        """Forbid what the grammar doesn't allow next."""
        import numpy as np

        ids, logits = candidates.ids, candidates.logits
        if len(ids) <= _FEW:
            allowed = np.array([self.allows(token) for token in ids.tolist()])
        else:
            matcher = self._matcher
            mask = guidance.call(matcher.compute_bitmask)
            self._check()
            allowed = np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little").view(bool)
            if matcher.is_stopped():
                allowed[list(self._ends)] = True
            # a chain's first sampler sees the vocabulary in its order
            if len(ids) == self._vocab.n_tokens and ids[0] == 0 and (ids[1:] > ids[:-1]).all():
                allowed = allowed[: len(ids)]
            else:
                allowed = allowed[ids]
        logits[~allowed] = -np.inf

    def allows(self, token: int) -> bool:
        """Return whether the grammar would take a token now."""
        matcher = self._matcher
        if matcher.is_stopped():
            self._check()
            return token in self._ends
        allowed = bool(guidance.call(matcher.validate_tokens, [token]))
        self._check()
        return allowed

    def accept(self, token: int) -> None:
        """Go on behind a token that :meth:`allows` has allowed."""
        if self._matcher.is_stopped() and token in self._ends:
            return
        guidance.call(self._matcher.consume_token, token)
        self._check()

    def reset(self) -> None:
        """Go back to the grammar's beginning."""
        self._matcher = self._start.deep_copy()

    def clone(self) -> Constraint:
        """Return an independent copy in the same state."""
        return Constraint(self._vocab, self._start, self._matcher.deep_copy(), self.name)

    def _check(self) -> None:
        guidance.check(self._matcher, f"the sampler {self.name} has no way on")


def _check_text(what: str, text: str) -> None:
    if len(text) > schemas.MAX_LENGTH:
        raise GrammarError(f"the {what} has {len(text)} characters; {schemas.MAX_LENGTH} are possible")
    text_.encode(text, f"the {what}")  # llguidance takes UTF-8 only


def _make(cls: type[S], vocab: Vocab, grammar: str, name: str, what: str) -> S:
    from .python import Link  # with numpy, which a chain without Python needn't load

    vocabulary(vocab)
    start = guidance.matcher(vocab, grammar, what)
    link = Link(Constraint(vocab, start, start.deep_copy(), name))
    # what must be equal if another's state is taken over
    config = (float(zlib.crc32(grammar.encode())), float(len(grammar)), float(id(vocab)))
    return cls(link.make(), Kind(name, grammar=True, python=link, config=config, n_vocab=vocab.n_tokens))
