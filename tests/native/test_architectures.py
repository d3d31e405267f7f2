"""The factory's table names every architecture of the pinned source, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llama_ffi import testing

pytestmark = pytest.mark.native


def test_every_architecture_is_made_or_has_a_reason(source: Path) -> None:
    text = (source / "src" / "llama-arch.cpp").read_text(encoding="utf-8")
    table = text[text.index("LLM_ARCH_NAMES") : text.index("LLM_KV_NAMES")]
    names = set(re.findall(r'\{ LLM_ARCH_\w+, +"([^"]+)"', table)) - {"(unknown)"}
    assert len(names) > 100
    assert {each.name for each in testing.architectures()} == names


def test_a_vocabulary_of_the_pinned_source(vocabularies: list[Path]) -> None:
    path = next(path for path in vocabularies if path.name == "ggml-vocab-gpt-2.gguf")
    with testing.random_model("gpt2", vocab=path) as model:
        assert model.vocab.n_tokens == 50257
        assert model.vocab.tokenize("Hello world") == [15496, 995]
