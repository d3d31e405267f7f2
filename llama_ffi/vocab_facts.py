"""What a vocabulary says about itself and its tokens: kinds, special tokens, attributes, scores.

Every function that takes a token id indexes an array with ``.at()``, whose exception would travel through C
and end the process, so ids are checked here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsIndex

from ._core import binding, check
from ._core.handle import Handle
from .errors import UnsupportedError


class VocabFacts:
    """The facts about a vocabulary; :class:`llama_ffi.Vocab` adds text to tokens and back.

    C: struct llama_vocab, borrowed from the model.
    """

    __slots__ = ("_ffi", "_handle", "_lib", "_n_tokens", "_ptr", "_type")

    def __init__(self, model: Handle, pointer: Any) -> None:
        """Made by :class:`Model`."""
        active = binding.active()
        self._ffi: Any = active.ffi
        self._lib: Any = active.lib
        self._handle = model
        self._ptr = pointer
        self._type = active.enum("llama_vocab_type")(self._lib.llama_vocab_type(pointer))
        self._n_tokens = int(self._lib.llama_vocab_n_tokens(pointer))

    def __len__(self) -> int:
        return self._n_tokens

    @property
    def ptr(self) -> Any:
        """Return the ``const struct llama_vocab *`` for raw calls: borrowed, valid while the model lives.

        Raises:
            ClosedError: the model is closed.
        """
        _ = self._handle.ptr
        return self._ptr

    @property
    def type(self) -> Any:
        """Return the kind of tokenizer, a ``VocabType`` (``NONE``: the model has no vocabulary).

        C: llama_vocab_type
        """
        return self._type

    @property
    def n_tokens(self) -> int:
        """How many tokens there are; ids are 0 to ``n_tokens - 1``. C: llama_vocab_n_tokens"""
        return self._n_tokens

    # --- one token ---

    def text(self, token: SupportsIndex) -> str:
        """Return a token as it is written in the vocabulary: ``▁the``, ``<0x0A>``, ``<|im_end|>``.

        C: llama_vocab_get_text

        Raises: as :meth:`piece`. Threads: any.
        """
        string: bytes = self._ffi.string(self._of(token, self._lib.llama_vocab_get_text))
        return string.decode("utf-8", "replace")

    def score(self, token: SupportsIndex) -> float:
        """Return a token's score (SPM vocabularies: its merge priority).

        C: llama_vocab_get_score

        Raises: as :meth:`piece`. Threads: any.
        """
        return float(self._of(token, self._lib.llama_vocab_get_score))

    def attr(self, token: SupportsIndex) -> Any:
        """Return a token's attributes, a ``TokenAttr`` flag.

        C: llama_vocab_get_attr

        Raises: as :meth:`piece`. Threads: any.
        """
        return binding.active().enum("llama_token_attr")(self._of(token, self._lib.llama_vocab_get_attr))

    def attrs(self) -> list[int]:
        """Return the attributes of all tokens, as the numbers of ``TokenAttr``; index = token id, a copy.

        C: llama_vocab_get_attr

        Raises:
            UnsupportedError, ClosedError: as :meth:`attr`.

        Threads: any.
        """
        model = self._handle.ptr
        self._check_vocab()
        get, pointer = self._lib.llama_vocab_get_attr, self._ptr
        result = [get(pointer, token) for token in range(self._n_tokens)]
        del model
        return result

    def is_eog(self, token: SupportsIndex) -> bool:
        """Return whether a token ends generation (EOS, end of turn, …).

        C: llama_vocab_is_eog

        Raises: as :meth:`piece`. Threads: any.
        """
        return bool(self._of(token, self._lib.llama_vocab_is_eog))

    def is_control(self, token: SupportsIndex) -> bool:
        """Return whether a token is a control token, which has no text of its own.

        C: llama_vocab_is_control

        Raises: as :meth:`piece`. Threads: any.
        """
        return bool(self._of(token, self._lib.llama_vocab_is_control))

    # --- special tokens: an id, or None where the vocabulary has no such token ---

    @property
    def bos(self) -> int | None:
        """The token that begins a text (in BERT's words: CLS). C: llama_vocab_bos"""
        return self._special(self._lib.llama_vocab_bos)

    @property
    def eos(self) -> int | None:
        """The token that ends a text. C: llama_vocab_eos"""
        return self._special(self._lib.llama_vocab_eos)

    @property
    def eot(self) -> int | None:
        """The token that ends a turn of a chat. C: llama_vocab_eot"""
        return self._special(self._lib.llama_vocab_eot)

    @property
    def sep(self) -> int | None:
        """The token between sentences. C: llama_vocab_sep"""
        return self._special(self._lib.llama_vocab_sep)

    @property
    def nl(self) -> int | None:
        """The token for a line feed. C: llama_vocab_nl"""
        return self._special(self._lib.llama_vocab_nl)

    @property
    def pad(self) -> int | None:
        """The token that fills up. C: llama_vocab_pad"""
        return self._special(self._lib.llama_vocab_pad)

    @property
    def mask(self) -> int | None:
        """The token that stands for an unknown one. C: llama_vocab_mask"""
        return self._special(self._lib.llama_vocab_mask)

    @property
    def fim_pre(self) -> int | None:
        """Fill in the middle: what comes before follows. C: llama_vocab_fim_pre"""
        return self._special(self._lib.llama_vocab_fim_pre)

    @property
    def fim_suf(self) -> int | None:
        """Fill in the middle: what comes after follows. C: llama_vocab_fim_suf"""
        return self._special(self._lib.llama_vocab_fim_suf)

    @property
    def fim_mid(self) -> int | None:
        """Fill in the middle: the gap begins. C: llama_vocab_fim_mid"""
        return self._special(self._lib.llama_vocab_fim_mid)

    @property
    def fim_pad(self) -> int | None:
        """Fill in the middle: padding. C: llama_vocab_fim_pad"""
        return self._special(self._lib.llama_vocab_fim_pad)

    @property
    def fim_rep(self) -> int | None:
        """Fill in the middle: a repository's name follows. C: llama_vocab_fim_rep"""
        return self._special(self._lib.llama_vocab_fim_rep)

    @property
    def fim_sep(self) -> int | None:
        """Fill in the middle: between files. C: llama_vocab_fim_sep"""
        return self._special(self._lib.llama_vocab_fim_sep)

    @property
    def add_bos(self) -> bool:
        """Whether ``add_special`` puts BOS in front. C: llama_vocab_get_add_bos"""
        return bool(self._lib.llama_vocab_get_add_bos(self.ptr))

    @property
    def add_eos(self) -> bool:
        """Whether ``add_special`` puts EOS at the end. C: llama_vocab_get_add_eos"""
        return bool(self._lib.llama_vocab_get_add_eos(self.ptr))

    @property
    def add_sep(self) -> bool:
        """Whether the model wants SEP between two texts. C: llama_vocab_get_add_sep"""
        return bool(self._lib.llama_vocab_get_add_sep(self.ptr))

    @property
    def suppress_tokens(self) -> list[int]:
        """The tokens that the model should never produce. C: llama_vocab_get_suppress_tokens"""
        model = self._handle.ptr
        count = self._ffi.new("int32_t *")
        tokens = self._lib.llama_vocab_get_suppress_tokens(self._ptr, count)
        result: list[int] = self._ffi.unpack(tokens, count[0]) if count[0] > 0 else []
        del model
        return result

    def _of(self, token: SupportsIndex, function: Callable[[Any, int], Any]) -> Any:
        model = self._handle.ptr
        self._check_vocab()
        value = function(self._ptr, check.token(token, self._n_tokens))
        del model
        return value

    def _special(self, function: Callable[[Any], int]) -> int | None:
        model = self._handle.ptr
        token = int(function(self._ptr))
        del model
        return token if token >= 0 else None

    def _check_vocab(self) -> None:
        if self._type.name == "NONE":
            raise UnsupportedError(
                "this model has no vocabulary, so it has no text either; use token ids as they are"
            )
