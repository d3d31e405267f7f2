"""Samplers that let only the text of a grammar through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, SupportsIndex, TypeVar

from .._core import binding, check, gbnf, logs
from .._core import text as text_
from ..errors import GrammarError
from .arguments import vocabulary
from .base import Base
from .kind import Kind
from .lazy_grammar import LazyGrammar

if TYPE_CHECKING:
    from ..vocab import Vocab

S = TypeVar("S", bound=Base)


class Grammars(Base):
    """Constructors of samplers with a grammar."""

    __slots__ = ()

    @classmethod
    def grammar(cls: type[S], vocab: Vocab, grammar: str, root: str = "root") -> S:
        """Allow only text that the grammar (GBNF) allows; to be put before what selects or drops candidates.

        C: llama_sampler_init_grammar

        Arguments:
            vocab: of the model that will be sampled from.
            grammar: the rules, in GBNF.
            root: the rule that a text must match.

        Raises:
            GrammarError: the grammar doesn't parse (with the line), has no such root, is left-recursive,
                doubles what llama.cpp must remember with every round of a rule, has more than a million
                characters, or names tokens (``<think>``) while the library has no guard: llama.cpp throws
                on some of those.
            UnsupportedError: the model has no vocabulary.
        """
        return _grammar(cls, vocab, *_read_grammar(vocab, grammar, root))

    @classmethod
    def grammar_lazy(
        cls: type[S],
        vocab: Vocab,
        grammar: str,
        root: str = "root",
        *,
        trigger_patterns: Sequence[str] = (),
        trigger_tokens: Iterable[SupportsIndex] = (),
    ) -> S:
        """Allow everything until a trigger appears, and from there on only what the grammar allows.

        C: llama_sampler_init_grammar

        Not llama_sampler_init_grammar_lazy_patterns, which compiles the patterns with ``std::regex``: its
        exceptions end the process, and so does its recursion on a few ten thousand characters. The waiting
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
        _grammar(cls, vocab, *read).close()  # what llama.cpp won't take is said now, not when triggered
        lazy = LazyGrammar(vocab, lambda: _grammar(cls, vocab, *read), tokens, patterns)
        # an empty grammar allows everything
        waiting = binding.active().lib.llama_sampler_init_grammar(vocab.ptr, b"", b"")
        kind = Kind("grammar-lazy", grammar=True, uses_tokens=read[2], lazy=lazy, n_vocab=vocab.n_tokens)
        return cls(waiting, kind, keep=[vocab._handle.ptr])


def _read_grammar(vocab: Vocab, grammar: str, root: str) -> tuple[bytes, bytes, bool]:
    vocabulary(vocab)
    vocab._check_vocab()
    check.instance("grammar", grammar, str)
    source, start = text_.encode_c(grammar, "grammar"), text_.encode_c(root, "root")
    uses_tokens = gbnf.read(grammar, start.decode("utf-8", "surrogateescape")).uses_tokens
    if uses_tokens and binding.active().guard is None:
        raise GrammarError(
            "the grammar names tokens (<...>): llama.cpp throws on some of them, and this library has no "
            "guard that would catch it; write their text, or use a library built by llama_ffi"
        )
    return source, start, uses_tokens


def _grammar(cls: type[S], vocab: Vocab, source: bytes, root: bytes, uses_tokens: bool) -> S:
    active = binding.active()
    model = vocab._handle.ptr
    with logs.capture() as lines:
        pointer = active.lib.llama_sampler_init_grammar(vocab.ptr, source, root)
    if pointer == active.NULL:
        raise GrammarError(
            f"llama.cpp refuses the grammar: {'; '.join(lines) or 'it gives no reason'}", log=lines
        )
    kind = Kind("grammar", grammar=True, uses_tokens=uses_tokens, n_vocab=vocab.n_tokens)
    return cls(pointer, kind, keep=[model])
