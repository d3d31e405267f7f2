"""Measure a model against the grammar that made its texts: both sides of every figure.

    python -m examples.train_tiny.evaluate [--model FILE] [--count N]

Run on the model that ships unless told otherwise. Uses the safe layer only.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import llama_ffi as lf

from . import corpus
from .grammar import Text, render

LIMIT = 128  # tokens after which a text that does not end counts as wrong
REPLY = ("<|im_start|>", "assistant", "<|im_sep|>")


@dataclass(frozen=True)
class Fit:
    """Hold the mean surprise of the model and of the grammar on the same texts, in nats per token."""

    model: float
    grammar: float

    @property
    def ratio(self) -> float:
        """Return the model's perplexity as a multiple of the grammar's own."""
        return math.exp(self.model - self.grammar)


@dataclass(frozen=True)
class Share:
    """Hold how many of the sampled texts the grammar's parser accepts and how many ended by themselves."""

    count: int
    accepted: int
    ended: int
    refused: tuple[str, ...]


def surprise(ctx: lf.Context, tokens: Sequence[int], first: int) -> float:
    """Return -log p(tokens[first:] | tokens[:first]) in nats under the model."""
    ctx.memory.clear()
    ctx.decode(lf.Batch.from_tokens(list(tokens[:-1]), logits="all"))
    total = 0.0
    for at in range(first, len(tokens)):
        row = ctx.logits(at - 1).astype(np.float64)
        top = row.max()
        total += float(top + np.log(np.exp(row - top).sum()) - row[tokens[at]])
    return total


def measure_stories(model: lf.Model, data: corpus.Corpus, count: int, seed: int) -> Fit:
    """Return the fit on held-out stories, every token after the begin token counted, the end token too."""
    rng = random.Random(seed)
    texts = [data.story(rng, held_out=True) for _ in range(count)]
    return _fit(model, data, texts, [data.stories.log_prob(t.words) for t in texts], 1)


def measure_chats(model: lf.Model, data: corpus.Corpus, count: int, seed: int) -> Fit:
    """Return the fit on chats, without the first token: the model is taught to begin with stories only."""
    rng = random.Random(seed)
    texts = [data.chats.sample(rng) for _ in range(count)]
    return _fit(model, data, texts, [data.chats.log_prob(t.words) for t in texts], 2)


def _fit(model: lf.Model, data: corpus.Corpus, texts: list[Text], known: list[float], first: int) -> Fit:
    total, tokens = 0.0, 0
    with model.context(n_ctx=256, n_batch=256, n_threads=1, n_threads_batch=1) as ctx:
        for text in texts:
            document = data.document(text)
            total += surprise(ctx, document, first)
            tokens += len(document) - first
    return Fit(total / tokens, -sum(known) / tokens)


def continue_tokens(ctx: lf.Context, prompt: Sequence[int], temp: float, seed: int) -> list[int]:
    """Return the tokens that the model adds to a prompt, the one that ends the text included."""
    ctx.memory.clear()
    vocab = ctx.model.vocab
    added: list[int] = []
    with lf.SamplerChain() as chain:
        chain.add_temp(temp)
        chain.add_dist(seed)
        batch = lf.Batch.from_tokens(list(prompt))
        while len(added) < LIMIT:
            ctx.decode(batch)
            added.append(chain.sample(ctx, -1))
            if vocab.is_eog(added[-1]):
                break
            batch = lf.Batch.from_tokens(added[-1:], pos0=len(prompt) + len(added) - 1)
    return added


def sample_stories(model: lf.Model, data: corpus.Corpus, count: int, temp: float, seed: int) -> Share:
    """Sample stories from the begin token alone and let the grammar judge them."""
    vocab = model.vocab
    accepted = ended = 0
    refused: list[str] = []
    with model.context(n_ctx=256, n_batch=256, n_threads=1, n_threads_batch=1) as ctx:
        for number in range(count):
            added = continue_tokens(ctx, vocab.tokenize("", add_special=True), temp, seed + number)
            ended += added[-1] == vocab.eos
            words = data.vocab.decode(added[:-1])
            if added[-1] == vocab.eos and data.stories.derivations(words):
                accepted += 1
            else:
                refused.append(render(words))
    return Share(count, accepted, ended, tuple(refused))


def sample_chats(model: lf.Model, data: corpus.Corpus, count: int, temp: float, seed: int) -> Share:
    """Let the model give the last answer of grammar-made chats; `ended` counts end-of-turn tokens."""
    rng = random.Random(seed)
    vocab = model.vocab
    accepted = ended = 0
    refused: list[str] = []
    with model.context(n_ctx=256, n_batch=256, n_threads=1, n_threads_batch=1) as ctx:
        for number in range(count):
            words = list(data.chats.sample(rng).words)
            starts = [i for i in range(len(words)) if tuple(words[i : i + 3]) == REPLY]
            asked = words[: starts[-1] + 3]
            prompt = [vocab.bos, *data.vocab.encode(asked)]
            added = continue_tokens(ctx, prompt, temp, seed + number)
            ended += added[-1] == vocab.eot
            whole = [*asked, *data.vocab.decode(added)]
            if data.chats.derivations(whole):
                accepted += 1
            else:
                refused.append(render(whole))
    return Share(count, accepted, ended, tuple(refused))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure a model against the grammar.")
    parser.add_argument("--model", type=Path, default=None, help="the file to measure")
    parser.add_argument("--count", type=int, default=400, help="held-out texts of each kind")
    parser.add_argument("--samples", type=int, default=100, help="texts to sample of each kind")
    parser.add_argument("--show", type=int, default=2, help="refused texts to show")
    options = parser.parse_args()
    data = corpus.load()
    entropy, length, derivations = data.stories.stats()
    print(f"stories: {derivations:.2e} derivations, {len(data.stories.vocabulary())} word types")
    rate = entropy / (length + 1)
    print(f"stories: {entropy:.2f} nats in {length + 1:.2f} tokens = {rate:.4f} nats per token")
    with lf.Model.load(options.model or lf.tiny_model_path()) as model:
        for name, fit in (
            ("held-out stories", measure_stories(model, data, options.count, 1)),
            ("chats", measure_chats(model, data, options.count, 2)),
        ):
            print(
                f"{name}: perplexity {math.exp(fit.model):.4f} model, {math.exp(fit.grammar):.4f} grammar, "
                f"ratio {fit.ratio:.4f}"
            )
        for temp in (0.7, 1.0):
            for name, share in (
                ("stories", sample_stories(model, data, options.samples, temp, 1000)),
                ("chats", sample_chats(model, data, options.samples, temp, 2000)),
            ):
                print(
                    f"{name} at temperature {temp}: {share.accepted} of {share.count} accepted, "
                    f"{share.ended} ended by themselves"
                )
                for text in share.refused[: options.show]:
                    print(f"    refused: {text}")


if __name__ == "__main__":
    main()
