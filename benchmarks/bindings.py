"""Measure what proving a library costs at start, and what generating all bindings takes.

    python -m benchmarks.bindings [--runs 15]

Verification is timed inside fresh interpreters, after the libraries are open: with a build manifest, and the
same libraries without one, tried out at run time. Generation reads the ten headers and renders every file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VERIFY = """
import time
from llama_ffi._core import runtime
from llama_ffi._lib import bindings, load, search, verify
chosen = bindings.find(None)
libraries = search.find()
opened = load.Opened(chosen.ffi, libraries)
lib = runtime.Functions(chosen.ffi, opened, chosen.manifest.FUNCTIONS, {}, "")
start = time.perf_counter()
if libraries.manifest is not None:
    verify.verify(libraries, libraries.manifest, chosen.manifest)
else:
    from llama_ffi._lib import foreign
    foreign.prove_layout(chosen.ffi, lib, libraries)
print(time.perf_counter() - start)
"""
GENERATE = """
import time
from bindgen.files import render
from bindgen.pipeline import find_source, load
source = find_source(None)
start = time.perf_counter()
render(load(source))
print(time.perf_counter() - start)
"""
MANIFEST, TRIED, GENERATION = "verify by the build manifest", "try a foreign library out", "generate all"
REQUIRED = {MANIFEST: 0.005, GENERATION: 3.0}  # seconds


def seconds(program: str, **environment: str) -> float:
    env = {**os.environ, **environment}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def foreign(folder: Path) -> Path:
    """Put the bundled libraries under upstream's names into ``folder``, without a manifest."""
    from llama_ffi import library_paths

    for key, path in library_paths().items():
        (folder / path.name).symlink_to(path)
        (folder / f"lib{key}.so").symlink_to(path)
    return folder / "libllama.so"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15, help="rounds (default: 15)")
    args = parser.parse_args()
    times: dict[str, list[float]] = {MANIFEST: [], TRIED: [], GENERATION: []}
    with tempfile.TemporaryDirectory() as folder:
        library = foreign(Path(folder))
        for _ in range(args.runs):
            times[MANIFEST].append(seconds(VERIFY))
            times[TRIED].append(seconds(VERIFY, LLAMA_FFI_LIB=str(library)))
            times[GENERATION].append(seconds(GENERATE))
    met = True
    for name, found in times.items():
        median = statistics.median(found)
        limit = REQUIRED.get(name)
        met = met and (limit is None or median <= limit)
        required = "" if limit is None else f"   required: {limit * 1000:,.0f} ms"
        print(f"{name:<32} {median * 1000:9,.2f} ms{required}")
    return 0 if met else 1


if __name__ == "__main__":
    started = time.perf_counter()
    status = main()
    print(f"took {time.perf_counter() - started:.0f} s")
    sys.exit(status)
