"""From a rendered chat to tokens: special tokens come from the template, never from what somebody wrote.

llama.cpp looks for special tokens in the whole text or nowhere. So where content holds the text of one, the
text is taken apart here in the same order in which llama.cpp does it, at the template's own special tokens
only; what lies between them is tokenized as plain text. Everywhere else llama.cpp does the work in one call.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from .._core import binding
from ..model import Model
from ..vocab import Vocab
from .marked import Own, Range, own

_SPACE = " \t\n\v\f\r"


@dataclass(frozen=True)
class Special:
    """A token that llama.cpp cuts out of a text before it tokenizes the rest."""

    token: int
    text: str
    control: bool
    """cut out only where special tokens are looked for; others (``<think>`` in some models) are always"""
    strip_left: bool
    strip_right: bool


def special_texts(model: Model | None) -> dict[str, Own]:
    """Return the variables with a model's special tokens that templates use; "" where it has none."""
    texts = {"bos_token": own(""), "eos_token": own("")}
    if model is None:
        return texts
    vocab = model.vocab
    for name, token in (
        ("bos_token", vocab.bos),
        ("eos_token", vocab.eos),
        ("pad_token", vocab.pad),
        ("sep_token", vocab.sep),
        ("mask_token", vocab.mask),
    ):
        if token is not None:
            texts[name] = own(vocab.piece(token).decode("utf-8", "replace"))
    return texts


def of_text(vocab: Vocab, text: str, *, parse_content: bool) -> list[int]:
    """Return the tokens of a rendered chat, with BOS in front if the model wants one and the text has none.

    Arguments:
        parse_content: recognise special tokens in content, too.
    """
    ranges = text.ranges if isinstance(text, Own) else ()
    plain = "".join(text)
    if parse_content or not _hides_special(vocab, plain, ranges):
        tokens = vocab.tokenize(plain, add_special=False, parse_special=True)
    else:
        tokens = []
        for part in split(specials(vocab), plain, ranges):
            if isinstance(part, int):
                tokens.append(part)
            else:
                tokens += vocab.tokenize(plain[part[0] : part[1]], add_special=False, parse_special=False)
    bos = vocab.bos
    if bos is not None and vocab.add_bos and tokens[:1] != [bos]:
        tokens.insert(0, bos)
    return tokens


def split(known: list[Special], text: str, ranges: tuple[Range, ...]) -> list[int | Range]:
    """Cut the text as llama.cpp does, at control tokens only inside of ``ranges``: tokens and texts."""
    parts: list[int | Range] = [(0, len(text))]
    for special in known:
        if special.text not in text:
            continue
        cut: list[int | Range] = []
        for part in parts:
            if isinstance(part, int):
                cut.append(part)
                continue
            start, end = part
            search = start
            while (at := text.find(special.text, search, end)) >= 0:
                behind = at + len(special.text)
                if special.control and not _inside(at, behind, ranges):
                    search = at + 1
                    continue
                left = at
                while special.strip_left and left > start and text[left - 1] in _SPACE:
                    left -= 1
                if left > start:
                    cut.append((start, left))
                cut.append(special.token)
                while special.strip_right and behind < end and text[behind] in _SPACE:
                    behind += 1
                start = search = behind
            if start < end:
                cut.append((start, end))
        parts = cut
    return parts


def specials(vocab: Vocab) -> list[Special]:
    """Return the tokens that are cut out of texts, longest first; looked up once per vocabulary."""
    known = vocab._specials
    if known is None:
        attrs: Any = binding.active().enum("llama_token_attr")
        control = attrs.CONTROL | attrs.UNKNOWN
        known = []
        for token, attr in enumerate(vocab.attrs()):
            if attr & int(control | attrs.USER_DEFINED):
                text = vocab.text(token)
                if text and "\ufffd" not in text:
                    known.append(
                        Special(
                            token,
                            text,
                            bool(attr & int(control)),
                            bool(attr & int(attrs.LSTRIP)),
                            bool(attr & int(attrs.RSTRIP)),
                        )
                    )
        known.sort(key=lambda special: -len(special.text.encode()))
        vocab._specials = known
    return known


def _hides_special(vocab: Vocab, text: str, ranges: tuple[Range, ...]) -> bool:
    """Return whether a control token's text stands where it isn't the template's own."""
    if ranges == ((0, len(text)),):
        return False
    for special in specials(vocab):
        if special.control:
            at = text.find(special.text)
            while at >= 0:
                if not _inside(at, at + len(special.text), ranges):
                    return True
                at = text.find(special.text, at + 1)
    return False


def _inside(start: int, end: int, ranges: tuple[Range, ...]) -> bool:
    index = bisect_right(ranges, (start, sys.maxsize)) - 1  # the last range that begins at or before `start`
    return index >= 0 and end <= ranges[index][1]
