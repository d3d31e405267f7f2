"""Text to C and back: nothing cut off, nothing invalid, nothing lost."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_ffi._core.text import Utf8Decoder, encode, encode_c, encode_path
from llama_ffi.errors import ArgumentTypeError, InvalidArgumentError


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_round_trips(text: str) -> None:
    assert encode(text).decode("utf-8") == text


def test_lone_surrogates_are_named() -> None:
    with pytest.raises(InvalidArgumentError, match=r"prompt holds a lone surrogate \(U\+D800 at index 2\)"):
        encode("ab\ud800", "prompt")


def test_nul_is_refused_for_c_strings_only() -> None:
    assert encode("a\0b") == b"a\0b"
    with pytest.raises(InvalidArgumentError, match="grammar holds a NUL at byte 1"):
        encode_c("a\0b", "grammar")


@pytest.mark.parametrize("wrong", [None, 1, ["a"]])
def test_other_types_are_named(wrong: object) -> None:
    with pytest.raises(ArgumentTypeError, match=f"text must be str or bytes, not {type(wrong).__name__}"):
        encode(wrong)  # type: ignore[arg-type]


def test_paths() -> None:
    assert encode_path(Path("a") / "b.gguf") == b"a/b.gguf"
    assert encode_path(b"\xff") == b"\xff"
    with pytest.raises(InvalidArgumentError, match="holds a NUL"):
        encode_path("a\0b")
    with pytest.raises(InvalidArgumentError, match="path is empty"):
        encode_path("")
    with pytest.raises(ArgumentTypeError, match="not int"):
        encode_path(3)  # type: ignore[arg-type]


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_decoder_gives_the_same_text_however_bytes_are_cut(data: bytes, cuts: list[int]) -> None:
    decoder = Utf8Decoder()
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [decoder.feed(data[a:b]) for a, b in itertools.pairwise(borders)]
    text = "".join(pieces) + decoder.flush()
    assert text == data.decode("utf-8", "replace")
    for piece in pieces:
        piece.encode("utf-8")


def test_decoder_holds_back_an_open_character() -> None:
    decoder = Utf8Decoder()
    assert [decoder.feed(bytes([byte])) for byte in "ä🦙".encode()] == ["", "ä", "", "", "", "🦙"]
    assert decoder.feed(b"\xf0\x9f") == ""
    assert decoder.flush() == "�"
    assert decoder.feed(b"a") == "a"


@pytest.mark.parametrize("wrong", ["a", 5, None])
def test_decoder_takes_bytes_only(wrong: object) -> None:
    decoder = Utf8Decoder()
    with pytest.raises(ArgumentTypeError, match="must be bytes"):
        decoder.feed(wrong)  # type: ignore[arg-type]
    assert decoder.feed(b"a") == "a"
