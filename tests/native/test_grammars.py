"""Grammars: what they refuse, what they let through, and what makes llama.cpp run for ever."""

from __future__ import annotations

import threading

import pytest

import llama_ffi as lf
from llama_ffi.errors import (
    GrammarError,
    InvalidArgumentError,
    NoTokenSelectedError,
)
from tests.native.samplers import YES_OR_NO, token_of

pytestmark = pytest.mark.native


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


DOUBLING = [
    'root ::= "a" root "b" | "a" root "c" | "d"',
    'root ::= "(" root ")" | "(" root ")" "*" root | [0-9]+',
    'root ::= [a-z] x | "-"\nx ::= [k-z] root "b" | [a-l] root "c"'.replace("[a-l]", "[a-m]"),
    'root ::= "%s" x | "c"\nx ::= root "1" | root "2"' % ("a" * 60),
    'root ::= ("a" root "b")* "a" root "c" | "d"',
    'root ::= "x" y | "z"\ny ::= ("k" | "l") root "1" | [j-m]{2,3} | "k" root? "2"',
    'root ::= <[5]> root "b" | <[5]> root "c" | "d"',
    'root ::= [^a] root "b" | . root "c" | "d"',
]
GROWING_SLOWLY = [
    'root ::= "a" root | "a" root "b" | "c"',
    'root ::= "a" root "b" | "a" root "b" | "c"'.replace('"a" root "b" | "a"', '"a" root "b" | "k"'),
    'root ::= "{" (pair ("," pair)*)? "}"\npair ::= "a" ":" root',
    'root ::= t ("+" t)*\nt ::= f ("*" f)*\nf ::= [0-9]+ | "(" root ")"',
    'root ::= "(" ws ws root ")" | "x"\nws ::= " "*',
    'root ::= "a"* "a"* "a"*',
    'root ::= (("a" "b")*)* "a" root "c" | "d"',
]


@pytest.mark.parametrize("grammar", DOUBLING)
def test_grammars_that_double_their_ways_are_refused(random_model: lf.Model, grammar: str) -> None:
    with pytest.raises(GrammarError, match="every round doubles"):
        lf.Sampler.grammar(random_model.vocab, grammar)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("grammar", GROWING_SLOWLY)
def test_grammars_that_only_look_alike_are_not(random_model: lf.Model, grammar: str) -> None:
    vocab = random_model.vocab
    chain = lf.SamplerChain().add_grammar(vocab, grammar)
    opening = {"(": 40, "a": 40, "{": 1}.get(next(c for c in "({a" if f'"{c}"' in grammar), 1)
    token = token_of(vocab, next(c for c in "({a" if f'"{c}"' in grammar).encode())
    for _ in range(opening):
        try:
            chain.accept(token)
        except GrammarError:
            break


def test_long_and_odd_texts(random_model: lf.Model) -> None:
    vocab = random_model.vocab
    for grammar, says in (
        ('root ::= "' + "a" * 10_000_000 + '"', "10000011 characters"),
        ("root ::= " + '"ab" | ' * 1_500_000, "characters"),
        ('root ::= "\udcff"', "UTF-8"),
        ("root ::= [\ud800]", "UTF-8"),
        ('root ::= "a"{0,99999999999999999999}', "repetitions"),
        ('root ::= "a"{99999999999999999999,}', "repetitions"),
        ('root ::= ("a"{2000}){2000}{2000}', ""),
        ("root ::= undefined", "not defined"),
        ("\n" * 1000 + "root ::= (", "line 1001"),
    ):
        with pytest.raises((GrammarError, InvalidArgumentError)) as caught:
            lf.Sampler.grammar(vocab, grammar)
        assert says in str(caught.value)


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
