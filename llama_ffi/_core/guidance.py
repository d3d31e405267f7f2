"""llguidance, as our samplers use it: its view of a vocabulary, and grammars made by it within limits.

llguidance is a library in Rust. Its objects never leave an error state, and say so only if asked. They ask
the tokenizer which tokens a text that must come is usually made of, on whatever thread they run, and panic if
that raises: so nothing is raised there, what went wrong is kept, and raised when the call is over.
"""

from __future__ import annotations

import bisect
import importlib
import itertools
import json
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import GrammarError, UnsupportedError
from . import binding, stack

if TYPE_CHECKING:
    from ..vocab import Vocab

T = TypeVar("T")

NEEDED = (1, 9)
"""The first version whose limits and options are those used here."""

_STACK = 3
"""Room for a chain of references or rules, each of some characters; in units of ``stack.call``."""

_LONG = 64
"""Texts that are longer are remembered."""

_SENTINEL = b"\x02"
"""A character that merges with no other: in front of a text, the text is tokenized as if inside of one."""


class _Failure(threading.local):
    error: BaseException | None = None

    def check(self) -> None:
        """Raise what was kept."""
        error, self.error = self.error, None
        if error is not None:
            raise error


_failure = _Failure()


def package() -> Any:
    """Return the module llguidance.

    Raises:
        UnsupportedError: it isn't installed, or too old.
    """
    try:
        module = importlib.import_module("llguidance")
    except ImportError as error:
        raise UnsupportedError(
            f"JSON schemas, regular expressions and Lark grammars need the package llguidance ({error}): "
            "pip install 'llama-ffi[guidance]'"
        ) from None
    found = tuple(int(part) for part in module.__version__.split(".")[:2] if part.isdigit())
    if found < NEEDED:
        raise UnsupportedError(
            f"llguidance {module.__version__} is too old, {'.'.join(map(str, NEEDED))} is needed: "
            "pip install -U 'llama-ffi[guidance]'"
        )
    return module


def call(function: Callable[..., T], *args: Any) -> T:
    """Return ``function(*args)`` of llguidance.

    Raises:
        GrammarError: it panicked.
        BaseException: what was raised in our tokenizer meanwhile, Ctrl-C for example.
    """
    _failure.error = None
    try:
        result = function(*args)
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # pyo3's class derives from BaseException
            raise
        raise GrammarError(f"llguidance has failed: {error}") from None
    _failure.check()
    return result


class _Words:
    """What llguidance wants to know of a vocabulary."""

    is_tokenizer_wrapper = True

    def __init__(self, vocab: Vocab, ends: list[int]) -> None:
        # weak: llguidance's objects are invisible to Python's collector, and the vocabulary holds them
        self._vocab = weakref.ref(vocab)
        self.eos_token_id = ends[0]
        self.bos_token_id = vocab.bos
        self.tokens, self.special_token_ids = _pieces(vocab)
        self._lengths = [len(piece) for piece in self.tokens]
        self._last: tuple[bytes, list[int], list[int]] = (b"", [], [])

    def __call__(self, text: str) -> list[int]:
        try:
            return self._tokens(text.encode())
        except BaseException as error:
            _failure.error = error
            return []

    def _tokens(self, text: bytes) -> list[int]:
        """Return the tokens of a text; of one that must come it is asked again behind each token of it."""
        known, tokens, ends = self._last
        done = len(known) - len(text)
        if done > 0 and known.endswith(text):
            index = bisect.bisect_left(ends, done)
            if ends[index] == done:
                return tokens[index + 1 :]
        vocab = self._vocab()
        tokens = [] if vocab is None else _tokenize(vocab, text)
        if vocab is not None and len(text) > _LONG:
            ends = list(itertools.accumulate(self._lengths[token] for token in tokens))
            self._last = (text, tokens, ends or [0])
        return tokens


def _pieces(vocab: Vocab) -> tuple[list[bytes], list[int]]:
    """Return (the bytes that each token stands for, which of them are special).

    Unknown and unused tokens stand for nothing. A token of the user's that looks like ``<think>`` is special
    too, as everywhere in llguidance: grammars name it.
    """
    attr = binding.active().enum("llama_token_attr")
    nothing, named = int(attr.UNKNOWN | attr.UNUSED), int(attr.USER_DEFINED)
    pieces, special = [], []
    for token, flags in enumerate(vocab.attrs()):
        piece = b"" if flags & nothing else vocab.piece(token, special=False)
        if not piece and not flags & nothing:
            piece = vocab.piece(token) or vocab.text(token).encode()
            special.append(token)
        elif flags & named and piece[:1] == b"<" and piece[-1:] == b">":
            special.append(token)
        pieces.append(piece)
    return pieces, special


def _tokenize(vocab: Vocab, text: bytes) -> list[int]:
    """Return the tokens that a text inside of another is usually made of, or else any that spell it."""
    try:
        tokens = vocab.tokenize(_SENTINEL + text, add_special=False)
    except Exception:  # closed meanwhile, or a vocabulary that can't express it
        tokens = []
    before = b""
    for index, token in enumerate(tokens):
        before += vocab.piece(token)
        if before.lstrip(b" ") == _SENTINEL:
            rest = tokens[index + 1 :]
            if b"".join(map(vocab.piece, rest)) == text:
                return rest
            break
    return vocab._spell(text) or []


def ends_of(vocab: Vocab) -> list[int]:
    """Return the tokens that end generation, the one that ends a turn or text first.

    Raises:
        UnsupportedError: there is none.
    """
    ends = [token for token in range(vocab.n_tokens) if vocab.is_eog(token)]
    for first in (vocab.eos, vocab.eot):
        if first in ends:
            ends.remove(first)
            ends.insert(0, first)
    if not ends:
        raise UnsupportedError(
            "this vocabulary has no token that ends generation, so a grammar could never be finished"
        )
    return ends


class Tokenizer:
    """A vocabulary as llguidance has it."""

    __slots__ = ("ends", "tokenizer")

    def __init__(self, vocab: Vocab) -> None:
        vocab._check_vocab()
        module = package()
        self.ends = ends_of(vocab)
        words = _Words(vocab, self.ends)
        self.tokenizer = call(lambda: module.LLTokenizer(words, n_vocab=vocab.n_tokens, eos_token=self.ends))
        words.tokens = []  # they are copied
        vocab._ids_of_pieces()  # what `_spell` needs when the model is closed


def tokenizer(vocab: Vocab) -> Tokenizer:
    """Return what llguidance needs of a vocabulary; made once, it takes a second for 128,000 tokens."""
    made = vocab._guidance
    if not isinstance(made, Tokenizer):
        made = vocab._guidance = Tokenizer(vocab)
    return made


def from_json_schema(schema: dict[str, Any], whitespace: str | None) -> str:
    """Return a JSON schema as llguidance's grammar.

    Arguments:
        whitespace: a regular expression for the space between two parts; None = there is none.
    """
    options = dict(schema["x-guidance"]) if isinstance(schema.get("x-guidance"), dict) else {}
    if whitespace is None:
        options.setdefault("whitespace_flexible", False)
    else:
        options.setdefault("whitespace_pattern", whitespace)
    return _grammar({"json_schema": {**schema, "x-guidance": options}})


def from_regex(pattern: str) -> str:
    """Return a regular expression as llguidance's grammar."""
    grammar: str = call(package().LLMatcher.grammar_from_regex, pattern)
    return grammar


def from_lark(grammar: str) -> str:
    """Return a Lark grammar as llguidance's."""
    return _grammar({"lark_grammar": grammar})


def _grammar(entry: dict[str, Any]) -> str:
    return json.dumps({"grammars": [entry]})


def matcher(vocab: Vocab, grammar: str, what: str) -> Any:
    """Return a matcher at the beginning of ``grammar``.

    Arguments:
        what: the grammar, for messages.

    Raises:
        GrammarError: llguidance refuses it, or it allows no text.
        MemoryError: no stack for it.
    """
    module, known = package(), tokenizer(vocab)

    def make() -> Any:
        limits = module.LLParserLimits(verbose_errors=False)
        made = call(lambda: module.LLMatcher(known.tokenizer, grammar, log_level=0, limits=limits))
        check(made, f"llguidance refuses {what}")
        mask = call(made.compute_bitmask)
        check(made, f"{what} can't be used")
        if not any(mask):
            raise GrammarError(f"{what} allows no text")
        return made

    return stack.call(make, _STACK * len(grammar))


def check(made: Any, what: str) -> None:
    """Raise if a matcher is in its error state.

    Raises:
        GrammarError: it is; with its reason.
    """
    if made.is_error():
        reason = made.get_error().partition("<backtrace>")[0].replace("<non-verbose/>", "").strip()
        if reason.startswith("NoExtension"):
            reason = "it allows no text"
        raise GrammarError(f"{what}: {reason:.600}")
