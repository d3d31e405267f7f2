"""llama.cpp's samplers again, in numpy: from logits to the distribution over tokens, in double precision.

Each takes and returns a dict {token: logit} that says what is left and with which logit. Written from the
papers and llama.h's descriptions; where C has a rule of its own (who stays at a threshold, what the last
one of XTC is) the rule is written down here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Logits = dict[int, float]


def probabilities(logits: Mapping[int, float]) -> dict[int, float]:
    values = np.array(list(logits.values()), np.float64)
    p = np.exp(values - values.max())
    p /= p.sum()
    return dict(zip(logits, p.tolist(), strict=True))


def descending(logits: Mapping[int, float]) -> list[int]:
    return sorted(logits, key=lambda token: -logits[token])


def only(logits: Logits, tokens: Iterable[int]) -> Logits:
    return {token: logits[token] for token in tokens}


# --- those that drop ---


def top_k(logits: Logits, k: int) -> Logits:
    return only(logits, descending(logits)[:k]) if k > 0 else logits


def top_p(logits: Logits, p: float, min_keep: int = 1) -> Logits:
    """The best tokens until their probabilities reach ``p``; the one that reaches it stays."""
    if p >= 1:
        return logits
    share, total, kept = probabilities(logits), 0.0, []
    for token in descending(logits):
        kept.append(token)
        total += share[token]
        if total >= p and len(kept) >= min_keep:
            break
    return only(logits, kept)


def min_p(logits: Logits, p: float, min_keep: int = 1) -> Logits:
    share = probabilities(logits)
    best = max(share.values())
    kept = [token for token in descending(logits) if share[token] >= p * best]
    return only(logits, kept if len(kept) >= min_keep else descending(logits)[:min_keep])


def typical(logits: Logits, p: float, min_keep: int = 1) -> Logits:
    """Tokens whose surprise is nearest to the entropy, until they have more than ``p``."""
    share = probabilities(logits)
    entropy = -sum(each * math.log(each) for each in share.values())
    total, kept = 0.0, []
    for token in sorted(share, key=lambda token: abs(-math.log(share[token]) - entropy)):
        kept.append(token)
        total += share[token]
        if total > p and len(kept) >= min_keep:
            break
    return only(logits, kept)


def xtc(logits: Logits, threshold: float, min_keep: int = 1) -> Logits:
    """What is left if it strikes: of the tokens above the threshold only the last."""
    share, order = probabilities(logits), descending(logits)
    above = sum(share[token] >= threshold for token in order)
    dropped = max(above - 1, 0)
    return only(logits, order[dropped:] if len(order) - dropped >= min_keep else order)


def top_n_sigma(logits: Logits, n: float) -> Logits:
    values = np.array(list(logits.values()), np.float64)
    least = values.max() - n * values.std()
    return {token: logit if logit >= least else -math.inf for token, logit in logits.items()}


def infill(logits: Logits, piece: Callable[[int], bytes], is_eog: Callable[[int], bool], eot: int) -> Logits:
    """Ends of generation if they are likely; else tokens that begin alike are one, and likely ones stay."""
    share, order = probabilities(logits), descending(logits)
    ends = sum(share[token] for token in order if is_eog(token))
    if 3 * ends * len(order) > 1 - ends:
        return only(logits, [token for token in order if is_eog(token)])
    gone: set[int] = set()
    for one in order:
        for other in order:
            if one in gone:
                break
            if other == one or other in gone or not piece(one) or not piece(other).startswith(piece(one)):
                continue
            into, out = (other, one) if share[other] > share[one] else (one, other)
            share[into] += share[out]
            share[out] = 0.0
            gone.add(out)
    kept = [token for token in order if is_eog(token) or share[token] >= 0.2]
    texts = sum(not is_eog(token) for token in kept)
    if not texts:
        return {eot: 1.0}
    total = sum(share[token] for token in kept)
    kept = [token for token in kept if is_eog(token) or share[token] / total >= 1 / (texts + 1)]
    return {token: -math.inf if token in gone else logits[token] for token in kept}


# --- those that change logits; in single precision, as C does it, to be compared exactly ---


def temp(logits: Logits, t: float) -> Logits:
    if t <= 0:
        best = max(logits, key=lambda token: logits[token])
        return {token: logit if token == best else -math.inf for token, logit in logits.items()}
    return {token: float(np.float32(logit) / np.float32(t)) for token, logit in logits.items()}


def temp_ext(logits: Logits, t: float, delta: float, exponent: float) -> Logits:
    """A temperature between t - delta and t + delta, the higher the evener the distribution is."""
    share = [each for each in probabilities(logits).values() if each > 0]
    evenness = -sum(each * math.log(each) for each in share) / math.log(len(logits))
    low = max(0.0, t - delta)
    now = low + (t + delta - low) * evenness**exponent
    return {token: logit / now for token, logit in logits.items()}


def logit_bias(logits: Logits, biases: Mapping[int, float]) -> Logits:
    return {
        token: float(np.float32(logit) + np.float32(biases.get(token, 0.0)))
        for token, logit in logits.items()
    }


def penalties(
    logits: Logits, accepted: Sequence[int], last_n: int, repeat: float, freq: float, present: float
) -> Logits:
    counts = Counter(accepted[-last_n:] if last_n else ())
    result = {}
    for token, logit in logits.items():
        value = np.float32(logit)
        if counts[token]:
            value = value * np.float32(repeat) if value <= 0 else value / np.float32(repeat)
            value -= np.float32(counts[token]) * np.float32(freq) + np.float32(present)
        result[token] = float(value)
    return result


def dry(
    logits: Logits,
    accepted: Sequence[int],
    multiplier: float,
    base: float,
    allowed_length: int,
    last_n: int,
    breakers: frozenset[int] = frozenset(),
) -> Logits:
    """What would continue a repetition of ``allowed_length`` or more tokens: multiplier * base ** excess.

    ``breakers``: tokens that no repetition reaches over, and that aren't penalized.
    """
    window = list(accepted[-last_n:])
    reach = next((i for i, token in enumerate(reversed(window)) if token in breakers), len(window))
    if len(window) <= allowed_length or reach < allowed_length:
        return logits
    longest: dict[int, int] = {}
    for end in range(1, len(window)):
        length = 0
        while length < min(end, reach) and window[end - 1 - length] == window[-1 - length]:
            length += 1
        if length >= allowed_length:
            longest[window[end]] = max(length, longest.get(window[end], 0))
    result = dict(logits)
    for token, length in longest.items():
        if token in result and token not in breakers:
            excess = length - allowed_length
            penalty = np.float32(float(np.float32(multiplier)) * float(np.float32(base)) ** excess)
            result[token] = float(np.float32(result[token]) - penalty)
    return result


# --- those that select: the distribution they draw from ---


def mirostat(logits: Logits, n_vocab: int, tau: float, m: int) -> dict[int, float]:
    """The first step of Mirostat 1: k from a Zipf exponent estimated on the best m tokens; mu is 2 * tau."""
    order = descending(logits)
    share = probabilities(logits)
    t = np.log([(i + 2) / (i + 1) for i in range(min(m, len(order)) - 1)])
    b = np.log([share[order[i]] / share[order[i + 1]] for i in range(min(m, len(order)) - 1)])
    s = float((t * b).sum() / (t * t).sum())
    epsilon = s - 1
    k = ((epsilon * 2 ** (2 * tau)) / (1 - n_vocab ** (-epsilon))) ** (1 / s)
    return probabilities(top_k(logits, max(int(k), 1)))


def mirostat_v2(logits: Logits, tau: float) -> dict[int, float]:
    """The first step of Mirostat 2: tokens with a surprise of at most mu = 2 * tau bits."""
    share = probabilities(logits)
    kept = [token for token in descending(logits) if -math.log2(share[token]) <= 2 * tau]
    return probabilities(only(logits, kept or descending(logits)[:1]))


def adaptive_p(logits: Logits, target: float) -> dict[int, float]:
    """The first step of adaptive-p: a peak around ``target``, quadratic near it and linear far from it."""
    if target < 0:
        return probabilities(logits)
    transformed = {}
    for token, share in probabilities(logits).items():
        distance = abs(share - target) / 0.3
        transformed[token] = 5.0 - 10.0 * distance * distance / (1.0 + distance)
    return probabilities(transformed)


# --- comparing ---


def chi_square_is_plausible(draws: Mapping[int, int], expected: Mapping[int, float]) -> bool:
    """Return whether a χ² test at 1:10,000 accepts the draws; rare tokens are taken together."""
    n = sum(draws.values())
    if set(draws) - set(expected):
        return False
    rows = sorted((share * n, draws.get(token, 0)) for token, share in expected.items())
    pooled: list[tuple[float, int]] = []
    few, seen = 0.0, 0
    for wanted, got in rows:
        few, seen = few + wanted, seen + got
        if few >= 5:
            pooled.append((few, seen))
            few, seen = 0.0, 0
    if few and pooled:
        wanted, got = pooled.pop()
        pooled.append((wanted + few, got + seen))
    degrees = len(pooled) - 1
    if degrees < 1:
        return True
    chi = sum((got - wanted) ** 2 / wanted for wanted, got in pooled)
    # Wilson and Hilferty's approximation of the quantile; 3.719 is that of the normal distribution
    return chi <= degrees * (1 - 2 / (9 * degrees) + 3.719 * math.sqrt(2 / (9 * degrees))) ** 3


def as_dict(values: NDArray[np.float32]) -> Logits:
    return dict(enumerate(values.astype(np.float64).tolist()))
