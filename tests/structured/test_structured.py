"""Samplers with a form for the text: as links of a chain, and as options of what generates."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi import testing
from llama_ffi.errors import (
    ArgumentTypeError,
    GrammarError,
    InvalidArgumentError,
    SamplerError,
    UnsupportedError,
)

pytestmark = pytest.mark.native

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


def written(chain: lf.SamplerChain, vocab: lf.Vocab, seed: int = 1, most: int = 400) -> str | None:
    """Return what a chain writes from random logits; None if it didn't end."""
    rng = np.random.default_rng(seed)
    text = b""
    for _ in range(most):
        candidates = chain.apply(lf.Candidates(rng.standard_normal(vocab.n_tokens)))
        token = candidates.token
        assert token is not None
        chain.accept(token)
        if vocab.is_eog(token):
            return text.decode()
        text += vocab.piece(token)
    return None


def spelled(chain: lf.SamplerChain, vocab: lf.Vocab, text: str) -> None:
    for token in vocab._spell(text.encode()) or []:
        chain.accept(token)


MAKERS: dict[str, tuple[Callable[[lf.Vocab], lf.Sampler], str]] = {
    "json-schema": (lambda vocab: lf.Sampler.json_schema(vocab, PERSON), r'\{\s*"name"\s*:\s*".*\}'),
    "regex": (lambda vocab: lf.Sampler.regex(vocab, "(yes|no)[0-9]{2,5}"), "(yes|no)[0-9]{2,5}"),
    "lark": (lambda vocab: lf.Sampler.lark(vocab, 'start: x+ "!"\nx: /[ab]{3}/'), "([ab]{3})+!"),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("kind", ["spm", "bpe", "wpm", "ugm", "rwkv"])
def test_they_hold_the_form_with_every_kind_of_vocabulary(name: str, kind: str) -> None:
    make, pattern = MAKERS[name]
    with testing.random_model("llama", seed=1, vocab=kind) as model:
        vocab = model.vocab
        with lf.SamplerChain().add(make(vocab)).add_dist(1) as chain:
            text = written(chain, vocab)
            assert text is not None and re.fullmatch(pattern, text, re.S), text


@pytest.mark.parametrize("name", MAKERS)
def test_clones_resets_and_copies(random_model: lf.Model, name: str) -> None:
    vocab = random_model.vocab
    make, pattern = MAKERS[name]
    chain = lf.SamplerChain().add(make(vocab)).add_dist(1)
    assert chain.names[0] == name
    first = written(chain, vocab)
    chain.reset()
    begun = first[:2] if first else ""
    spelled(chain, vocab, begun)
    copy = chain.clone()
    assert first is not None and re.fullmatch(pattern, first, re.S)
    spelled(copy, vocab, first[2:])
    assert vocab.eos is not None
    copy.accept(vocab.eos)
    with pytest.raises(GrammarError, match="refuses token"):
        chain.accept(vocab.eos)  # the original is where it was
    chain.copy_state(copy)
    chain.accept(vocab.eos)  # as often as one likes, as with llama.cpp's own grammars
    chain.reset()
    assert re.fullmatch(pattern, written(chain, vocab, seed=2) or "", re.S)


def test_states_of_other_grammars_are_not_taken_over(random_model: lf.Model) -> None:
    vocab = random_model.vocab
    one, other = lf.SamplerChain().add_regex(vocab, "a+"), lf.SamplerChain().add_regex(vocab, "b+")
    with pytest.raises(SamplerError, match="other arguments"):
        one.copy_state(other)


def test_a_token_that_is_refused_changes_nothing(random_model: lf.Model) -> None:
    vocab = random_model.vocab
    chain = lf.SamplerChain().add_regex(vocab, "abc").add_dist(1)
    spelled(chain, vocab, "a")
    for _ in range(3):
        with pytest.raises(GrammarError, match="the sampler regex refuses token"):
            spelled(chain, vocab, "x")
    assert written(chain, vocab) == "bc"


def test_they_come_before_what_drops_candidates(random_model: lf.Model) -> None:
    chain = lf.SamplerChain().add_top_k(5)
    with pytest.raises(SamplerError, match="comes too late"):
        chain.add_regex(random_model.vocab, "a")


def test_candidates_in_any_order_and_number(random_model: lf.Model) -> None:
    vocab = random_model.vocab
    with lf.SamplerChain().add_regex(vocab, "[a-d]") as chain:
        allowed = {token for token in range(vocab.n_tokens) if vocab.piece(token) in (b"a", b"b", b"c", b"d")}
        rng = np.random.default_rng(1)
        for count in (vocab.n_tokens, 100, 17, 16, 5):
            ids = rng.permutation(vocab.n_tokens)[:count].astype(np.int32)
            candidates = chain.apply(lf.Candidates(np.zeros(count), ids))
            kept = set(candidates.ids[np.isfinite(candidates.logits)].tolist())
            assert kept == allowed & set(ids.tolist())


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_texts_of_random_expressions_match_them(random_model: lf.Model, data: st.DataObject) -> None:
    atoms = st.sampled_from(["a", "b", "[c-f]", "0", "[^a-y]{1}", "é", "x{1,3}"])
    parts = st.recursive(
        atoms,
        lambda inner: st.one_of(
            st.tuples(inner, inner).map("".join),
            st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})"),
            inner.map(lambda part: f"({part}){{0,3}}"),
        ),
        max_leaves=6,
    )
    pattern = data.draw(parts)
    with lf.SamplerChain().add_regex(random_model.vocab, pattern).add_dist(1) as chain:
        text = written(chain, random_model.vocab, seed=data.draw(st.integers(0, 99)))
    assert text is not None and re.fullmatch(pattern, text), (pattern, text)


def test_whitespace(random_model: lf.Model) -> None:
    vocab = random_model.vocab

    def allows(kind: Any, text: str) -> bool:
        chain = lf.SamplerChain().add_json_schema(vocab, {"type": "array"}, whitespace=kind)
        try:
            spelled(chain, vocab, text)
        except GrammarError:
            return False
        return True

    for text, kinds in {
        "[1,2]": ("none", "short", "any"),
        "[1, 2]": ("short", "any"),
        "[\n  1,\n  2\n]": ("short", "any"),
        "[1,  2]": ("any",),
        "[\n\n1]": ("any",),
        " [1]": (),
    }.items():
        assert tuple(kind for kind in ("none", "short", "any") if allows(kind, text)) == kinds, text
    with pytest.raises(InvalidArgumentError, match="choose one of: any, none, short"):
        lf.Sampler.json_schema(vocab, {}, whitespace="some")  # type: ignore[arg-type]


def test_what_a_schema_can_be(random_model: lf.Model) -> None:
    class Model:
        @classmethod
        def model_json_schema(cls) -> dict[str, Any]:
            return PERSON

    vocab = random_model.vocab
    for schema in (PERSON, json.dumps(PERSON), json.dumps(PERSON).encode(), Model):
        text = written(lf.SamplerChain().add_json_schema(vocab, schema).add_dist(1), vocab)
        assert text is not None and set(json.loads(text)) == {"name", "age"}
    anything = lf.SamplerChain().add_json_schema(vocab, True)
    spelled(anything, vocab, '[{"a": [null, 1.5e3, "x"]}]')


def test_options_in_the_schema_are_kept(random_model: lf.Model) -> None:
    schema = {"type": "array", "uniqueItems": True, "maxItems": 1}
    with pytest.raises(GrammarError, match="uniqueItems"):
        lf.Sampler.json_schema(random_model.vocab, schema)
    lf.Sampler.json_schema(random_model.vocab, {**schema, "x-guidance": {"lenient": True}})


def test_special_tokens_of_a_grammar(random_model: lf.Model) -> None:
    """A control token is never text: only a grammar that names it lets it through."""
    with testing.random_model("llama", seed=1, vocab="bpe") as model:
        vocab = model.vocab
        assert vocab.fim_pre is not None
        chain = lf.SamplerChain().add_lark(vocab, 'start: "a" <|fim_pre|> "b"')
        spelled(chain, vocab, "a")
        chain.accept(vocab.fim_pre)
        spelled(chain, vocab, "b")
        text = lf.SamplerChain().add_regex(vocab, "(?s:.*)")
        with pytest.raises(GrammarError):
            text.accept(vocab.fim_pre)


def test_the_text_that_must_come_is_made_of_the_usual_tokens(random_model: lf.Model) -> None:
    vocab = random_model.vocab
    chain = lf.SamplerChain().add_regex(vocab, "once upon a time").add_dist(1)
    tokens = []
    while not vocab.is_eog(token := chain.apply(lf.Candidates(np.zeros(vocab.n_tokens))).token or 0):
        chain.accept(token)
        tokens.append(token)
    assert b"".join(map(vocab.piece, tokens)) == b"once upon a time"
    assert len(tokens) < 9


def test_options_of_generate(random_model: lf.Model) -> None:
    def text(**options: Any) -> str:
        return "".join(
            lf.generate("once", model=random_model, max_tokens=300, seed=5, n_threads=1, **options)
        )

    assert set(json.loads(text(json_schema=PERSON))) == {"name", "age"}
    assert text(regex="[abc]{5}", temp=0).strip("abc") == ""
    assert text(lark='start: "x" | "y"') in "xy"
    assert text(grammar='root ::= "p" | "q"') in "pq"
    with pytest.raises(InvalidArgumentError, match="regex and lark can't both"):
        text(regex="a", lark="b")
    with pytest.raises(InvalidArgumentError, match="add it to your sampler"):
        text(regex="a", sampler=lf.SamplerChain().add_greedy())
    with pytest.raises(GrammarError):
        text(json_schema={"type": "thing"})
    with pytest.raises(ArgumentTypeError):
        text(regex=5)


def test_options_of_chats(random_model: lf.Model) -> None:
    options: dict[str, Any] = {"template": "chatml", "max_tokens": 300, "seed": 2, "n_threads": 1}
    messages = [{"role": "user", "content": "who?"}]
    for more in (
        {"json_schema": PERSON},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": PERSON}}},
        {"response_format": {"type": "json_object", "schema": PERSON}},
    ):
        reply = random_model.chat(messages, **options, **more)
        assert set(json.loads(reply.content)) == {"name", "age"}
    assert random_model.chat(messages, **options, regex="[yn]").content in "yn"
    with lf.ChatSession(random_model, template="chatml", n_ctx=512, n_threads=1) as chat:
        assert chat.say("who?", regex="[yn]", max_tokens=9).content in "yn"
        assert chat.say("who?", max_tokens=9, response_format={"type": "text"}).content is not None
    for wrong in ({"type": "xml"}, {"type": "json_schema"}, {}):
        with pytest.raises(InvalidArgumentError):
            random_model.chat(messages, **options, response_format=wrong)
    with pytest.raises(ArgumentTypeError):
        random_model.chat(messages, **options, response_format="json")


def test_a_session_goes_on_within_the_form(random_model: lf.Model, tmp_path: Any) -> None:
    def session() -> lf.Session:
        chain = lf.SamplerChain().add_json_schema(random_model.vocab, PERSON).add_temp(0.8).add_dist(3)
        return random_model.session(n_ctx=512, sampler=chain, n_threads=1)

    with session() as whole:
        whole.feed("once")
        expected = "".join(whole.generate(300))
    with session() as begun:
        begun.feed("once")
        first = "".join(begun.generate(6))
        begun.save(tmp_path / "x.state")
    with session() as other:
        other.load(tmp_path / "x.state")
        assert first + "".join(other.generate(300)) == expected
    assert set(json.loads(expected)) == {"name", "age"}


def test_a_vocabulary_dies_with_its_model() -> None:
    model = testing.random_model("llama", seed=1)
    chain = lf.SamplerChain().add_regex(model.vocab, "abc").add_dist(1)
    vocab = weakref.ref(model.vocab)
    n_tokens = len(model.vocab)
    model.close()
    chain.apply(lf.Candidates(np.zeros(n_tokens)))  # the model isn't asked
    chain.close()
    del model, chain
    gc.collect()
    assert vocab() is None


def test_threads_with_one_vocabulary(random_model: lf.Model) -> None:
    texts: list[str | None] = []

    def run(seed: int) -> None:
        with lf.SamplerChain().add_json_schema(random_model.vocab, PERSON).add_dist(seed) as chain:
            texts.append(written(chain, random_model.vocab, seed))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 8
    assert all(set(json.loads(text or "")) == {"name", "age"} for text in texts)


def test_without_the_package() -> None:
    program = (
        "import sys; sys.modules['llguidance'] = None\n"
        "import llama_ffi as lf\n"
        "from llama_ffi import testing\n"
        "vocab = testing.random_model('llama', seed=1).vocab\n"
        "try: lf.Sampler.regex(vocab, 'a')\n"
        "except lf.errors.UnsupportedError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install 'llama-ffi[guidance]'" in done.stdout, done.stderr


def test_a_vocabulary_without_an_end(random_model: lf.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with testing.random_model("llama", seed=1) as model:
        monkeypatch.setattr(type(model.vocab), "is_eog", lambda _self, _token: False)
        with pytest.raises(UnsupportedError, match="no token that ends generation"):
            lf.Sampler.regex(model.vocab, "a")


def test_ctrl_c_in_the_tokenizer_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    with testing.random_model("llama", seed=1) as model:
        vocab = model.vocab
        lf.Sampler.regex(vocab, "a").close()

        def strike(_self: object, *_args: object, **_more: object) -> list[int]:
            raise KeyboardInterrupt

        monkeypatch.setattr(type(vocab), "tokenize", strike)
        with pytest.raises(KeyboardInterrupt):
            lf.Sampler.regex(vocab, "once upon a time")
