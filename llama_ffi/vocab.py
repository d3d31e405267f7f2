"""A model's vocabulary: text to tokens and back.

The vocabulary is borrowed: it lives inside the model's C object. Every function of it that takes a token
id indexes an array with ``.at()``, whose exception would travel through C and end the process, so ids are
checked here. Sizes come from a first call that says how much room is needed; nothing has a fixed length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, overload

from ._core import arrays, binding, check, stack
from ._core import text as text_
from ._core.handle import Handle
from ._core.vocab_checks import TextChecks
from .errors import TokenizeError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

_INT32_MIN = -(2**31)


class Vocab:
    """The vocabulary of a :class:`Model`; obtained as ``model.vocab``.

    C: struct llama_vocab, borrowed from the model.

    Threads: any number at a time; llama.cpp only reads it.
    """

    __slots__ = (
        "_checks",
        "_ffi",
        "_handle",
        "_ids",
        "_lib",
        "_n_tokens",
        "_pieces",
        "_plain_pieces",
        "_ptr",
        "_type",
    )

    def __init__(self, model: Handle, pointer: Any) -> None:
        """Made by :class:`Model`."""
        active = binding.active()
        self._ffi: Any = active.ffi
        self._lib: Any = active.lib
        self._handle = model
        self._ptr = pointer
        self._type = active.enum("llama_vocab_type")(self._lib.llama_vocab_type(pointer))
        self._n_tokens = int(self._lib.llama_vocab_n_tokens(pointer))
        self._pieces: dict[int, bytes] = {}
        self._plain_pieces: dict[int, bytes] = {}
        self._checks = TextChecks(self._ffi, self._lib, pointer, self._type.name, self._n_tokens)
        self._ids: Mapping[bytes, int] | None = None

    def __len__(self) -> int:
        return self._n_tokens

    def __repr__(self) -> str:
        return (
            f"<llama_ffi.Vocab {self._type.name}, {self._n_tokens} tokens{', closed' * self._handle.closed}>"
        )

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

    # --- text to tokens ---

    @overload
    def tokenize(
        self,
        text: str | bytes,
        add_special: bool = True,
        parse_special: bool = False,
        as_array: Literal[False] = False,
    ) -> list[int]: ...

    @overload
    def tokenize(
        self,
        text: str | bytes,
        add_special: bool = True,
        parse_special: bool = False,
        *,
        as_array: Literal[True],
    ) -> NDArray[np.int32]: ...

    def tokenize(
        self, text: str | bytes, add_special: bool = True, parse_special: bool = False, as_array: bool = False
    ) -> list[int] | NDArray[np.int32]:
        """Turn text into tokens.

        C: llama_tokenize

        Arguments:
            text: text, or UTF-8 bytes; NULs are fine. Any length below 2 GiB.
            add_special: add BOS and EOS where the model's metadata says so.
            parse_special: recognise special tokens such as ``<|im_start|>`` in the text instead of treating
                them as plain text. Leave it off for text that you don't trust.
            as_array: return a numpy array of int32 instead of a list.

        Returns:
            the token ids; as an array (n_tokens,) int32, owned.

        Raises:
            UnsupportedError: the model has no vocabulary.
            TokenizeError: the text can't be expressed in this vocabulary.
            InvalidArgumentError: lone surrogates, or bytes that aren't UTF-8 (only byte-level vocabularies
                take those).
            ClosedError: the model is closed.

        Threads: any. Texts of more than 512 bytes are tokenized on a thread of their own, with a stack for
        llama.cpp's recursive regular expressions.
        """
        data = text_.encode(text)
        model = self._handle.ptr  # keeps the model alive during the calls
        self._check_vocab()
        self._checks.text(data, isinstance(text, str))
        if add_special:
            self._checks.special()
        pointer, ffi, tokenize = self._ptr, self._ffi, self._lib.llama_tokenize

        # the worker's frame owns the model too: Ctrl-C ends our waiting, not C's reading
        def run(_owner: Any = model) -> tuple[Any, int]:
            room = len(data) + 2
            tokens = ffi.new("llama_token[]", room)
            count = tokenize(pointer, data, len(data), tokens, room, add_special, parse_special)
            if _INT32_MIN < count < 0:
                tokens = ffi.new("llama_token[]", -count)
                count = tokenize(pointer, data, len(data), tokens, -count, add_special, parse_special)
            return tokens, count

        try:
            tokens, count = stack.call(run, len(data))
        except MemoryError as error:
            raise TokenizeError(f"{error}; split the text, at line ends for example") from error
        del model
        if count < 0:
            raise TokenizeError(
                f"the text of {len(data)} bytes has more than 2**31-1 tokens; split it", code=int(count)
            )
        if as_array:
            return arrays.int32_to_numpy(ffi, tokens, count)
        result: list[int] = ffi.unpack(tokens, count) if count else []
        return result

    # --- tokens to text ---

    def detokenize(
        self, tokens: arrays.Int32s, remove_special: bool = False, unparse_special: bool = True
    ) -> str:
        """Turn tokens into text.

        C: llama_detokenize

        Arguments:
            tokens: token ids: a list, ``array('i')`` or numpy array.
            remove_special: drop a BOS at the beginning and an EOS at the end.
            unparse_special: render special tokens; False leaves them out.

        Returns:
            the text; bytes that form no character are U+FFFD (see :meth:`detokenize_bytes`).

        Raises:
            TokenRangeError: an id is outside of the vocabulary.
            UnsupportedError: the model has no vocabulary.
            ClosedError: the model is closed.

        Threads: any.
        """
        return self.detokenize_bytes(tokens, remove_special, unparse_special).decode("utf-8", "replace")

    def detokenize_bytes(
        self, tokens: arrays.Int32s, remove_special: bool = False, unparse_special: bool = True
    ) -> bytes:
        """Turn tokens into the bytes they stand for, which may end inside a character.

        C: llama_detokenize

        Arguments, errors and threads as for :meth:`detokenize`.
        """
        model = self._handle.ptr
        self._check_vocab()
        ffi, detokenize = self._ffi, self._lib.llama_detokenize
        view = arrays.int32_view(tokens)
        count = len(view)
        if count == 0:
            return b""
        check.token(min(view), self._n_tokens)
        check.token(max(view), self._n_tokens)
        ids = ffi.from_buffer("llama_token[]", view)
        room = 8 * count + 16
        while True:
            buffer = ffi.new("char[]", room)
            n_bytes = detokenize(self._ptr, ids, count, buffer, room, remove_special, unparse_special)
            if n_bytes >= 0:
                del model
                return bytes(ffi.buffer(buffer, n_bytes))
            room = -n_bytes

    def piece(self, token: SupportsIndex, special: bool = True) -> bytes:
        """Return the bytes that a token stands for.

        C: llama_token_to_piece

        Arguments:
            token: a token id.
            special: False gives ``b""`` for control tokens.

        Returns:
            bytes of any length; they may begin or end inside a character (join them with ``Utf8Decoder``).

        Raises:
            TokenRangeError: the id is outside of the vocabulary.
            UnsupportedError: the model has no vocabulary.
            ClosedError: the model is closed.

        Threads: any. Each piece is fetched from C once.
        """
        cache = self._pieces if special else self._plain_pieces
        model = self._handle.ptr
        if type(token) is int:  # 1.0 and True have the same hash as 1, and are mistakes
            piece = cache.get(token)
            if piece is not None:
                return piece
        self._check_vocab()
        number = check.token(token, self._n_tokens)
        ffi, to_piece = self._ffi, self._lib.llama_token_to_piece
        room = 32
        while True:
            buffer = ffi.new("char[]", room)
            n_bytes = to_piece(self._ptr, number, buffer, room, 0, special)
            if n_bytes >= 0:
                break
            room = -n_bytes
        del model
        piece = cache[number] = bytes(ffi.buffer(buffer, n_bytes))
        return piece

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

    # --- for our other modules ---

    def _ids_of_pieces(self) -> Mapping[bytes, int]:
        """Return token ids by the bytes they stand for, without control tokens; built once."""
        if self._ids is None:
            pieces: dict[bytes, int] = {}
            for token in range(self._n_tokens):
                pieces.setdefault(self.piece(token, special=False), token)
            pieces.pop(b"", None)
            self._ids = pieces
        return self._ids

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
