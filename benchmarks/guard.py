"""Count the instructions that the guard adds to a call, on the C side.

    python -m benchmarks.guard

Needs valgrind. A small C program calls one function N and 3 N times, plain and guarded, under callgrind; what
is left after both subtractions is the guard's try/catch and its depth. Nothing is computed, so any build of
the library will do.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import llama_ffi

from .instructions import verdict

SOURCE = Path(__file__).with_name("guard.c")
REQUIRED = 200
CALLS = 1000


def instructions(program: Path, libraries: list[str], how: str, calls: int) -> int:
    """Return the instructions of one run of the program."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program)]
    done = subprocess.run([*command, *libraries, how, str(calls)], capture_output=True, text=True)
    counted = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or counted is None:
        raise SystemExit(f"valgrind failed with status {done.returncode}:\n{done.stderr[-2000:]}")
    return int(counted[1])


def main() -> int:
    paths = llama_ffi.library_paths()
    if "guard" not in paths:
        raise SystemExit(f"the library at {paths['llama'].parent} has no guard")
    libraries = [str(paths["ggml-base"]), str(paths["guard"])]
    per_call = {}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "guard"
        compiler = os.environ.get("CC", "cc")
        subprocess.run(
            [compiler, "-O2", "-Wall", "-Werror", str(SOURCE), "-o", str(program), "-ldl"], check=True
        )
        for how in ("plain", "guarded"):
            few, many = (instructions(program, libraries, how, n) for n in (CALLS, 3 * CALLS))
            per_call[how] = (many - few) / (2 * CALLS)
            print(f"{how:<8}{per_call[how]:>8,.1f} instructions per call", flush=True)
    return 1 if verdict("guarded above plain", per_call["guarded"] - per_call["plain"], REQUIRED) else 0


if __name__ == "__main__":
    sys.exit(main())
