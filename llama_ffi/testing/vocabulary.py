"""Small vocabularies made by code, one for each of llama.cpp's kinds of tokenizer.

Each has all bytes or at least the printable characters of ASCII, a few words, and the special tokens of its
kind. They are `tokenizer.*` entries as a GGUF file has them; a real vocabulary comes from a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .._core import check
from ..errors import ArgumentTypeError, InvalidArgumentError
from ..gguf import GgufContext, Typed

Metadata = dict[str, Any]

NORMAL, UNKNOWN, CONTROL, UNUSED, BYTE = 1, 2, 3, 5, 6
"""llama.cpp's types of tokens."""

_TEXT = "the a and of to in is it once upon time there was who saw one said he she little day hello world"
WORDS = _TEXT.split()
_PRINTABLE = [chr(code) for code in range(33, 127)]


def _entries(model: str, tokens: list[str], types: list[int], scores: list[float] | None = None) -> Metadata:
    entries: Metadata = {
        "tokenizer.ggml.model": model,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
    }
    if scores is not None:
        entries["tokenizer.ggml.scores"] = Typed(scores, "f32")
    return entries


def _ids(**special: int) -> Metadata:
    return {f"tokenizer.ggml.{name}_token_id": token for name, token in special.items()}


def _pieces() -> list[str]:
    """Return the words and all their beginnings, shorter ones first, so that merges can reach them."""
    words = {f"▁{word}"[:end] for word in WORDS for end in range(2, len(word) + 2)}
    return sorted(words, key=lambda piece: (len(piece), piece))


def spm() -> Metadata:
    """Return a SentencePiece vocabulary as LLaMA has it: bytes, characters, words."""
    pieces = [*_pieces(), "▁", *_PRINTABLE]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(pieces)
    scores = [0.0] * 259 + [-float(rank) for rank in range(len(pieces))]
    return {
        **_entries("llama", tokens, types, scores),
        **_ids(bos=1, eos=2, unknown=0),
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.add_bos_token": True,
    }


def _byte_letters() -> list[str]:
    """Return what stands for each byte in byte-level BPE: itself if it prints, else a character above 255."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def bpe() -> Metadata:
    """Return a byte-level BPE vocabulary as GPT-2 has it, with tokens for fill-in-the-middle and turns."""
    letters = _byte_letters()
    words, merges = [], []
    for piece in _pieces():
        piece = piece.replace("▁", letters[32])
        words.append(piece)
        merges.append(f"{piece[:-1]} {piece[-1]}")
    names = ("fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep", "eot", "padding")
    special = ["<|endoftext|>", *(f"<|{name}|>" for name in names)]
    tokens = [*letters, *words, *special]
    first = len(tokens) - len(special)
    return {
        **_entries("gpt2", tokens, [NORMAL] * first + [CONTROL] * len(special)),
        **_ids(bos=first, eos=first, **{name: first + 1 + index for index, name in enumerate(names)}),
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.merges": merges,
    }


def wpm() -> Metadata:
    """Return a WordPiece vocabulary as BERT has it; texts become [CLS] … [SEP]."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    tokens = [*special, *(f"▁{letter}" for letter in letters), *letters]
    tokens += [f"▁{word}" for word in WORDS if len(word) > 1]
    return {
        **_entries("bert", tokens, [CONTROL] * 5 + [NORMAL] * (len(tokens) - 5)),
        **_ids(bos=2, cls=2, eos=3, seperator=3, unknown=1, padding=0, mask=4),  # the key's spelling
        "tokenizer.ggml.pre": "bert-bge",
        "tokenizer.ggml.token_type_count": 2,
    }


def ugm() -> Metadata:
    """Return a unigram vocabulary as T5 has it; texts end with </s>."""
    pieces = [*_pieces(), "▁", *_PRINTABLE]
    tokens = ["<pad>", "</s>", "<unk>", *pieces]
    scores = [0.0, 0.0, -100.0] + [-10.0 + len(piece) for piece in pieces]
    return {
        **_entries("t5", tokens, [CONTROL, CONTROL, UNKNOWN] + [NORMAL] * len(pieces), scores),
        **_ids(eos=1, unknown=2, padding=0),
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.add_eos_token": True,
        "tokenizer.ggml.add_bos_token": False,
    }


def rwkv() -> Metadata:
    """Return a vocabulary as RWKV has it: the longest token at each place."""
    words = [f" {word}" for word in WORDS]
    tokens = ["<s>", *(f"\\x{byte:02x}" for byte in range(256)), *words]
    return {
        **_entries("rwkv", tokens, [CONTROL] + [NORMAL] * (len(tokens) - 1)),
        **_ids(bos=0, eos=0),
    }


KINDS: dict[str, Callable[[], Metadata]] = {"spm": spm, "bpe": bpe, "wpm": wpm, "ugm": ugm, "rwkv": rwkv}


def entries(vocab: str | os.PathLike[str], n_vocab: int | None) -> Metadata:
    """Return the `tokenizer.*` entries of a kind of vocabulary or of a GGUF file.

    Arguments:
        vocab: "spm", "bpe", "wpm", "ugm" or "rwkv", or the path of a GGUF file.
        n_vocab: how many tokens there shall be; unused ones fill up. None = as many as the vocabulary has.

    Raises:
        InvalidArgumentError: a vocabulary with more tokens than ``n_vocab``, or a file without one.
        ModelNotFoundError, ModelFileError: no such file, or not a GGUF file.
    """
    if not isinstance(vocab, str | os.PathLike):
        raise ArgumentTypeError(f"vocab must be a name or a path, not {type(vocab).__name__}")
    if isinstance(vocab, str) and vocab in KINDS:
        found = KINDS[vocab]()
    elif isinstance(vocab, str) and not vocab.endswith(".gguf"):
        raise InvalidArgumentError(
            f"vocab is {check.shown(vocab)}; choose one of {', '.join(KINDS)}, or give the path of a .gguf "
            f"file"
        )
    else:
        with GgufContext.load(vocab) as gguf:
            found = {key: gguf.typed(key) for key in gguf if key.startswith("tokenizer.")}
        if "tokenizer.ggml.tokens" not in found:
            raise InvalidArgumentError(f"{os.fspath(vocab)} has no vocabulary")
    return found if n_vocab is None else _padded(found, n_vocab)


def _padded(found: Metadata, n_vocab: int) -> Metadata:
    def value(key: str) -> Any:
        entry = found.get(key)
        return entry.value if isinstance(entry, Typed) else entry

    tokens = value("tokenizer.ggml.tokens")
    missing = n_vocab - len(tokens)
    if missing < 0:
        raise InvalidArgumentError(f"n_vocab is {n_vocab}; the vocabulary has {len(tokens)} tokens already")
    grown: Metadata = {"tokenizer.ggml.tokens": [*tokens, *(f"[unused {index}]" for index in range(missing))]}
    types = value("tokenizer.ggml.token_type") or [NORMAL] * len(tokens)
    grown["tokenizer.ggml.token_type"] = [*types, *[UNUSED] * missing]
    scores = value("tokenizer.ggml.scores")
    if scores is not None:
        grown["tokenizer.ggml.scores"] = Typed([*scores, *[0.0] * missing], "f32")
    return {**found, **grown}
