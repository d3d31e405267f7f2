"""Count the instructions per token that each Python loop executes above the same loop in C.

    python -m benchmarks.instructions [--tokens 50]

Needs valgrind and a library without AVX-512, which valgrind does not know; the README beside this file
says how to build one. Each loop runs twice under callgrind, with N and with 3 N tokens: the difference,
divided by 2 N, is a token's share without start-up, model and prompt.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LOOPS = ("c", "raw", "safe", "generate")
# Instructions per token above the C loop; `safe` is held against `raw` instead.
REQUIRED = {"raw": 60_000}
REQUIRED_SAFE_DECODE = 8_000


def run_loop(name: str, tokens: int, model: Path) -> None:
    """Be the measured process: start up, then run one loop once."""
    from .loops import Loops

    Loops(model, n_threads=1).by_name(name)(tokens)


def count(name: str, tokens: int, model: Path, folder: Path) -> int:
    """Return the instructions of a process that runs the loop `name` over `tokens` tokens."""
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder / 'out'}", sys.executable, "-m"]
    command += ["benchmarks.instructions", "--loop", name, "--tokens", str(tokens), "--model", str(model)]
    result = subprocess.run(command, capture_output=True, text=True)
    collected = re.search(r"Collected : (\d+)", result.stderr)
    if result.returncode != 0 or collected is None:
        raise SystemExit(f"valgrind failed with status {result.returncode}:\n{result.stderr[-2000:]}")
    return int(collected[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=50, help="in the short run (default: 50)")
    parser.add_argument("--loop", choices=LOOPS, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.loop:
        run_loop(args.loop, args.tokens, args.model)
        return 0
    from . import toy_model

    per_token: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "toy.gguf"
        toy_model.write(model)
        for name in LOOPS:
            few, many = (count(name, n, model, Path(folder)) for n in (args.tokens, 3 * args.tokens))
            per_token[name] = (many - few) / (2 * args.tokens)
            print(f"{name:<10}{per_token[name]:>12,.0f} instructions per token", flush=True)
    missed = 0
    for name, limit in REQUIRED.items():
        missed += verdict(f"{name} above c", per_token[name] - per_token["c"], limit)
    missed += verdict("safe decode above raw", per_token["safe"] - per_token["raw"], REQUIRED_SAFE_DECODE)
    print(f"generate above c: {per_token['generate'] - per_token['c']:,.0f}")
    return 1 if missed else 0


def verdict(what: str, figure: float, limit: int) -> bool:
    missed = figure > limit
    print(f"{what}: {figure:,.0f}, required at most {limit:,}: {'MISSED' if missed else 'met'}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
