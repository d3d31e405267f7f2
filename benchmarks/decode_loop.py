"""Compare the speed of Python's decode loops with the same loop in C on the same library.

    python -m benchmarks.decode_loop [--pairs 15] [--tokens 100] [--best-of 8] [--threads 1]

A pair runs the C loop and a Python loop in turn, `--best-of` times each, and compares the best of both;
the figure is the median of the pairs' ratios. All loops must write the same text.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from . import toy_model
from .loops import Loops

REQUIRED = {"raw": 0.97, "generate": 0.95}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=15, help="default: 15")
    parser.add_argument("--tokens", type=int, default=100, help="per run (default: 100)")
    parser.add_argument("--best-of", type=int, default=8, help="runs of each loop in a pair (default: 8)")
    parser.add_argument("--threads", type=int, default=1, help="libllama's (default: 1)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "toy.gguf"
        toy_model.write(path)
        loops = Loops(path, args.threads)
        check_equal_text(loops, args.tokens)
        ratios: dict[str, list[float]] = {name: [] for name in REQUIRED}
        c_speeds: list[float] = []
        for _ in range(args.pairs):
            for name, of_pairs in ratios.items():
                best = {"c": float("inf"), name: float("inf")}
                for _ in range(args.best_of):
                    for side in best:
                        best[side] = min(best[side], loops.by_name(side)(args.tokens)[0])
                of_pairs.append(best["c"] / best[name])
                c_speeds.append(args.tokens / best["c"])
        return show(ratios, c_speeds)


def check_equal_text(loops: Loops, n: int) -> None:
    """Fail unless all loops write the same: otherwise they did not do the same work."""
    expected = loops.c(n)[1]
    for name in REQUIRED:
        # `generate` makes one token more, before its clock starts.
        written = loops.by_name(name)(n if name != "generate" else n - 1)[1]
        if written != expected:
            raise SystemExit(f"{name} wrote another text than the C loop:\n{written!r}\n{expected!r}")


def show(ratios: dict[str, list[float]], c_speeds: list[float]) -> int:
    print(f"C loop: {statistics.median(c_speeds):,.0f} tokens/s")
    missed = 0
    for name, of_pairs in ratios.items():
        median = statistics.median(of_pairs)
        verdict = "met" if median >= REQUIRED[name] else "MISSED"
        missed += verdict != "met"
        spread = f"pairs {min(of_pairs):.3f} to {max(of_pairs):.3f}"
        print(f"{name:<10}{median:.3f} of the C loop ({spread}); required {REQUIRED[name]}: {verdict}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
