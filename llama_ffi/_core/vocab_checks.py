"""Texts that ``llama_tokenize`` throws at, or asserts on: found before it sees them."""

from __future__ import annotations

from typing import Any

from ..errors import InvalidArgumentError, TokenizeError

_MAX_BYTES = 2**31 - 3


class TextChecks:
    """The checks of one vocabulary; the caller keeps its model alive meanwhile."""

    __slots__ = ("_falls_back", "_ffi", "_kind", "_lib", "_n_tokens", "_ptr")

    def __init__(self, ffi: Any, lib: Any, pointer: Any, kind: str, n_tokens: int) -> None:
        self._ffi = ffi
        self._lib = lib
        self._ptr = pointer
        self._kind = kind
        self._n_tokens = n_tokens
        self._falls_back: bool | None = None

    def text(self, data: bytes, was_text: bool) -> None:
        """Raise if ``data`` can't be tokenized; ``was_text``: it comes from a str, so it is UTF-8.

        Raises:
            InvalidArgumentError: too long, or not UTF-8 where that matters.
            TokenizeError: a character that this vocabulary can't express.
        """
        if len(data) > _MAX_BYTES:
            raise InvalidArgumentError(f"the text has {len(data)} bytes; llama_tokenize takes {_MAX_BYTES}")
        if not was_text and self._kind not in ("SPM", "RWKV"):
            try:
                data.decode("utf-8")
            except UnicodeDecodeError as error:
                # beyond U+10FFFF llama.cpp throws, below it would silently become U+FFFD
                raise InvalidArgumentError(
                    f"the bytes are not UTF-8 (byte {error.start}: {error.reason}), which {self._kind} "
                    f'vocabularies need; decode them first, e.g. with errors="replace"'
                ) from None
        if self._kind == "SPM" and not self.falls_back_to_bytes():
            self._characters(data)

    def special(self) -> None:
        """Raise if ``add_special`` would assert: the model asks for a token that its vocabulary lacks."""
        lib, kind = self._lib, self._kind
        needs = []
        if kind == "WPM":
            needs = [("BOS", lib.llama_vocab_bos), ("SEP", lib.llama_vocab_sep)]
        elif kind != "RWKV":
            if lib.llama_vocab_get_add_bos(self._ptr):
                needs.append(("BOS", lib.llama_vocab_bos))
            if lib.llama_vocab_get_add_eos(self._ptr):
                needs.append(("EOS", lib.llama_vocab_eos))
        for name, function in needs:
            if function(self._ptr) < 0:
                raise TokenizeError(
                    f"the model asks for a {name} token around the text and its vocabulary has none; "
                    f"use add_special=False"
                )

    def falls_back_to_bytes(self) -> bool:
        """Return whether an SPM vocabulary has a token for every byte; without them llama.cpp throws."""
        if self._falls_back is None:
            wanted = {b"<0x%02X>" % byte for byte in range(256)}
            usual = range(3, min(259, self._n_tokens))  # after <unk>, <s>, </s>
            wanted.difference_update(map(self._entry, usual))
            if wanted:
                wanted.difference_update(map(self._entry, range(self._n_tokens)))
            self._falls_back = not wanted
        return self._falls_back

    def _characters(self, data: bytes) -> None:
        known = set(map(self._entry, range(self._n_tokens)))
        for character in dict.fromkeys(" " + data.decode("utf-8", "surrogateescape")):
            symbol = character.replace(" ", "▁").encode("utf-8", "surrogateescape")
            if symbol not in known and not all(b"<0x%02X>" % byte in known for byte in symbol):
                raise TokenizeError(
                    f"{character!r} is not in this vocabulary, which has no tokens for single bytes either"
                )

    def _entry(self, token: int) -> bytes:
        entry: bytes = self._ffi.string(self._lib.llama_vocab_get_text(self._ptr, token))
        return entry
