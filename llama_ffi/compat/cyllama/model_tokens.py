"""The methods of early releases' ``LlamaModel`` that later ones have on the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .values import Int

if TYPE_CHECKING:
    from .vocab import LlamaVocab


class TokensOfModel:
    """The part of :class:`LlamaModel` that hands on to its vocabulary."""

    __slots__ = ()

    if TYPE_CHECKING:  # the model has it

        def get_vocab(self) -> LlamaVocab: ...

    @property
    def n_vocab(self) -> Int:
        """Return the number of tokens."""
        return self.get_vocab().n_vocab

    @property
    def vocab_type(self) -> Int:
        """Return the kind of vocabulary, a ``LLAMA_VOCAB_TYPE_*``."""
        return Int(self.get_vocab().vocab_type)

    def token_get_text(self, token: int) -> str:
        """Return the text that ``token`` has in the vocabulary."""
        return self.get_vocab().get_text(token)

    def token_get_score(self, token: int) -> float:
        """Return the score of ``token``."""
        return self.get_vocab().get_score(token)

    def token_get_attr(self, token: int) -> int:
        """Return what ``token`` is, ``LLAMA_TOKEN_ATTR_*`` together."""
        return self.get_vocab().get_attr(token)

    def token_is_eog(self, token: int) -> bool:
        """Return whether ``token`` ends generation."""
        return self.get_vocab().is_eog(token)

    def token_is_control(self, token: int) -> bool:
        """Return whether ``token`` is a control token."""
        return self.get_vocab().is_control(token)

    def token_bos(self) -> int:
        """Return the token that begins a text, -1 if there is none."""
        return self.get_vocab().token_bos()

    def token_eos(self) -> int:
        """Return the token that ends a text, -1 if there is none."""
        return self.get_vocab().token_eos()

    def token_eot(self) -> int:
        """Return the token that ends a turn, -1 if there is none."""
        return self.get_vocab().token_eot()

    def token_sep(self) -> int:
        """Return the token between sentences, -1 if there is none."""
        return self.get_vocab().token_sep()

    def token_nl(self) -> int:
        """Return the token for a line feed, -1 if there is none."""
        return self.get_vocab().token_nl()

    def token_pad(self) -> int:
        """Return the token that fills up, -1 if there is none."""
        return self.get_vocab().token_pad()

    def add_bos_token(self) -> bool:
        """Return whether BOS is put in front."""
        return self.get_vocab().get_add_bos()

    def add_eos_token(self) -> bool:
        """Return whether EOS is put at the end."""
        return self.get_vocab().get_add_eos()

    def tokenize(self, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Turn text into tokens; see :meth:`LlamaVocab.tokenize`."""
        return self.get_vocab().tokenize(text, add_special, parse_special)

    def token_to_piece(self, token: int, lstrip: int = 0, special: bool = False) -> str:
        """Return the text of a token; see :meth:`LlamaVocab.token_to_piece`."""
        return self.get_vocab().token_to_piece(token, lstrip, special)

    def detokenize(
        self,
        tokens: Sequence[int],
        text_len_max: int = 1024,
        remove_special: bool = False,
        unparse_special: bool = False,
    ) -> str:
        """Turn tokens into text; see :meth:`LlamaVocab.detokenize`."""
        return self.get_vocab().detokenize(tokens, text_len_max, remove_special, unparse_special)
