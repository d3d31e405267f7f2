"""The functions of llama.cpp's ``common`` library that cyllama's programs use on text."""

from __future__ import annotations

from .context import LlamaContext, safe_context
from .model import LlamaModel, safe_model


def common_init() -> None:
    """Do nothing; there is no log to prepare.

    Threads: any.
    """


def common_tokenize(
    ctx: LlamaContext, text: str, add_special: bool, parse_special: bool = False
) -> list[int]:
    """Turn text into tokens; arguments and errors as :meth:`llama_ffi.Vocab.tokenize`.

    Arguments:
        ctx: a context of the model.
        text, add_special, parse_special: as there.

    Threads: any.
    """
    return safe_context(ctx).model.vocab.tokenize(text, bool(add_special), bool(parse_special))


def common_tokenize_from_model(
    model: LlamaModel, text: str, add_special: bool, parse_special: bool = False
) -> list[int]:
    """Turn text into tokens; arguments and errors as :meth:`llama_ffi.Vocab.tokenize`.

    Arguments:
        model: the model.
        text, add_special, parse_special: as there.

    Threads: any.
    """
    return safe_model(model).vocab.tokenize(text, bool(add_special), bool(parse_special))


def common_token_to_piece(ctx: LlamaContext, token: int, special: bool = True) -> str:
    """Return the text of a token; bytes that form no character are U+FFFD.

    Arguments:
        ctx: a context of the model.
        token: a token id.
        special: render control tokens.

    Raises:
        TokenRangeError: there is no such token.

    Threads: any.
    """
    return safe_context(ctx).model.vocab.piece(token, bool(special)).decode("utf-8", "replace")


def common_detokenize(ctx: LlamaContext, tokens: list[int], special: bool = True) -> str:
    """Turn tokens into text.

    Arguments:
        ctx: a context of the model.
        tokens: the token ids.
        special: render control tokens.

    Raises:
        TokenRangeError: there is no such token.

    Threads: any.
    """
    return safe_context(ctx).model.vocab.detokenize(tokens, unparse_special=bool(special))
