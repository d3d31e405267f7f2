"""Measure what masks cost: text of a JSON schema next to free text, on a model of 134 million parameters.

    python -m benchmarks.masks [--pairs 9] [--tokens 64] [--threads 1]

A pair generates both in turn; the figure is the share of the constrained generation's time that the free one
doesn't take, the median of all pairs, in processor time of the thread that generates. The model has random
weights in q8_0 and the vocabulary of llama.cpp's own `ggml-vocab-llama-spm.gguf`; it is made for the run,
which takes a minute.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import llama_ffi as lf
from llama_ffi import testing

from .toy_model import vocabulary_file

REQUIRED = 0.15
SIZES = {"n_layer": 27, "n_embd": 576, "n_head": 9, "n_head_kv": 3, "n_ff": 1536, "n_ctx_train": 1024}

RECORD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 5, "maxLength": 60},
        "kind": {"enum": ["circle", "square", "triangle"]},
        "size": {"type": "number", "minimum": 0, "maximum": 1000},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 4},
        "made": {"type": "string", "format": "date-time"},
    },
    "required": ["name", "kind", "size", "tags", "made"],
    "additionalProperties": False,
}
SCHEMA = {"type": "array", "items": RECORD, "minItems": 1000}
"""It doesn't end before the run does."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=9, help="default: 9")
    parser.add_argument("--tokens", type=int, default=64, help="per run (default: 64)")
    parser.add_argument("--threads", type=int, default=1, help="libllama's (default: 1)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder) / "f32.gguf", Path(folder) / "q8_0.gguf"
        testing.save_random_model(plain, "llama", seed=1, vocab=vocabulary_file(), **SIZES)
        lf.quantize(plain, small, "q8_0")
        plain.unlink()
        with lf.Model.load(small) as model:
            print(f"{model.n_params / 1e6:.0f} million parameters, {model.vocab.n_tokens:,} tokens")
            return measure(model, args.pairs, args.tokens, args.threads)


def measure(model: lf.Model, pairs: int, tokens: int, threads: int) -> int:
    """Return the status, after printing the figures."""

    def seconds(seed: int, **form: Any) -> float:
        running = lf.generate("Once", model=model, max_tokens=tokens, seed=seed, n_threads=threads, **form)
        next(running)
        begin, first = time.thread_time(), len(running.tokens)
        text = "".join(running)
        made = len(running.tokens) - first
        if made < tokens // 2:
            raise SystemExit(f"the text ended after {made} tokens: {text!r}")
        return (time.thread_time() - begin) / made

    seconds(0, json_schema=SCHEMA)  # llguidance looks at the vocabulary once
    shares, free = [], []
    for seed in range(pairs):
        without, with_masks = seconds(seed), seconds(seed, json_schema=SCHEMA)
        free.append(without)
        shares.append(1 - without / with_masks)
    share = statistics.median(shares)
    verdict = "met" if share <= REQUIRED else "MISSED"
    print(f"free text: {1 / statistics.median(free):.0f} tokens/s")
    print(
        f"masks: {share:.1%} of the time (pairs {min(shares):.1%} to {max(shares):.1%}); "
        f"required {REQUIRED:.0%}: {verdict}"
    )
    return 0 if verdict == "met" else 1


if __name__ == "__main__":
    sys.exit(main())
