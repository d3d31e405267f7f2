"""Samplers and chains: every sampler of llama.cpp, ownership, order, grammars, and what must not kill."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi.errors import (
    ArgumentTypeError,
    ClosedError,
    ConsumedError,
    GrammarError,
    InvalidArgumentError,
    NoOutputsError,
    NoTokenSelectedError,
    SamplerError,
    TokenRangeError,
)

pytestmark = pytest.mark.native

YES_OR_NO = 'root ::= "yes" | "no"'


@pytest.fixture
def ready(ctx: lf.Context) -> lf.Context:
    """A context with one row of logits."""
    ctx.decode(lf.Batch.from_tokens([1, 9038, 2501, 263]))
    return ctx


def all_samplers(vocab: lf.Vocab) -> dict[str, Callable[[], lf.Sampler]]:
    n = vocab.n_tokens
    make = lf.Sampler
    return {
        "grammar": lambda: make.grammar(vocab, YES_OR_NO),
        "grammar_lazy": lambda: make.grammar_lazy(vocab, YES_OR_NO, trigger_patterns=["xyz"]),
        "logit_bias": lambda: make.logit_bias(n, {5: -1.5, 7: float("-inf")}),
        "penalties": lambda: make.penalties(n, 64, 1.1, 0.1, 0.1),
        "dry": lambda: make.dry(vocab, 0.8),
        "top_n_sigma": lambda: make.top_n_sigma(2.0),
        "temp": lambda: make.temp(0.8),
        "temp_ext": lambda: make.temp_ext(0.8, 0.2),
        "top_k": lambda: make.top_k(40),
        "typical": lambda: make.typical(0.9),
        "top_p": lambda: make.top_p(0.9),
        "min_p": lambda: make.min_p(0.05),
        "xtc": lambda: make.xtc(0.5, 0.1, seed=1),
        "infill": lambda: make.infill(vocab),
        "greedy": make.greedy,
        "dist": lambda: make.dist(1),
        "mirostat": lambda: make.mirostat(n, 1),
        "mirostat_v2": lambda: make.mirostat_v2(1),
        "adaptive_p": lambda: make.adaptive_p(0.5, seed=1),
    }


def token_of(vocab: lf.Vocab, piece: bytes) -> int:
    return next(token for token in range(vocab.n_tokens) if vocab.piece(token) == piece)


NAMES = [
    "grammar",
    "grammar_lazy",
    "logit_bias",
    "penalties",
    "dry",
    "top_n_sigma",
    "temp",
    "temp_ext",
    "top_k",
    "typical",
    "top_p",
    "min_p",
    "xtc",
    "infill",
    "greedy",
    "dist",
    "mirostat",
    "mirostat_v2",
    "adaptive_p",
]
SELECTING = ("greedy", "dist", "mirostat", "mirostat_v2", "adaptive_p")


def test_there_is_a_constructor_for_every_sampler_of_llama_h() -> None:
    functions = {
        name.removeprefix("llama_sampler_init_")
        for name in lf.raw.functions()
        if name.startswith("llama_sampler_init_")
    }
    functions -= {"grammar_lazy_patterns"}  # the waiting is done in Python, see Sampler.grammar_lazy
    assert functions == set(NAMES)
    for name in NAMES:
        assert hasattr(lf.Sampler, name)
        assert hasattr(lf.SamplerChain, f"add_{name}")


@pytest.mark.parametrize("name", NAMES)
def test_each_alone_and_in_a_chain(ready: lf.Context, name: str) -> None:
    vocab = ready.model.vocab
    sampler = all_samplers(vocab)[name]()
    assert name.split("_")[0] in sampler.name.replace("-", "_")
    sampler.reset()
    copy = sampler.clone()
    chain = lf.SamplerChain()
    if name == "infill":
        chain.add_top_k(20).add_top_p(0.9)  # it compares every pair of candidates
    chain.add(sampler)
    if name not in SELECTING:
        with pytest.raises(NoTokenSelectedError, match="selects"):
            chain.sample(ready)
        chain.add_dist(7)
    for _ in range(3):
        try:
            token = chain.sample(ready)
        except GrammarError:
            break  # a complete "yes" or "no" lets nothing follow
        assert 0 <= token < vocab.n_tokens
    second = chain.clone()
    chain.reset()
    second.close()
    chain.close()
    copy.close()


# --- choosing ----------------------------------------------------------------------------------------


def test_greedy_is_argmax(ready: lf.Context) -> None:
    chain = lf.SamplerChain().add_greedy()
    assert chain.sample(ready) == int(ready.logits().argmax())
    slow = lf.SamplerChain().add_grammar_lazy(ready.model.vocab, YES_OR_NO, trigger_tokens=[5]).add_greedy()
    assert slow.sample(ready) == int(ready.logits().argmax())


def test_fast_and_slow_path_choose_the_same(ready: lf.Context) -> None:
    """A lazy grammar that never triggers takes the candidates through Python's array instead of C's."""
    vocab = ready.model.vocab

    def build(chain: lf.SamplerChain) -> lf.SamplerChain:
        return chain.add_logit_bias(32_000, {3: 2.0}).add_top_k(50).add_top_p(0.95).add_temp(0.9).add_dist(42)

    fast = build(lf.SamplerChain())
    slow = build(lf.SamplerChain().add_grammar_lazy(vocab, YES_OR_NO, trigger_patterns=["never"]))
    assert [fast.sample(ready) for _ in range(50)] == [slow.sample(ready) for _ in range(50)]


def test_seeds(ready: lf.Context) -> None:
    def draw(seed: int | None) -> list[int]:
        chain = lf.SamplerChain().add_top_k(1000).add_temp(5.0).add_dist(seed)
        return [chain.sample(ready) for _ in range(30)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert draw(None) != draw(None)
    chain = lf.SamplerChain().add_top_k(5)
    assert chain.seed is None
    assert chain.add_dist(11).seed == 11
    first = [chain.sample(ready) for _ in range(20)]
    chain.reset()
    assert [chain.sample(ready) for _ in range(20)] == first


def test_a_clone_goes_on_where_the_original_is(ready: lf.Context) -> None:
    chain = lf.SamplerChain().add_penalties(32_000, 64, 1.3).add_temp(3.0).add_dist(5)
    for _ in range(5):
        chain.sample(ready)
    copy = chain.clone()
    assert copy.names == chain.names == ["penalties", "temp", "dist"]
    assert [chain.sample(ready) for _ in range(20)] == [copy.sample(ready) for _ in range(20)]


def test_bias_and_penalties_change_the_choice(ready: lf.Context) -> None:
    best = int(ready.logits().argmax())
    forbidden = lf.SamplerChain().add_logit_bias(32_000, {best: float("-inf")}).add_greedy()
    assert forbidden.sample(ready) != best
    penalized = lf.SamplerChain().add_penalties(32_000, 64, 1.0, 0.0, 100.0).add_greedy()
    penalized.accept(best)
    assert penalized.sample(ready) != best


def test_dist_follows_the_probabilities(ready: lf.Context) -> None:
    logits = ready.logits()
    best = np.argsort(-logits)[:4]
    expected = np.exp(logits[best] - logits[best[0]])
    expected /= expected.sum()
    chain = lf.SamplerChain().add_top_k(4).add_dist(3)
    draws = Counter(chain.sample(ready) for _ in range(3000))
    assert set(draws) <= {int(token) for token in best}
    for token, share in zip(best, expected, strict=True):
        assert abs(draws[int(token)] / 3000 - share) < 0.05


def test_rows(ctx: lf.Context) -> None:
    ctx.decode(lf.Batch.from_tokens([1, 9038, 2501, 263], logits="all"))
    chain = lf.SamplerChain().add_greedy()
    assert [chain.sample(ctx, i) for i in range(4)] == [int(ctx.logits(i).argmax()) for i in range(4)]
    assert chain.sample(ctx, -4) == chain.sample(ctx, 0)
    for row in (4, -5, 10**9):
        with pytest.raises(NoOutputsError):
            chain.sample(ctx, row)


def test_perf(ready: lf.Context) -> None:
    chain = lf.SamplerChain(no_perf=False).add_temp(0.5).add_greedy()
    for _ in range(3):
        chain.sample(ready)
    assert chain.perf.n_sample == 3
    assert chain.perf.t_sample_ms > 0
    chain.perf_reset()
    assert chain.perf.n_sample == 0


# --- ownership ---------------------------------------------------------------------------------------


def test_a_sampler_belongs_to_its_chain_until_it_is_removed(ready: lf.Context) -> None:
    sampler = lf.Sampler.top_k(5)
    chain = lf.SamplerChain().add(sampler)
    assert sampler.consumed
    assert sampler.closed
    for call in (sampler.reset, sampler.clone, lambda: sampler.name, lambda: sampler.ptr):
        with pytest.raises(ConsumedError, match="belongs to a sampler chain"):
            call()
    sampler.close()  # nothing: it isn't ours to free
    other = lf.SamplerChain()
    with pytest.raises(ConsumedError):
        other.add(sampler)
    chain.add_greedy()
    back = chain.remove(0)
    assert back.name == "top-k"
    assert chain.names == ["greedy"]
    assert chain.sample(ready) >= 0
    other.add(back).add_dist(1)
    chain.close()
    assert other.sample(ready) >= 0
    assert other.remove(-1).name == "dist"
    with pytest.raises(InvalidArgumentError):
        other.remove(5)
    other.remove(0).close()
    with pytest.raises(InvalidArgumentError, match="empty"):
        other.remove(0)


def test_closed(ready: lf.Context) -> None:
    chain = lf.SamplerChain().add_greedy()
    chain.close()
    chain.close()
    for call in (
        lambda: chain.sample(ready),
        lambda: chain.accept(1),
        chain.add_greedy,
        chain.clone,
        chain.reset,
        lambda: chain.names,
        lambda: chain.seed,
        lambda: chain.perf,
        chain.__enter__,
    ):
        with pytest.raises(ClosedError, match="sampler chain is closed"):
            call()
    with pytest.raises(ClosedError):
        lf.SamplerChain().add(_closed_sampler())
    assert "closed" in repr(chain)


def _closed_sampler() -> lf.Sampler:
    with lf.Sampler.greedy() as sampler:
        pass
    return sampler


def test_a_grammar_keeps_its_model_alive(random_model_path: object, ready: lf.Context) -> None:
    model = lf.Model.load(random_model_path)  # type: ignore[arg-type]
    chain = lf.SamplerChain().add_grammar(model.vocab, YES_OR_NO).add_greedy()
    model.close()
    assert ready.model.vocab.piece(chain.sample(ready)) in (b"y", b"n", b"ye", b"no", b"yes")


# --- what fits behind what ---------------------------------------------------------------------------


def test_the_order_of_a_chain(ready: lf.Context) -> None:
    vocab = ready.model.vocab
    makers = all_samplers(vocab)
    for before in (*SELECTING, "top_k", "top_p", "min_p", "typical", "xtc", "temp_ext", "infill"):
        for grammar in ("grammar", "grammar_lazy"):
            chain = lf.SamplerChain().add(makers[before]())
            late = makers[grammar]()
            with pytest.raises(SamplerError, match="comes too late"):
                chain.add(late)
            assert not late.consumed
            late.close()
    for before in SELECTING:
        for after in (*SELECTING, "top_k", "top_p"):
            with pytest.raises(SamplerError, match=r"add .* last"):
                lf.SamplerChain().add(makers[before]()).add(makers[after]())
    with pytest.raises(SamplerError, match="only a Sampler"):
        lf.SamplerChain().add(lf.SamplerChain())  # type: ignore[arg-type]


def test_vocabularies_must_be_one(source: object, ready: lf.Context) -> None:
    with lf.Model.load(source / "models/ggml-vocab-gpt-2.gguf", vocab_only=True) as other:  # type: ignore[operator]
        chain = lf.SamplerChain().add_grammar(other.vocab, YES_OR_NO).add_greedy()
        with pytest.raises(SamplerError, match="50257 tokens; the context has 32000"):
            chain.sample(ready)
        chain.remove(1)
        with pytest.raises(SamplerError, match="vocabulary"):
            chain.add_grammar(ready.model.vocab, YES_OR_NO)


def test_empty_chain(ready: lf.Context) -> None:
    with pytest.raises(NoTokenSelectedError, match="chain is empty"):
        lf.SamplerChain().sample(ready)
    with pytest.raises(NoTokenSelectedError, match=r"no sampler of the chain \(temp\) selects"):
        lf.SamplerChain().add_temp(0.5).sample(ready)


# --- arguments ---------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda s, v: s.top_k(2**31), InvalidArgumentError),
        (lambda s, v: s.top_k(1.5), ArgumentTypeError),
        (lambda s, v: s.top_p(NAN), InvalidArgumentError),
        (lambda s, v: s.top_p(-0.1), InvalidArgumentError),
        (lambda s, v: s.top_p(0.9, -1), InvalidArgumentError),
        (lambda s, v: s.min_p(NAN), InvalidArgumentError),
        (lambda s, v: s.typical(INF), InvalidArgumentError),
        (lambda s, v: s.temp(NAN), InvalidArgumentError),
        (lambda s, v: s.temp("1"), ArgumentTypeError),
        (lambda s, v: s.temp_ext(1.0, NAN), InvalidArgumentError),
        (lambda s, v: s.xtc(0.5, NAN), InvalidArgumentError),
        (lambda s, v: s.dist(-1), InvalidArgumentError),
        (lambda s, v: s.dist(2**32), InvalidArgumentError),
        (lambda s, v: s.mirostat(0), InvalidArgumentError),
        (lambda s, v: s.mirostat(32_000, tau=NAN), InvalidArgumentError),
        (lambda s, v: s.mirostat(32_000, m=0), InvalidArgumentError),
        (lambda s, v: s.mirostat_v2(eta=INF), InvalidArgumentError),
        (lambda s, v: s.adaptive_p(2.0), InvalidArgumentError),
        (lambda s, v: s.adaptive_p(0.5, 1.0), InvalidArgumentError),
        (lambda s, v: s.penalties(32_000, -1), InvalidArgumentError),
        (lambda s, v: s.penalties(32_000, 2**31 - 1), InvalidArgumentError),
        (lambda s, v: s.penalties(32_000, 64, 0.0), InvalidArgumentError),
        (lambda s, v: s.penalties(32_000, 64, 1.0, NAN), InvalidArgumentError),
        (lambda s, v: s.dry(v, NAN), InvalidArgumentError),
        (lambda s, v: s.dry(v, 1.0, penalty_last_n=2**31 - 1), InvalidArgumentError),
        (lambda s, v: s.dry(v, 1.0, seq_breakers="abc"), ArgumentTypeError),
        (lambda s, v: s.dry(v, 1.0, seq_breakers=["a" * 41]), SamplerError),
        (lambda s, v: s.dry(v, 1.0, seq_breakers=["a\0b"]), InvalidArgumentError),
        (lambda s, v: s.logit_bias(32_000, {32_000: 1.0}), TokenRangeError),
        (lambda s, v: s.logit_bias(32_000, {-1: 1.0}), TokenRangeError),
        (lambda s, v: s.logit_bias(32_000, {1: NAN}), InvalidArgumentError),
        (lambda s, v: s.logit_bias(32_000, {1: INF}), InvalidArgumentError),
        (lambda s, v: s(lf.raw.ffi.NULL), SamplerError),
        (lambda s, v: s.grammar("v", YES_OR_NO), ArgumentTypeError),
        (lambda s, v: s.grammar(v, 5), ArgumentTypeError),
        (lambda s, v: s.infill(None), ArgumentTypeError),
        (lambda s, v: s.dry("v", 1.0), ArgumentTypeError),
        (lambda s, v: s.dry(v, 1.0, seq_breakers=None), ArgumentTypeError),
        (lambda s, v: s.logit_bias(10, [(1, 2.0)]), ArgumentTypeError),
        (lambda s, v: s.grammar_lazy(v, YES_OR_NO, trigger_patterns=None), ArgumentTypeError),
        (lambda s, v: s.grammar_lazy(v, YES_OR_NO, trigger_patterns="abc"), ArgumentTypeError),
        (lambda s, v: s.grammar_lazy(v, YES_OR_NO, trigger_patterns=[b"abc"]), ArgumentTypeError),
        (lambda s, v: s.grammar_lazy(v, YES_OR_NO, trigger_tokens=5), ArgumentTypeError),
    ],
)
def test_arguments_that_no_sampler_takes(
    random_model: lf.Model, make: Callable[[type[lf.Sampler], lf.Vocab], lf.Sampler], error: type[Exception]
) -> None:
    with pytest.raises(error):
        make(lf.Sampler, random_model.vocab)


def test_accept_checks_the_token(random_model: lf.Model) -> None:
    chain = lf.SamplerChain().add_grammar_lazy(random_model.vocab, YES_OR_NO, trigger_tokens=[5])
    chain.add_adaptive_p(-1.0)
    for token in (-1, 32_000):
        with pytest.raises(TokenRangeError):
            chain.accept(token)
    chain.accept(31_999)


# --- grammars ----------------------------------------------------------------------------------------

BAD_GRAMMARS = {
    "": "empty",
    "root ::= ": "",
    'root ::= "a': "line 1",
    'start ::= "a"': "no rule 'root'",
    "root ::= missing": "'missing', which is not defined",
    'root ::= root "a" | "b"': "left-recursive",
    'root ::= x root "y" | "z"\nx ::= y\ny ::= ""': "left-recursive",
    "root ::= [a-": "line 1",
    'root ::= "a"{99999}': "2000 repetitions",
    "root ::= " + "(" * 5000 + '"a"' + ")" * 5000: "nested parentheses",
    'root ::= "\\q"': "unknown escape",
    'root ::= "a"\nroot = "b"': "line 2",
    "root ::= <no such token>": "",
    "root ::= <[5]": "'<token>' expected",
    'root ::= "a\0b"': "NUL",
}


@pytest.mark.parametrize("grammar", BAD_GRAMMARS)
def test_bad_grammars(random_model: lf.Model, capfd: pytest.CaptureFixture[str], grammar: str) -> None:
    if grammar == "root ::= ":
        lf.Sampler.grammar(random_model.vocab, grammar)  # the empty text is a grammar too
        return
    with pytest.raises((GrammarError, InvalidArgumentError)) as caught:
        lf.Sampler.grammar(random_model.vocab, grammar)
    assert BAD_GRAMMARS[grammar] in str(caught.value)
    if BAD_GRAMMARS[grammar]:
        assert capfd.readouterr().err == ""  # llama.cpp prints parse errors on stderr


def _chain_of_rules(count: int) -> str:
    return "\n".join(f"r{i} ::= r{i + 1}" for i in range(count)) + f'\nr{count} ::= "x"'


def _twofold_rules(count: int) -> str:
    return "\n".join(f"r{i} ::= r{i + 1} | r{i + 1}" for i in range(count)) + f'\nr{count} ::= "x"'


HEAVY_GRAMMARS = {
    "deep": (_chain_of_rules(5000), "deep"),
    "exponential": (_twofold_rules(40), "too many ways"),
    "exponential, inner rules first": ("\n".join(_twofold_rules(40).split("\n")[::-1]), "too many ways"),
    "repeated": ('r0 ::= a{0,2000}\na ::= "x" |', "deep"),
    "repeated behind a character": ('r0 ::= "y" a{0,2000}\na ::= "x" |', "deep"),
    "repeated repetitions": (
        'r0 ::= | a{2000}\na ::= | b{2000}\nb ::= | c{2000}\nc ::= | "x"',
        "too many ways",
    ),
    "begins with itself and ends": ('r0 ::= b\nb ::= r0 | "x"', "left-recursive"),
    "many rules": ("\n".join(f'r{i} ::= "x"' for i in range(11_000)), "more than 10000 rules"),
    "deep enough": (_chain_of_rules(490), ""),
    "many ways": (_twofold_rules(18), ""),
    "long repetitions": ('r0 ::= "y" a{0,2000} a{1000,2000} [0-9]{0,2000}\na ::= "x"', ""),
    "many that can be empty": (
        "\n".join(f'r{i} ::= "x" | "y" r{i + 1}?' for i in range(9000)) + '\nr9000 ::= "z"?',
        "",
    ),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", HEAVY_GRAMMARS)
def test_grammars_that_llama_cpp_would_check_for_too_long(random_model: lf.Model, name: str) -> None:
    grammar, says = HEAVY_GRAMMARS[name]
    caught: list[BaseException] = []

    def make() -> None:
        try:
            lf.Sampler.grammar(random_model.vocab, grammar, "r0").close()
        except GrammarError as error:
            caught.append(error)

    before = threading.stack_size(512 * 1024)  # what libllama recurses on
    try:
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert [says in str(error) for error in caught] == ([True] if says else [])


def test_the_grammars_of_the_source_are_good(source: object, random_model: lf.Model) -> None:
    from llama_ffi._core import gbnf

    for name in ("json", "list", "arithmetic", "chess", "c", "english", "japanese", "json_arr"):
        path = source / "grammars" / f"{name}.gbnf"  # type: ignore[operator]
        if path.exists():
            lf.Sampler.grammar(random_model.vocab, path.read_text(encoding="utf-8")).close()
    assert gbnf.read('root ::= (a? b?)* "x"\na ::= "1"\nb ::= "2"', "root").uses_tokens is False


def test_a_grammar_shapes_the_text(ready: lf.Context) -> None:
    vocab = ready.model.vocab
    for seed in range(8):
        chain = lf.SamplerChain().add_grammar(vocab, YES_OR_NO).add_dist(seed)
        text = b""
        for _ in range(8):
            token = chain.sample(ready)
            if vocab.is_eog(token):
                break
            text += vocab.piece(token)
        assert text in (b"yes", b"no")
        assert vocab.is_eog(token)


def test_what_a_grammar_refuses_changes_nothing(ready: lf.Context) -> None:
    vocab = ready.model.vocab
    chain = lf.SamplerChain().add_grammar(vocab, 'root ::= "yes"').add_penalties(32_000, 64, 1.5).add_greedy()
    wrong = vocab.tokenize("x", add_special=False)[-1]
    for token in (wrong, vocab.eos, 0):
        assert token is not None
        with pytest.raises(GrammarError, match="refuses"):
            chain.accept(token)
    text = b""
    for _ in range(3):
        token = chain.sample(ready)
        text += vocab.piece(token)
        if text == b"yes":
            break
    assert text == b"yes"
    with pytest.raises(GrammarError):
        chain.accept(wrong)
    assert vocab.is_eog(chain.sample(ready))
    chain.reset()
    assert vocab.piece(chain.sample(ready)).startswith(b"y")


def test_a_grammar_that_names_tokens(ready: lf.Context) -> None:
    """llama.cpp says yes to a token that begins before the place where it is named, and then throws."""
    vocab = ready.model.vocab
    yes = token_of(vocab, b"yes")
    chain = lf.SamplerChain().add_grammar(vocab, f'root ::= "y" <[{yes}]> "!" | <s> [0-9]').add_greedy()
    with pytest.raises(GrammarError, match="refuses"):
        chain.accept(yes)
    chain.accept(token_of(vocab, b"y"))
    chain.accept(yes)
    assert vocab.piece(chain.sample(ready)) == b"!"
    chain.reset()
    assert vocab.bos is not None
    chain.accept(vocab.bos)
    assert vocab.piece(chain.sample(ready)).isdigit()


def test_nothing_left_to_choose(ready: lf.Context) -> None:
    vocab = ready.model.vocab
    everything = {token: float("-inf") for token in range(32_000)}
    chain = lf.SamplerChain().add_grammar(vocab, YES_OR_NO).add_logit_bias(32_000, everything).add_dist(1)
    with pytest.raises(NoTokenSelectedError, match="forbidden"):
        chain.sample(ready)
    adaptive = lf.SamplerChain().add_grammar(vocab, YES_OR_NO).add_logit_bias(32_000, everything)
    adaptive.add_adaptive_p(0.5, seed=1)
    with pytest.raises((NoTokenSelectedError, GrammarError)):
        adaptive.sample(ready)
    adaptive.clone().accept(token_of(vocab, b"yes"))  # its memory of the selection would crash here


def test_lazy_grammars(ready: lf.Context) -> None:
    vocab = ready.model.vocab

    def accept(chain: lf.SamplerChain, text: str) -> None:
        for token in vocab.tokenize(text, add_special=False):
            chain.accept(token)

    def finish(chain: lf.SamplerChain) -> bytes:
        text = b""
        while not vocab.is_eog(token := chain.sample(ready)):
            text += vocab.piece(token)
        return text

    pattern = lf.SamplerChain().add_grammar_lazy(
        vocab, 'root ::= "[yes" | "[no"', trigger_patterns=[r"answer: (\[)"]
    )
    pattern.add_top_k(1000).add_dist(4)
    assert pattern.names[0] == "grammar"
    copy = pattern.clone()
    accept(pattern, "some text before the answer: [")
    assert finish(pattern) in (b"yes", b"no")
    pattern.reset()
    accept(pattern, "anything goes again, [maybe")
    accept(copy, "this one is still waiting")
    with pytest.raises(GrammarError, match="refuses"):
        accept(pattern, "answer: [x")
    late = lf.SamplerChain().add_grammar_lazy(vocab, 'root ::= "abc"', trigger_patterns=["(x)..."])
    accept(late, "wx")
    accept(late, "yz"[:1])
    with pytest.raises(GrammarError, match="the text that triggered it"):
        accept(late, "zzzz")

    trigger = token_of(vocab, b"yes")
    by_token = lf.SamplerChain().add_grammar_lazy(vocab, 'root ::= [ ]? "yes" "!"', trigger_tokens=[trigger])
    by_token.add_greedy()
    accept(by_token, "no no")
    by_token.accept(trigger)
    assert finish(by_token) == b"!"

    with pytest.raises(GrammarError, match="regular expression"):
        lf.SamplerChain().add_grammar_lazy(vocab, YES_OR_NO, trigger_patterns=["(("])
    with pytest.raises(TokenRangeError):
        lf.SamplerChain().add_grammar_lazy(vocab, YES_OR_NO, trigger_tokens=[32_000])


def test_a_long_wait_for_a_trigger(random_model: lf.Model) -> None:
    """llama.cpp's std::regex overflows the stack on this."""
    chain = lf.SamplerChain().add_grammar_lazy(
        random_model.vocab, YES_OR_NO, trigger_patterns=[r"^[\s\S]*?(xyzzy)[\s\S]*"]
    )
    word = random_model.vocab.tokenize("everything", add_special=False)[-1]
    for _ in range(300):
        chain.accept(word)


# --- any chain at all --------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_chain_of_any_samplers_kills(random_model: lf.Model, data: st.DataObject) -> None:
    makers = all_samplers(random_model.vocab)
    with random_model.context(n_ctx=256, n_batch=8, n_threads=1) as ctx, lf.SamplerChain() as chain:
        ctx.decode(lf.Batch.from_tokens([1, data.draw(st.integers(0, 31_999))]))
        for _ in range(data.draw(st.integers(1, 10))):
            step = data.draw(st.sampled_from(["add", "add", "sample", "accept", "reset", "clone", "remove"]))
            try:
                if step == "add":
                    name = data.draw(
                        st.sampled_from([each for each in NAMES if each not in ("infill", "dry")])
                    )
                    chain.add(makers[name]())
                elif step == "sample":
                    assert 0 <= chain.sample(ctx) < 32_000
                elif step == "accept":
                    chain.accept(data.draw(st.integers(0, 31_999)))
                elif step == "reset":
                    chain.reset()
                elif step == "clone":
                    with chain.clone() as copy:
                        copy.sample(ctx)
                else:
                    chain.remove(data.draw(st.integers(0, 3))).close()
            except (SamplerError, NoTokenSelectedError, InvalidArgumentError):
                pass
