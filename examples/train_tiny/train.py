"""Train the small model with llama.cpp's own optimizer, through `llama_ffi.Trainer`.

    python -m examples.train_tiny.train --out tiny.gguf

Each step is one sequence of n_ctx packed tokens, always fresh ones.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterable
from pathlib import Path

import llama_ffi as lf

from . import corpus, modelfile

CHUNK = 32  # steps that are drawn, and averaged, together
REPORT = 10  # chunks between two reports; each measures the held-out stories and saves the file
WARM_UP = 200  # steps


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the rate at a step: it rises, stays at the peak, and falls to 1/50 over the last 30 %."""
    rise = min(1.0, (step + 1) / WARM_UP)
    fall = min(1.0, (steps - step) / (0.3 * steps))
    return peak * rise * (0.02 + 0.98 * fall)


def dataset(pairs: Iterable[corpus.Pair]) -> lf.Dataset:
    """Return sequences of tokens and labels as a dataset."""
    tokens, labels = zip(*pairs, strict=True)
    return lf.Dataset(tokens, labels)


def main() -> None:
    """Run the training as the command line says."""
    parser = argparse.ArgumentParser(description="Train the small model with llama.cpp's optimizer.")
    parser.add_argument("--out", type=Path, default=Path("tiny.gguf"), help="the file to write")
    parser.add_argument("--steps", type=int, default=3200, help="training steps of n_ctx tokens")
    parser.add_argument("--peak", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--threads", type=int, default=1, help="threads of llama.cpp")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights and texts")
    options = parser.parse_args()

    shape = modelfile.Shape()
    data = corpus.load()
    rng = random.Random(options.seed)
    fixed = random.Random(0)
    held_out_rows = dataset(data.held_out_sequence(fixed, shape.n_ctx) for _ in range(CHUNK))
    entropy, words, _ = data.stories.stats()
    print(f"grammar: {entropy / (words + 1):.4f} nats per token of a story", flush=True)
    start = time.monotonic()
    losses: list[float] = []
    with (
        modelfile.create(shape, data.vocab, modelfile.random_values(shape, options.seed)) as model,
        lf.Trainer(model, shape.n_ctx, trained=modelfile.is_weight, n_threads=options.threads) as trainer,
    ):
        while trainer.step < options.steps:
            rows = dataset(data.sequence(rng, shape.n_ctx) for _ in range(CHUNK))
            progress = trainer.train(rows, lambda step: learning_rate(step, options.steps, options.peak))
            losses.append(progress.loss)
            if len(losses) % REPORT and trainer.step < options.steps:
                continue
            held_out = trainer.measure(held_out_rows)
            modelfile.save(model, shape, data.vocab, options.out)
            speed = trainer.step * shape.n_ctx / (time.monotonic() - start)
            mean = sum(losses[-REPORT:]) / len(losses[-REPORT:])
            print(
                f"step {trainer.step} train {mean:.4f} held-out {held_out.loss:.4f} nats/token "
                f"({held_out.accuracy:.0%} right), {speed:.0f} tokens/s",
                flush=True,
            )


if __name__ == "__main__":
    main()
