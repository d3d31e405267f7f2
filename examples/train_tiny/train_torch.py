"""Train the small model with PyTorch on the CPU: the program that made the file that ships.

    python -m examples.train_tiny.train_torch --out tiny.gguf

Same texts, vocabulary, network and start values as train.py; what differs is the optimizer's batch (several
sequences per step), clipped gradients and a trained token embedding. llama.cpp creates the model from
metadata and takes its weights from a callback.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from . import corpus, modelfile
from .modelfile import Shape

REPORT = 200  # steps between two reports; each measures the held-out stories and saves the file
WARM_UP = 100  # steps


class Network:
    """Compute what llama.cpp computes for the llama architecture, on weights under their GGUF names."""

    def __init__(self, shape: Shape, n_vocab: int, seed: int) -> None:
        self.shape = shape
        wide = (shape.n_embd, shape.n_embd)
        sizes: dict[str, tuple[int, ...]] = {"token_embd": (n_vocab, shape.n_embd)}
        for layer in range(shape.n_layer):
            sizes |= {f"blk.{layer}.{name}": wide for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
            sizes |= {f"blk.{layer}.{name}": (shape.n_ff, shape.n_embd) for name in ("ffn_gate", "ffn_up")}
            sizes |= {f"blk.{layer}.ffn_down": (shape.n_embd, shape.n_ff)}
            sizes |= {f"blk.{layer}.{name}": (shape.n_embd,) for name in ("attn_norm", "ffn_norm")}
        sizes |= {"output_norm": (shape.n_embd,), "output": (n_vocab, shape.n_embd)}
        values = modelfile.random_values(shape, seed)
        self.weights = {
            name: torch.tensor(values(f"{name}.weight", math.prod(size))).view(size).requires_grad_()
            for name, size in sizes.items()
        }
        half = torch.arange(0, shape.head_dim, 2) / shape.head_dim
        angles = torch.arange(shape.n_ctx)[:, None] * 10000.0**-half
        self._cos, self._sin = angles.cos(), angles.sin()

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return (rows, length, n_vocab) logits of (rows, length) tokens."""
        weights, shape = self.weights, self.shape
        rows, length = tokens.shape
        x = weights["token_embd"][tokens]
        for layer in range(shape.n_layer):
            block = {name: weights[f"blk.{layer}.{name}"] for name in _BLOCK}
            h = _norm(x, block["attn_norm"])
            query, key, value = (
                (h @ block[name].T).view(rows, length, shape.n_head, shape.head_dim).transpose(1, 2)
                for name in ("attn_q", "attn_k", "attn_v")
            )
            mixed = F.scaled_dot_product_attention(self._rope(query), self._rope(key), value, is_causal=True)
            x = x + mixed.transpose(1, 2).reshape(rows, length, shape.n_embd) @ block["attn_output"].T
            h = _norm(x, block["ffn_norm"])
            x = x + (F.silu(h @ block["ffn_gate"].T) * (h @ block["ffn_up"].T)) @ block["ffn_down"].T
        return _norm(x, weights["output_norm"]) @ weights["output"].T

    def _rope(self, x: torch.Tensor) -> torch.Tensor:
        """Turn neighbouring pairs by their position, as llama.cpp does for this architecture."""
        even, odd = x[..., 0::2], x[..., 1::2]
        cos, sin = self._cos[: x.shape[-2]], self._sin[: x.shape[-2]]
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)

    def save(self, data: corpus.Corpus, path: Path) -> None:
        """Write the GGUF file through llama.cpp."""
        weights = self.weights
        with modelfile.create(
            self.shape,
            data.vocab,
            lambda name, _: weights[name.removesuffix(".weight")].detach().numpy(),
        ) as model:
            modelfile.save(model, self.shape, data.vocab, path)


_BLOCK = (
    "attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down",
)  # fmt: skip


def _norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * weight


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the rate at a step: a linear rise, then a cosine down to 1/50 of the peak."""
    if step < WARM_UP:
        return peak * (step + 1) / WARM_UP
    done = (step - WARM_UP) / max(1, steps - WARM_UP)
    return peak * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


def main() -> None:
    """Run the training as the command line says."""
    parser = argparse.ArgumentParser(description="Train the small model that ships, with PyTorch.")
    parser.add_argument("--out", type=Path, default=Path("tiny.gguf"), help="the file to write")
    parser.add_argument("--steps", type=int, default=4800, help="training steps")
    parser.add_argument("--rows", type=int, default=2, help="sequences per step")
    parser.add_argument("--peak", type=float, default=1.5e-3, help="highest learning rate")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights and texts")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    shape = Shape()
    data = corpus.load()
    rng = random.Random(options.seed)
    network = Network(shape, len(data.vocab.tokens), options.seed)
    optimizer = torch.optim.AdamW(list(network.weights.values()), betas=(0.9, 0.98), weight_decay=0.0)
    fixed = random.Random(0)
    kept = [data.held_out_sequence(fixed, shape.n_ctx) for _ in range(16)]

    def loss(pairs: list[corpus.Pair]) -> torch.Tensor:
        tokens = torch.stack([torch.tensor(row, dtype=torch.long) for row, _ in pairs])
        labels = torch.stack([torch.tensor(row, dtype=torch.long) for _, row in pairs])
        return F.cross_entropy(network.logits(tokens).flatten(0, 1), labels.flatten())

    entropy, words, _ = data.stories.stats()
    print(f"grammar: {entropy / (words + 1):.4f} nats per token of a story", flush=True)
    start, total = time.monotonic(), 0.0
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options.steps, options.peak)
        mean = loss([data.sequence(rng, shape.n_ctx) for _ in range(options.rows)])
        optimizer.zero_grad()
        mean.backward()
        torch.nn.utils.clip_grad_norm_(network.weights.values(), 1.0)
        optimizer.step()
        total += mean.item()
        if (step + 1) % REPORT == 0 or step + 1 == options.steps:
            with torch.no_grad():
                held_out = loss(kept).item()
            network.save(data, options.out)
            seconds = time.monotonic() - start
            speed = (step + 1) * options.rows * shape.n_ctx / seconds
            print(
                f"step {step + 1} rate {group['lr']:.2e} train {total / REPORT:.4f} held-out {held_out:.4f} "
                f"nats/token, {seconds:.0f} s, {speed:.0f} tokens/s",
                flush=True,
            )
            total = 0.0


if __name__ == "__main__":
    main()
