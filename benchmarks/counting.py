"""Count instructions per token, under callgrind, for loops of which each is run short and long.

A benchmark is started twice: by its user, and by itself under valgrind with the model's path. The counted
process does each loop with N and with 3 N tokens; the difference, divided by 2 N, is a token's share, without
start-up, model, context and prompt.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Loop = Callable[[int], object]
RunLoops = Callable[[Path, int], None]


def per_token(
    module: str,
    description: str,
    rows: Sequence[str],
    run_loops: RunLoops,
    prepare: Callable[[Path], None] = lambda folder: None,
) -> dict[str, float] | None:
    """Read the command line and return the instructions per token of each row; None in the counted process.

    Arguments:
        module: the benchmark's own name, for ``python -m``.
        run_loops: what the counted process does with the model and the number of tokens: :func:`count_each`.
        prepare: makes the environment of the counted process, in a folder that goes afterwards.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=50, help="in the short run (default: 50)")
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.model:
        run_loops(args.model, args.tokens)
        return None
    from . import toy_model

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toy_model.write(folder / "toy.gguf")
        prepare(folder)
        found = _read_counts(module, folder / "toy.gguf", args.tokens, folder)
    return {row: (found[f"{row} many"] - found[f"{row} few"]) / (2 * args.tokens) for row in rows}


def count_each(loops: Mapping[str, Loop], count: Callable[[str], None], tokens: int) -> None:
    """Run each loop to warm up, then short, then long; ``count`` names what was executed since the last."""
    for name, loop in loops.items():
        loop(tokens)
        loop(3 * tokens)
        count("warm-up")
        loop(tokens)
        count(f"{name} few")
        loop(3 * tokens)
        count(f"{name} many")


def _read_counts(module: str, model: Path, tokens: int, folder: Path) -> dict[str, int]:
    """Run a module's loops under callgrind; return the instructions of each part."""
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder / 'counts'}"]
    command = [*valgrind, sys.executable, "-m", module, "--tokens", str(tokens), "--model", str(model)]
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
