"""``generate`` on the model that ships: valid text, seeds, ends, errors, and nothing left behind."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi._core import handle
from llama_ffi.errors import (
    ArgumentTypeError,
    ClosedError,
    GrammarError,
    InvalidArgumentError,
    ModelNotFoundError,
    PromptTooLongError,
    TokenRangeError,
)

pytestmark = pytest.mark.model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model() -> Iterator[lf.Model]:
    with lf.Model.load(lf.tiny_model_path()) as loaded:
        yield loaded


def test_without_any_options() -> None:
    text = "".join(lf.generate("Once upon a time", seed=1))
    assert text.strip()


def test_greedy_is_the_same_every_time(model: lf.Model) -> None:
    first = "".join(lf.generate("Once upon a time", model=model, temp=0, max_tokens=40))
    assert "".join(lf.generate("Once upon a time", model=model, temp=0, max_tokens=40)) == first
    assert "".join(lf.generate(b"Once upon a time", model=model.path, temp=0, max_tokens=40)) == first
    tokens = model.vocab.tokenize("Once upon a time")
    assert "".join(lf.generate(tokens, model=model, temp=0, max_tokens=40)) == first


def test_generate_equals_a_loop_by_hand(model: lf.Model) -> None:
    expected = b""
    with model.context(n_ctx=512, n_threads=1) as ctx:
        chain = lf.SamplerChain().add_greedy()
        ctx.decode(lf.Batch.from_tokens(tokens := model.vocab.tokenize("Joe loves")))
        for position in range(len(tokens), len(tokens) + 30):
            token = chain.sample(ctx)
            if model.vocab.is_eog(token):
                break
            expected += model.vocab.piece(token, special=False)
            ctx.decode(lf.Batch.from_tokens([token], pos0=position))
    text = "".join(lf.generate("Joe loves", model=model, temp=0, max_tokens=30))
    assert text == expected.decode("utf-8", "replace")


def test_seeds(model: lf.Model) -> None:
    def text(seed: int | None) -> str:
        return "".join(lf.generate("Once", model=model, seed=seed, temp=1.5, max_tokens=30))

    assert text(5) == text(5)
    assert len({text(seed) for seed in range(6)}) > 1
    assert len({text(None) for _ in range(6)}) > 1


def test_slices_of_the_prompt_make_no_difference(model: lf.Model) -> None:
    prompt = "Once upon a time there was a little dog. " * 6
    texts = {
        n_batch: "".join(lf.generate(prompt, model=model, temp=0, max_tokens=20, n_batch=n_batch))
        for n_batch in (512, 64, 7)
    }
    assert len(set(texts.values())) == 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), temp=st.floats(0.5, 50.0))
def test_every_piece_is_valid_text(model: lf.Model, seed: int, temp: float) -> None:
    """Hot sampling picks byte tokens in no order: what isn't UTF-8 must still come out as text."""
    pieces = list(
        lf.generate("é", model=model, seed=seed, temp=temp, top_k=0, top_p=1.0, min_p=0.0, max_tokens=24)
    )
    for piece in pieces:
        assert piece
        piece.encode("utf-8")


def test_a_character_over_several_tokens_is_held_back(model: lf.Model) -> None:
    vocab = model.vocab
    by_bytes = {vocab.piece(token): token for token in range(vocab.n_tokens) if len(vocab.piece(token)) == 1}
    llama = "🦙".encode()
    assert all(bytes([byte]) in by_bytes for byte in llama)
    grammar = "".join(f"\\x{byte:02x}" for byte in b"ab")
    chain = lf.SamplerChain().add_grammar(vocab, f'root ::= "{grammar}🦙c"').add_greedy()
    pieces = list(lf.generate("Once", model=model, sampler=chain, max_tokens=20))
    assert "".join(pieces) == "ab🦙c"
    assert "🦙" in [piece.strip("abc") for piece in pieces]


def test_it_ends(model: lf.Model) -> None:
    count = len(list(lf.generate("Once", model=model, temp=0, max_tokens=1)))
    assert count <= 1
    assert list(lf.generate("Once", model=model, max_tokens=0)) == []
    eos = model.vocab.eos
    assert eos is not None
    only_eos = {token: float("-inf") for token in range(model.vocab.n_tokens) if token != eos}
    chain = lf.SamplerChain().add_logit_bias(model.vocab.n_tokens, only_eos).add_greedy()
    assert list(lf.generate("Once", model=model, sampler=chain, max_tokens=50)) == []


def test_it_ends_when_the_context_is_full(model: lf.Model) -> None:
    never = {token: float("-inf") for token in range(model.vocab.n_tokens) if model.vocab.is_eog(token)}
    chain = lf.SamplerChain().add_logit_bias(model.vocab.n_tokens, never).add_greedy()
    n_prompt = len(model.vocab.tokenize("Once"))
    pieces: list[str] = []
    for piece in lf.generate("Once", model=model, sampler=chain, max_tokens=-1, n_ctx=256, special=True):
        pieces.append(piece)
    assert len(model.vocab.tokenize("".join(pieces))) > 50
    assert len(pieces) <= 257 - n_prompt + 1


def test_stop_texts(model: lf.Model) -> None:
    whole = "".join(lf.generate("Once upon a time", model=model, temp=0, max_tokens=40))
    for stop in (whole[5:12], whole[-4:], whole[:1], [whole[8:20], "never there"]):
        pieces = list(lf.generate("Once upon a time", model=model, temp=0, max_tokens=40, stop=stop))
        first = min(
            at for each in ([stop] if isinstance(stop, str) else stop) if (at := whole.find(each)) >= 0
        )
        assert "".join(pieces) == whole[:first]
        assert "" not in pieces
    assert "".join(lf.generate("Once upon a time", model=model, temp=0, max_tokens=40, stop="€€€")) == whole
    assert "".join(lf.generate("Once upon a time", model=model, temp=0, max_tokens=40, stop=None)) == whole


def test_an_empty_prompt_begins_a_text(model: lf.Model) -> None:
    for prompt in ("", b"", []):
        assert list(lf.generate(prompt, model=model, max_tokens=5, seed=1))


def test_a_prompt_longer_than_the_context(model: lf.Model) -> None:
    long = "Once upon a time " * 400
    with pytest.raises(PromptTooLongError, match="use a larger n_ctx"):
        lf.generate(long, model=model, n_ctx=256)
    with pytest.raises(PromptTooLongError, match=f"trained with a context of {model.n_ctx_train}"):
        lf.generate(long, model=model)
    with pytest.raises(PromptTooLongError):
        lf.generate(long)


NAN = float("nan")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"temp": NAN}, InvalidArgumentError),
        ({"temp": -1.0}, InvalidArgumentError),
        ({"temp": "hot"}, ArgumentTypeError),
        ({"top_k": -1}, InvalidArgumentError),
        ({"top_p": 1.5}, InvalidArgumentError),
        ({"top_p": NAN}, InvalidArgumentError),
        ({"min_p": -0.1}, InvalidArgumentError),
        ({"seed": -1}, InvalidArgumentError),
        ({"seed": 2**32}, InvalidArgumentError),
        ({"max_tokens": -2}, InvalidArgumentError),
        ({"max_tokens": 1.5}, ArgumentTypeError),
        ({"n_ctx": -1}, InvalidArgumentError),
        ({"n_ctx": 2**40}, InvalidArgumentError),
        ({"n_batch": 0}, InvalidArgumentError),
        ({"n_threads": 0}, InvalidArgumentError),
        ({"stop": [1]}, ArgumentTypeError),
        ({"stop": 5}, ArgumentTypeError),
        ({"sampler": "greedy"}, ArgumentTypeError),
        ({"model": "absent.gguf"}, ModelNotFoundError),
        ({"prompt": [99_999_999]}, TokenRangeError),
        ({"prompt": 5}, ArgumentTypeError),
        ({"prompt": "\ud800"}, InvalidArgumentError),
    ],
)
def test_bad_arguments_are_errors_at_once(options: dict[str, object], error: type[Exception]) -> None:
    gc.collect()
    before = handle.live()
    with pytest.raises(error):
        lf.generate(**{"prompt": "Once", **options})  # type: ignore[arg-type]
    gc.collect()
    assert handle.live() == before


def test_an_own_sampler_stays_with_its_owner(model: lf.Model) -> None:
    with lf.SamplerChain().add_temp(0.9).add_dist(3) as chain:
        first = "".join(lf.generate("Once", model=model, sampler=chain, max_tokens=10))
        second = "".join(lf.generate("Once", model=model, sampler=chain, max_tokens=10))
        assert not chain.closed
        chain.reset()
        assert "".join(lf.generate("Once", model=model, sampler=chain, max_tokens=10)) == first
        assert first != second
    with pytest.raises(ClosedError):
        list(lf.generate("Once", model=model, sampler=chain))


def test_a_grammar_error_comes_out_of_the_iterator(model: lf.Model) -> None:
    chain = lf.SamplerChain().add_grammar(model.vocab, 'root ::= "yes"').add_greedy()
    chain.accept(next(t for t in range(model.vocab.n_tokens) if model.vocab.piece(t) == b"y"))
    assert "".join(lf.generate("Once", model=model, sampler=chain)) == "es"
    chain.reset()
    with pytest.raises(GrammarError):
        chain.accept(0)


def test_everything_is_freed(model: lf.Model) -> None:
    gc.collect()
    before = handle.live()
    pieces = lf.generate("Once upon a time", max_tokens=50, seed=1)
    assert next(pieces)
    assert handle.live() > before
    pieces.close()  # type: ignore[attr-defined]
    assert handle.live() == before
    dropped = lf.generate("Once upon a time", max_tokens=50, seed=1)
    next(dropped)
    del dropped
    gc.collect()
    assert handle.live() == before
    lf.generate("Once upon a time", model=model)  # never even started
    gc.collect()
    assert handle.live() == before
    list(lf.generate("Once upon a time", max_tokens=3))
    assert handle.live() == before


def test_side_by_side_on_one_model(model: lf.Model) -> None:
    expected = "".join(lf.generate("Once upon a time", model=model, temp=0, max_tokens=30))
    results: list[str] = []

    def work() -> None:
        results.append("".join(lf.generate("Once upon a time", model=model, temp=0, max_tokens=30)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_numpy_is_not_imported() -> None:
    code = (
        "import sys, llama_ffi as lf\n"
        "text = ''.join(lf.generate('Once upon a time', max_tokens=20, seed=1))\n"
        "ctx = lf.Model.load(lf.tiny_model_path()).context(n_ctx=256)\n"
        "ctx.decode(lf.Batch.from_tokens([1, 2, 3]))\n"
        "lf.SamplerChain().add_grammar(ctx.model.vocab, 'root ::= [a-z ]*').add_dist(1).sample(ctx)\n"
        "bad = {'numpy', 'cffi', 'pycparser', 'logging'} & set(sys.modules)\n"
        "assert text and not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
