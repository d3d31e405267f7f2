"""Count the instructions per token that each Python loop executes above the same loop in C.

    python -m benchmarks.instructions [--tokens 50]

Needs valgrind with its headers, and a library without AVX-512, which valgrind does not know; the README
beside this file says how to build one, :mod:`benchmarks.counting` how it is counted.
"""

from __future__ import annotations

import sys
from pathlib import Path

from . import counting

LOOPS = ("c", "raw", "batch", "decode", "generate")
REQUIRED_RAW = 60_000  # above the C loop
REQUIRED_DECODE = 8_000  # `Context.decode` above the same loop with `lib.llama_decode`


def run_loops(model: Path, tokens: int) -> None:
    """Be the counted process."""
    from .loops import Loops

    loops = Loops(model, n_threads=1, counting=True)
    counting.count_each({name: loops.by_name(name) for name in LOOPS}, loops.c_loop.count, tokens)


def main() -> int:
    per_token = counting.per_token("benchmarks.instructions", str(__doc__), LOOPS, run_loops)
    if per_token is None:
        return 0
    for name, figure in per_token.items():
        print(f"{name:<10}{figure:>12,.0f} instructions per token")
    missed = verdict("raw above c", per_token["raw"] - per_token["c"], REQUIRED_RAW)
    missed += verdict("decode above batch", per_token["decode"] - per_token["batch"], REQUIRED_DECODE)
    print(f"generate above c: {per_token['generate'] - per_token['c']:,.0f}")
    return 1 if missed else 0


def verdict(what: str, figure: float, limit: int) -> bool:
    missed = figure > limit
    print(f"{what}: {figure:,.0f}, required at most {limit:,}: {'MISSED' if missed else 'met'}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
