"""The process that atheris runs in: python -m tests.fuzz.readers.guided TARGET CORPUS [for libFuzzer]."""

from __future__ import annotations

import importlib
import random
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found]

_LONGEST = 60_000
"""bytes of an input"""
_SKIPPED = ["llama_ffi._abi", "llama_ffi._lib", "llama_ffi._core.binding"]
"""facts and start-up, of which there is much and nothing to be found by bytes"""


def main() -> None:
    name, corpus, *more = sys.argv[1:]
    with atheris.instrument_imports(include=["llama_ffi"], exclude=_SKIPPED):
        target = importlib.import_module(f"tests.fuzz.readers.{name}")
        folder = Path(tempfile.mkdtemp())
        seeds = target.prepare(folder)
        for data in seeds:
            target.one(data, folder)  # what is imported late is instrumented too
    for number, data in enumerate(seeds):
        if len(data) < _LONGEST:
            (Path(corpus) / f"seed-{number:03}").write_bytes(data)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        return bytes(target.mutate(bytes(data), rng)[:most])

    options = [f"-max_len={_LONGEST}", "-rss_limit_mb=2048", "-timeout=60", "-print_final_stats=1", *more]
    atheris.Setup(
        [sys.argv[0], corpus, *options], lambda data: target.one(data, folder) and None, custom_mutator=mutate
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
