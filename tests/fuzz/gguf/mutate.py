"""Damage to GGUF files, reproducible by number: half of it blind, half with sizes that stay consistent."""

from __future__ import annotations

import random
from pathlib import Path

from tests.fuzz.gguf.blind import BLIND
from tests.fuzz.gguf.consistent import CONSISTENT
from tests.fuzz.gguf.file import File


def mutate(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Return a damaged file and what was done to it."""
    if rng.random() < 0.5:
        blind = rng.choice(BLIND)
        return blind(data, rng), blind.__name__
    file, done = File(data), []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        change = rng.choice(CONSISTENT)
        if file.entries:
            change(file, rng)
            done.append(change.__name__)
    return file.join(), "+".join(done)


def case(number: int, seed: int, bases: dict[str, Path]) -> tuple[str, bytes, str]:
    """Return base, bytes and description of case ``number``; the same for the same seed."""
    rng = random.Random(f"{seed}-{number}")
    name = rng.choice(sorted(bases))
    data, done = mutate(bases[name].read_bytes(), rng)
    return name, data, done
