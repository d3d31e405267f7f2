"""What a grammar has ended is JSON of its schema: a hundred schemas, a model of random weights."""

from __future__ import annotations

import json

import jsonschema
import pytest

import llama_ffi as lf
from llama_ffi import testing
from tests.structured.schemas import COUNT, FORMATS, all_schemas

pytestmark = pytest.mark.native

Validator = jsonschema.Draft202012Validator
LONGEST = 2000
"""Tokens."""


def check(schema: object, text: str) -> None:
    Validator(schema, format_checker=Validator.FORMAT_CHECKER).validate(json.loads(text))


@pytest.mark.parametrize("vocab", ["spm", "bpe"])
def test_a_hundred_schemas(vocab: str) -> None:
    schemas = all_schemas()
    assert len(schemas) == COUNT == 100
    ended = []
    with testing.random_model("llama", seed=1, n_ctx_train=4096, vocab=vocab) as model:
        for name, schema in schemas.items():
            Validator.check_schema(schema)
            running = lf.generate(
                "once", model=model, json_schema=schema, max_tokens=LONGEST, seed=1, n_threads=1
            )
            text = "".join(running)
            if running.finish_reason == "stop":
                check(schema, text)
                ended.append(name)
    assert len(ended) >= 95, sorted(set(schemas) - set(ended))


def test_the_validator_knows_all_formats() -> None:
    assert set(FORMATS) <= set(Validator.FORMAT_CHECKER.checkers)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "date",
            ["2024-02-29", "2000-02-29", "0001-01-01", "2023-12-31"],
            ["2023-02-29", "1900-02-29", "0000-01-01"],
        ),
        ("time", ["23:59:59Z", "00:00:00.5+01:00"], ["23:59:60Z"]),
        ("date-time", ["2024-02-29T12:00:00Z"], ["2023-02-29T12:00:00Z", "2024-02-29T12:00:60Z"]),
        ("hostname", ["a." * 126 + "a"], ["a." * 127 + "a"]),
        ("email", ["a@b.c"], ["a@" + "b" * 300]),
    ],
)
def test_formats_are_exact(random_model: lf.Model, name: str, good: list[str], bad: list[str]) -> None:
    """llguidance lets more through than validators do."""
    vocab = random_model.vocab
    schema = {"type": "string", "format": name, "minLength": 1}

    def allowed(text: str) -> bool:
        chain = lf.SamplerChain().add_json_schema(vocab, schema)
        try:
            for token in vocab._spell(json.dumps(text).encode()) or []:
                chain.accept(token)
            assert vocab.eos is not None
            chain.accept(vocab.eos)
        except lf.errors.GrammarError:
            return False
        return True

    assert [text for text in good if not allowed(text)] == []
    assert [text for text in bad if allowed(text)] == []
