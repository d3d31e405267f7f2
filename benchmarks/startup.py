"""Measure what importing, loading and verifying adds to the start of Python.

    python -m benchmarks.startup [--runs 41]

Each round starts one fresh interpreter per row, in turn, so that a busy moment of the machine hits all of
them. A row's figure is the median over the rounds of its time minus bare Python's in the same round.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

BARE = "bare Python"
ROWS = {
    BARE: "pass",
    "import llama_ffi": "import llama_ffi",
    "import + load + verify": "import llama_ffi; llama_ffi.library_paths()",
    "the same + load the model that ships": (
        "import llama_ffi; llama_ffi.Model.load(llama_ffi.tiny_model_path()).close()"
    ),
    "for comparison: import numpy": "import numpy",
}
REQUIRED = ("import + load + verify", 80.0)  # ms


def seconds(program: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=41, help="rounds (default: 41)")
    args = parser.parse_args()
    for program in ROWS.values():  # files into the page cache, byte code onto the disk
        seconds(program)
    times: dict[str, list[float]] = {name: [] for name in ROWS}
    for _ in range(args.runs):
        for name, program in ROWS.items():
            times[name].append(seconds(program))
    bare = statistics.median(times[BARE])
    print(f"{BARE:<40}{1000 * bare:8.1f} ms")
    beyond = {
        name: 1000 * statistics.median(a - b for a, b in zip(times[name], times[BARE], strict=True))
        for name in ROWS
        if name != BARE
    }
    for name, figure in beyond.items():
        print(f"{name:<40}{figure:+8.1f} ms")
    name, limit = REQUIRED
    passed = beyond[name] <= limit
    print(f"{'required: ' + name:<40}{limit:8.1f} ms at most: {'met' if passed else 'MISSED'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
