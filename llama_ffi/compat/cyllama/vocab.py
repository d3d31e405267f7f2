"""cyllama's view of a vocabulary: ids are numbers, a token that isn't there is -1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import ArgumentTypeError
from ...vocab import Vocab
from .values import Int

if TYPE_CHECKING:
    from .model import LlamaModel


class LlamaVocab:
    """A model's vocabulary; obtained by ``model.get_vocab()``.

    Errors as those of :class:`llama_ffi.Vocab`: a token that doesn't exist is a TokenRangeError, for example.

    Threads: any number at a time.
    """

    __slots__ = ("safe",)

    safe: Vocab
    """the vocabulary of llama_ffi under it"""

    def __init__(self, safe: Vocab) -> None:
        """Made by ``model.get_vocab()``."""
        if not isinstance(safe, Vocab):
            raise ArgumentTypeError(f"a vocabulary comes from model.get_vocab(), not a {type(safe).__name__}")
        self.safe = safe

    def __repr__(self) -> str:
        return f"<llama_ffi.compat.cyllama.LlamaVocab of {self.safe!r}>"

    @property
    def n_vocab(self) -> Int:
        """Return the number of tokens."""
        return Int(self.safe.n_tokens)

    @property
    def vocab_type(self) -> int:
        """Return the kind, a ``LLAMA_VOCAB_TYPE_*``."""
        return int(self.safe.type)

    # --- one token ---

    def get_text(self, token: int) -> str:
        """Return the text that ``token`` has in the vocabulary."""
        return self.safe.text(token)

    def get_score(self, token: int) -> float:
        """Return the score of ``token``."""
        return self.safe.score(token)

    def get_attr(self, token: int) -> int:
        """Return what ``token`` is, ``LLAMA_TOKEN_ATTR_*`` together."""
        return int(self.safe.attr(token))

    def is_eog(self, token: int) -> bool:
        """Return whether ``token`` ends generation."""
        return self.safe.is_eog(token)

    def is_control(self, token: int) -> bool:
        """Return whether ``token`` is a control token."""
        return self.safe.is_control(token)

    # --- special tokens ---

    def token_bos(self) -> int:
        """Return the token that begins a text, -1 if there is none."""
        return _id(self.safe.bos)

    def token_eos(self) -> int:
        """Return the token that ends a text, -1 if there is none."""
        return _id(self.safe.eos)

    def token_eot(self) -> int:
        """Return the token that ends a turn, -1 if there is none."""
        return _id(self.safe.eot)

    def token_sep(self) -> int:
        """Return the token between sentences, -1 if there is none."""
        return _id(self.safe.sep)

    def token_nl(self) -> int:
        """Return the token for a line feed, -1 if there is none."""
        return _id(self.safe.nl)

    def token_pad(self) -> int:
        """Return the token that fills up, -1 if there is none."""
        return _id(self.safe.pad)

    def get_add_bos(self) -> bool:
        """Return whether BOS is put in front."""
        return self.safe.add_bos

    def get_add_eos(self) -> bool:
        """Return whether EOS is put at the end."""
        return self.safe.add_eos

    def get_add_sep(self) -> bool:
        """Return whether the model wants SEP between two texts."""
        return self.safe.add_sep

    def fim_prefix(self) -> int:
        """Return the token before a prefix, -1 if there is none."""
        return _id(self.safe.fim_pre)

    def fim_middle(self) -> int:
        """Return the token before the gap's text, -1 if there is none."""
        return _id(self.safe.fim_mid)

    def fim_suffix(self) -> int:
        """Return the token before a suffix, -1 if there is none."""
        return _id(self.safe.fim_suf)

    def fim_pad(self) -> int:
        """Return the token that fills up, -1 if there is none."""
        return _id(self.safe.fim_pad)

    def fim_rep(self) -> int:
        """Return the token before a repository's name, -1 if there is none."""
        return _id(self.safe.fim_rep)

    def fim_sep(self) -> int:
        """Return the token between files, -1 if there is none."""
        return _id(self.safe.fim_sep)

    # --- text ---

    def tokenize(self, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Turn ``text`` into tokens; arguments and errors as :meth:`llama_ffi.Vocab.tokenize`.

        Returns:
            the token ids, as many as there are (cyllama's limit of n_ctx_train doesn't hold).
        """
        return self.safe.tokenize(text, add_special, parse_special)

    def token_to_piece(self, token: int, lstrip: int = 0, special: bool = False) -> str:
        """Return the text of a token.

        Arguments:
            token: a token id.
            lstrip: how many leading spaces to leave out at most.
            special: render control tokens.

        Returns:
            the text; bytes that form no character are U+FFFD. ``llama_ffi.Utf8Decoder`` joins the bytes of
            ``vocab.safe.piece(token)`` to valid text.
        """
        if not isinstance(lstrip, int):
            raise ArgumentTypeError(f"lstrip must be a number, not {type(lstrip).__name__}")
        piece = self.safe.piece(token, special)
        spaces = len(piece) - len(piece.lstrip(b" "))
        return piece[min(spaces, max(lstrip, 0)) :].decode("utf-8", "replace")

    def detokenize(
        self,
        tokens: Sequence[int],
        text_len_max: int = 1024,
        remove_special: bool = False,
        unparse_special: bool = False,
    ) -> str:
        """Turn ``tokens`` into text; arguments and errors as :meth:`llama_ffi.Vocab.detokenize`.

        Arguments:
            text_len_max: without effect: a longer text isn't cut off, nor an error.

        Returns:
            the text without leading white space, as cyllama has it.
        """
        return self.safe.detokenize(tokens, remove_special, unparse_special).lstrip()


def _id(token: int | None) -> int:
    return -1 if token is None else token


def vocab_of(owner: LlamaVocab | LlamaModel) -> Vocab:
    """Return llama_ffi's vocabulary of what stands for one: in early releases the model did."""
    found = getattr(owner, "safe", None)
    found = getattr(found, "vocab", found)
    if not isinstance(found, Vocab):
        raise ArgumentTypeError(f"a LlamaVocab or a LlamaModel is needed, not a {type(owner).__name__}")
    return found
