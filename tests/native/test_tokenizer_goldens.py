"""Every case that comes with llama.cpp's own vocabularies, tokenized as llama.cpp's test expects it."""

from __future__ import annotations

from pathlib import Path

import pytest

import llama_ffi as lf

pytestmark = pytest.mark.native

SEPARATOR = "\n__ggml_vocab_test__\n"

KNOWN = (
    "bert-bge",
    "command-r",
    "deepseek-coder",
    "deepseek-llm",
    "falcon",
    "gemma-4",
    "gpt-2",
    "llama-bpe",
    "llama-spm",
    "mpt",
    "phi-3",
    "qwen2",
    "qwen35",
    "refact",
    "starcoder",
)
"""The vocabularies of the pinned source that have cases; a bump of the pin shows here."""


def cases(vocabulary: Path) -> list[tuple[str, list[int]]]:
    """Return the (text, tokens) pairs: texts between separators, one line of ids for each."""
    texts = vocabulary.with_name(vocabulary.name + ".inp").read_bytes().decode().split(SEPARATOR)
    lines = vocabulary.with_name(vocabulary.name + ".out").read_text(encoding="ascii").split("\n")
    for each in (texts, lines):
        if not each[-1]:
            each.pop()
    assert len(texts) == len(lines)
    return [(text, [int(word) for word in line.split()]) for text, line in zip(texts, lines, strict=True)]


def test_all_vocabularies_with_cases_are_known(vocabularies: list[Path]) -> None:
    found = [path for path in vocabularies if path.with_name(path.name + ".inp").exists()]
    assert tuple(path.name.removeprefix("ggml-vocab-").removesuffix(".gguf") for path in found) == KNOWN


@pytest.mark.parametrize("name", KNOWN)
def test_goldens(source: Path, name: str) -> None:
    path = source / "models" / f"ggml-vocab-{name}.gguf"
    with lf.Model.load(path, vocab_only=True) as model:
        wrong = []
        pairs = cases(path)
        for text, expected in pairs:
            tokens = model.vocab.tokenize(text, add_special=False, parse_special=False)
            if tokens != expected:
                wrong.append((text, expected, tokens))
        assert not wrong, f"{len(wrong)} of {len(pairs)} cases differ, the first: {wrong[0]}"
        assert len(pairs) >= 40
