"""What the references are made of: parts of transformers, in numpy and float64, written from the papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = Callable[..., Array]
"""Gives a tensor by its name and shape."""


def softmax(x: Array) -> Array:
    """Return x's exponentials, normed over the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    result: Array = e / e.sum(axis=-1, keepdims=True)
    return result


def silu(x: Array) -> Array:
    """Return x · σ(x)."""
    result: Array = x / (1 + np.exp(-x))
    return result


def gelu(x: Array) -> Array:
    """Return GELU in the approximation by tanh (Hendrycks and Gimpel, 2016)."""
    result: Array = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return result


def rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    """Return x in units of its root mean square (Zhang and Sennrich, 2019)."""
    result: Array = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon) * weight
    return result


def layer_norm(x: Array, weight: Array, bias: Array, epsilon: float) -> Array:
    """Return x with mean 0 and variance 1 (Ba et al., 2016)."""
    centred = x - x.mean(axis=-1, keepdims=True)
    result: Array = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon) * weight + bias
    return result


def rotate(x: Array, positions: Any, base: float, factors: Array) -> Array:
    """Return heads (token, head, width) with neighbouring pairs turned by position (Su et al., 2021)."""
    width = x.shape[-1]
    frequencies = base ** (-np.arange(0, width, 2) / width) / factors
    angles = np.asarray(positions)[:, None, None] * frequencies
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = np.empty_like(x)
    turned[..., 0::2] = even * np.cos(angles) - odd * np.sin(angles)
    turned[..., 1::2] = even * np.sin(angles) + odd * np.cos(angles)
    return turned


def attention(q: Array, k: Array, v: Array, causal: bool) -> Array:
    """Return softmax(q·k/√width)·v for heads (token, head, width); several q heads may share a k head."""
    shared = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, shared, axis=1), np.repeat(v, shared, axis=1)
    scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(q.shape[-1])
    if causal:
        count = scores.shape[-1]
        scores = np.where(np.tril(np.ones((count, count), bool)), scores, -np.inf)
    mixed: Array = np.einsum("hqk,khd->qhd", softmax(scores), v).reshape(q.shape[0], -1)
    return mixed
