"""Count the instructions per token that each Python loop executes above the same loop in C.

    python -m benchmarks.instructions [--tokens 50]

Needs valgrind with its headers, and a library without AVX-512, which valgrind does not know; the README
beside this file says how to build one. One process runs under callgrind and does each loop with N and with
3 N tokens; the difference, divided by 2 N, is a token's share, without start-up, model, context and prompt.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LOOPS = ("c", "raw", "batch", "decode", "generate")
REQUIRED_RAW = 60_000  # above the C loop
REQUIRED_DECODE = 8_000  # `Context.decode` above the same loop with `lib.llama_decode`


def run_loops(model: Path, tokens: int) -> None:
    """Be the counted process: each loop once to warm up, then short, then long."""
    from .loops import Loops

    loops = Loops(model, n_threads=1, counting=True)
    count = loops.c_loop.count
    for name in LOOPS:
        loop = loops.by_name(name)
        loop(tokens)
        loop(3 * tokens)
        count("warm-up")
        loop(tokens)
        count(f"{name} few")
        loop(3 * tokens)
        count(f"{name} many")


def read_counts(module: str, model: Path, tokens: int, folder: Path) -> dict[str, int]:
    """Run a module's loops under callgrind; return the instructions of each part."""
    command = [
        "valgrind",
        "--tool=callgrind",
        f"--callgrind-out-file={folder / 'counts'}",
        sys.executable,
        "-m",
    ]
    command += [module, "--tokens", str(tokens), "--model", str(model)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"valgrind failed with status {result.returncode}:\n{result.stderr[-2000:]}")
    found = {}
    for file in folder.glob("counts.*"):
        text = file.read_text(encoding="utf-8", errors="replace")
        name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
        total = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
        if name and total:
            found[name[1]] = int(total[1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=50, help="in the short run (default: 50)")
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.model:
        run_loops(args.model, args.tokens)
        return 0
    from . import toy_model

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "toy.gguf"
        toy_model.write(model)
        found = read_counts("benchmarks.instructions", model, args.tokens, Path(folder))
    per_token = {name: (found[f"{name} many"] - found[f"{name} few"]) / (2 * args.tokens) for name in LOOPS}
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
