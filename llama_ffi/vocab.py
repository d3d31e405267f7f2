"""A model's vocabulary: text to tokens and back.

The vocabulary is borrowed: it lives inside the model's C object. What it says about single tokens is in
:mod:`llama_ffi.vocab_facts`. Sizes come from a first call that says how much room is needed; nothing has a
fixed length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, overload

from ._core import arrays, check, stack
from ._core import text as text_
from ._core.handle import Handle
from ._core.vocab_checks import TextChecks
from .errors import TokenizeError
from .vocab_facts import VocabFacts

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

_INT32_MIN = -(2**31)


class Vocab(VocabFacts):
    """The vocabulary of a :class:`Model`; obtained as ``model.vocab``.

    C: struct llama_vocab, borrowed from the model.

    Threads: any number at a time; llama.cpp only reads it.
    """

    __slots__ = (
        "__weakref__",
        "_checks",
        "_guidance",
        "_ids",
        "_longest",
        "_pieces",
        "_plain_pieces",
        "_specials",
    )

    def __init__(self, model: Handle, pointer: Any) -> None:
        """Made by :class:`Model`."""
        super().__init__(model, pointer)
        self._pieces: dict[int, bytes] = {}
        self._plain_pieces: dict[int, bytes] = {}
        self._checks = TextChecks(self._ffi, self._lib, pointer, self._type.name, self._n_tokens)
        self._ids: Mapping[bytes, int] | None = None
        self._specials: list[Any] | None = None  # what llama_ffi.chat has looked up
        self._longest = 0
        self._guidance: Any = None  # llguidance's view of it, see _core.guidance

    def __repr__(self) -> str:
        return (
            f"<llama_ffi.Vocab {self._type.name}, {self._n_tokens} tokens{', closed' * self._handle.closed}>"
        )

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
        add_special = check.truth("add_special", add_special)
        parse_special = check.truth("parse_special", parse_special)
        as_array = check.truth("as_array", as_array)
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
            remove_special: drop the BOS and the EOS that ``add_special`` would put there.
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
        remove_special = check.truth("remove_special", remove_special)
        unparse_special = check.truth("unparse_special", unparse_special)
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
        special = check.truth("special", special)
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

    def _spell(self, data: bytes) -> list[int] | None:
        """Return tokens for bytes, the longest first at each place; None if there are none for some byte."""
        known = self._ids_of_pieces()
        if not self._longest:
            self._longest = max(map(len, known), default=0)
        tokens, start = [], 0
        while start < len(data):
            for end in range(min(len(data), start + self._longest), start, -1):
                token = known.get(data[start:end])
                if token is not None:
                    tokens.append(token)
                    start = end
                    break
            else:
                return None
        return tokens
