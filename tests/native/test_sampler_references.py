"""Samplers against numpy: exactly where nothing is random, by χ² over 20,000 draws where something is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from tests.native import reference_samplers as reference

pytestmark = pytest.mark.native

DRAWS = 20_000
SIZES = (1, 2, 7, 100, 1024, 1025, 5000)
"""llama.cpp sorts in place up to 128, in buckets above it, and looks at a part first above 1024."""


def logits_of(seed: int, size: int, spread: float = 3.0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(0, spread, size).astype(np.float32)


def applied(chain: lf.SamplerChain, logits: Any) -> lf.Candidates:
    with chain:
        return chain.apply(lf.Candidates(logits))


def as_dict(candidates: lf.Candidates) -> dict[int, float]:
    return dict(zip(candidates.ids.tolist(), candidates.logits.astype(float).tolist(), strict=True))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "args"),
    [
        *[("top_k", (k,)) for k in (0, 1, 5, 128, 129, 600, 10_000)],
        *[("top_p", args) for args in ((0.0,), (0.3,), (0.9,), (0.99,), (1.0,), (0.1, 30))],
        *[("min_p", args) for args in ((1e-6,), (0.02,), (0.5,), (1.0,), (0.9, 30))],
        *[("typical", args) for args in ((0.05,), (0.5,), (0.95,), (0.1, 30))],
        *[("xtc", args) for args in ((0.001,), (0.05,), (0.4,), (0.001, 4000))],
        *[("top_n_sigma", (n,)) for n in (0.5, 1.0, 3.0)],
        *[("temp", (t,)) for t in (0.3, 1.0, 7.0, 0.0, -1.0)],
        *[("logit_bias", ({0: 2.5, 1: -math.inf, 4: -3.0, 6: 100.0},))],
        *[("temp_ext", args) for args in ((0.8, 0.5, 1.0), (1.0, 1.0, 2.0), (0.5, 0.1, 0.3))],
    ],
    ids=str,
)
def test_what_is_left_and_with_which_logit(name: str, args: tuple[Any, ...], size: int) -> None:
    logits = logits_of(size, size)
    if name == "logit_bias":
        args = ({token: bias for token, bias in args[0].items() if token < size},)
        chain = lf.SamplerChain().add_logit_bias(size, *args)
    elif name == "xtc":
        chain = lf.SamplerChain().add_xtc(1.0, *args, seed=1)
    else:
        chain = getattr(lf.SamplerChain(), f"add_{name}")(*args)
    got = as_dict(applied(chain, logits))
    if size == 1 and name in ("temp_ext",):
        expected = reference.as_dict(logits)
    else:
        expected = getattr(reference, name)(reference.as_dict(logits), *args)
    assert set(got) == set(expected)
    if name == "temp_ext":
        assert [got[token] for token in expected] == pytest.approx(list(expected.values()), rel=1e-4)
    else:
        assert got == expected


@pytest.mark.parametrize("seed", range(5))
def test_a_chain_as_people_use_it(seed: int) -> None:
    logits = logits_of(seed, 3000)
    chain = lf.SamplerChain().add_logit_bias(3000, {7: 4.0}).add_top_k(200).add_typical(0.9).add_top_p(0.95)
    got = as_dict(applied(chain.add_min_p(0.05).add_temp(0.8), logits))
    left = reference.logit_bias(reference.as_dict(logits), {7: 4.0})
    for step, *args in (
        (reference.top_k, 200),
        (reference.typical, 0.9),
        (reference.top_p, 0.95),
        (reference.min_p, 0.05),
        (reference.temp, 0.8),
    ):
        left = step(left, *args)  # type: ignore[operator]
    assert got == left


def test_probabilities_are_those_of_the_logits() -> None:
    logits = logits_of(1, 50)
    candidates = applied(lf.SamplerChain().add_dist(1), logits)
    expected = reference.probabilities(reference.as_dict(logits))
    assert candidates.p.tolist() == pytest.approx(list(expected.values()), rel=1e-5)
    candidates.p[:] = 0
    assert candidates.softmax().tolist() == pytest.approx(list(expected.values()), rel=1e-5)


# --- what was accepted ---

TOKENS = st.lists(st.integers(0, 5), max_size=60)
REAL = st.floats(0.25, 4.0, width=32)


@settings(max_examples=100, deadline=None)
@given(TOKENS, st.integers(0, 40), REAL, REAL, REAL, st.integers(0, 99))
def test_penalties(
    accepted: list[int], last_n: int, repeat: float, freq: float, present: float, seed: int
) -> None:
    logits = logits_of(seed, 8)
    with lf.SamplerChain().add_penalties(8, last_n, repeat, freq, present) as chain:
        for token in accepted:
            chain.accept(token)
        got = as_dict(chain.apply(lf.Candidates(logits)))
    expected = reference.penalties(reference.as_dict(logits), accepted, last_n, repeat, freq, present)
    assert got == pytest.approx(expected, rel=1e-6)


@pytest.fixture(scope="module")
def breakers(random_model: lf.Model) -> frozenset[int]:
    vocab = random_model.vocab
    return frozenset(token for token in range(vocab.n_tokens) if b"\n" in vocab.piece(token, special=True))


@pytest.mark.parametrize("breaks", [False, True])
def test_dry(random_model: lf.Model, breakers: frozenset[int], breaks: bool) -> None:
    newline = min(breakers)
    logits = logits_of(3, 300)
    start = lf.Sampler.dry(random_model.vocab, 0.8, 1.75, 2, 64, ["\n"] if breaks else [])

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.sampled_from([newline, 100, 101, 102]), max_size=90))
    def compare(accepted: list[int]) -> None:
        with lf.SamplerChain().add(start.clone()) as chain:
            for token in accepted:
                chain.accept(token)
            got = as_dict(chain.apply(lf.Candidates(logits)))
        expected = reference.dry(
            reference.as_dict(logits), accepted, 0.8, 1.75, 2, 64, breakers if breaks else frozenset()
        )
        assert got == expected

    compare()


def test_infill(random_model: lf.Model) -> None:
    vocab = random_model.vocab
    eot = vocab.eot if vocab.eot is not None else vocab.eos
    assert eot is not None
    words = [
        token
        for text in ("a an and any", "the then there", "x", "in into")
        for token in vocab.tokenize(text, add_special=False)
    ]
    seen = set()
    for seed in range(60):
        random = np.random.default_rng(seed)
        ids = np.unique(random.choice([*words, eot], 8))
        values = random.normal(0, 2.5, ids.size).astype(np.float32)
        values[ids == eot] -= np.float32(3.0)
        with lf.SamplerChain().add_infill(vocab) as chain:
            got = chain.apply(lf.Candidates(values, ids))
        start = dict(zip(ids.tolist(), values.astype(float).tolist(), strict=True))
        expected = reference.infill(start, vocab.piece, vocab.is_eog, eot)
        assert as_dict(got) == expected
        seen.add((len(expected), eot in expected))
    assert len(seen) > 3, "several of its branches were taken"


# --- what is random ---


def drawn(chain: lf.SamplerChain, logits: Any) -> Counter[int | None]:
    start = lf.Candidates(logits)
    with chain:
        return Counter(chain.apply(start.copy()).token for _ in range(DRAWS))


Distribution = Callable[[reference.Logits], dict[int, float]]

RANDOM: dict[str, tuple[Callable[[int], lf.SamplerChain], Distribution]] = {
    "dist": (lambda n: lf.SamplerChain().add_dist(1), reference.probabilities),
    "temp and dist": (
        lambda n: lf.SamplerChain().add_temp(2.0).add_dist(2),
        lambda logits: reference.probabilities(reference.temp(logits, 2.0)),
    ),
    "truncated": (
        lambda n: lf.SamplerChain().add_top_k(30).add_top_p(0.9).add_min_p(0.02).add_dist(3),
        lambda logits: reference.probabilities(
            reference.min_p(reference.top_p(reference.top_k(logits, 30), 0.9), 0.02)
        ),
    ),
    # a learning rate of 0 makes every draw a first one
    "mirostat": (
        lambda n: lf.SamplerChain().add_mirostat(n, 4, tau=2.5, eta=0.0, m=20),
        lambda logits: reference.mirostat(logits, len(logits), 2.5, 20),
    ),
    "mirostat_v2": (
        lambda n: lf.SamplerChain().add_mirostat_v2(5, tau=2.5, eta=0.0),
        lambda logits: reference.mirostat_v2(logits, 2.5),
    ),
    # nothing is accepted, so its average stays where it begins
    "adaptive_p": (
        lambda n: lf.SamplerChain().add_adaptive_p(0.3, 0.9, seed=6),
        lambda logits: reference.adaptive_p(logits, 0.3),
    ),
    "adaptive_p, off": (
        lambda n: lf.SamplerChain().add_adaptive_p(-1.0, seed=7),
        reference.probabilities,
    ),
}


@pytest.mark.parametrize("name", RANDOM)
def test_draws_follow_the_distribution(name: str) -> None:
    make, distribution = RANDOM[name]
    logits = logits_of(11, 60, 1.5)
    expected = distribution(reference.as_dict(logits))
    draws = drawn(make(60), logits)
    assert reference.chi_square_is_plausible(draws, expected)
    assert len(expected) > 3
    shares = list(expected.values())
    wrong = dict(zip(expected, shares[1:] + shares[:1], strict=True))
    assert not reference.chi_square_is_plausible(draws, wrong), "the test can fail"


def test_xtc_strikes_as_often_as_it_should() -> None:
    logits = logits_of(5, 30, 1.0)
    share = reference.probabilities(reference.as_dict(logits))
    struck = reference.probabilities(reference.xtc(reference.as_dict(logits), 0.08))
    expected = {token: 0.7 * share[token] + 0.3 * struck.get(token, 0.0) for token in share}
    draws = drawn(lf.SamplerChain().add_xtc(0.3, 0.08, seed=1).add_dist(2), logits)
    assert reference.chi_square_is_plausible(draws, expected)
    assert not reference.chi_square_is_plausible(draws, share)


def test_draws_from_a_context(ready: lf.Context) -> None:
    """The whole way: 20,000 times ``sample`` on a row of 32,000 logits."""
    logits = reference.as_dict(ready.logits())
    expected = reference.probabilities(reference.temp(reference.top_k(logits, 40), 1.5))
    chain = lf.SamplerChain().add_top_k(40).add_temp(1.5).add_dist(9)
    draws = Counter(chain.sample(ready) for _ in range(DRAWS))
    assert reference.chi_square_is_plausible(draws, expected)


def test_a_large_bias_makes_certain() -> None:
    """From 3.4e8 on llama.cpp's bucket sort would put the token last."""
    for size in (100, 5000):
        chain = lf.SamplerChain().add_temp(0.01).add_logit_bias(size, {5: 1e6}).add_temp(0.01).add_top_k(200)
        candidates = applied(chain.add_dist(1), logits_of(1, size))
        assert candidates.token == candidates.ids[0] == 5


def test_typical_behind_what_forbids() -> None:
    """llama.cpp's entropy is NaN where a candidate is forbidden, and sorting by NaN leaves any order."""
    logits = np.append(logits_of(2, 40), np.float32(-math.inf))
    expected = reference.typical(reference.as_dict(logits[:-1]), 0.5)
    assert as_dict(applied(lf.SamplerChain().add_min_p(1e-6).add_typical(0.5), logits)) == expected
    assert as_dict(applied(lf.SamplerChain().add_typical(0.5), logits)) != expected


def test_a_clone_of_adaptive_p_begins_its_random_numbers_anew() -> None:
    start = lf.Candidates(logits_of(1, 50, 1.0))

    def draw(chain: lf.SamplerChain) -> list[int | None]:
        return [chain.apply(start.copy()).token for _ in range(8)]

    chain = lf.SamplerChain().add_adaptive_p(0.3, 0.9, seed=5)
    first = draw(chain)
    assert draw(chain.clone()) == first != draw(chain)
