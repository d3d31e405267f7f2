"""Fuzz our own GGUF reader: whatever the bytes, it answers or raises GgufError, in time and in memory.

    python -m tests.fuzz.gguf.reader --minutes 60            # our mutations, any number of processes
    python -m tests.fuzz.gguf.reader --atheris CORPUS …      # coverage-guided, if atheris is installed

Everything is asked of a file that is accepted: all values, all tensors. Other exceptions, more than two
seconds, and memory that doesn't stand in relation to the file's size are findings; their bytes are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import struct
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import llama_ffi as lf
from llama_ffi._core.gguf_scan import scan
from llama_ffi.errors import GgufError, UnsupportedError

SECONDS = 2.0
MEMORY = 64 << 20


def one(data: bytes, path: Path) -> bool:
    """Read a file in every way; returns whether it was accepted."""
    path.write_bytes(data)
    try:
        with lf.gguf.read(path) as file:
            for field in file.fields.values():
                _ = field.value, field.typed, field.raw(), repr(field)
            for tensor in file.tensors.values():
                _ = tensor.data, tensor.shape, repr(tensor)
                try:
                    if tensor.n_elements < 1 << 20:
                        tensor.dequantize()
                except UnsupportedError:
                    pass
            lf.gguf.edit(path, path.with_suffix(".copy"))
        with lf.gguf.read(path.with_suffix(".copy")) as copy:
            if list(copy.fields) != list(file.fields) or list(copy.tensors) != list(file.tensors):
                raise AssertionError("the copy differs")
    except GgufError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.gguf.reader", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--findings", type=Path, default=Path("gguf-findings"))
    parser.add_argument("--atheris", nargs=argparse.REMAINDER, help="arguments for libFuzzer")
    args = parser.parse_args()
    if args.atheris is not None:
        return guided(args.atheris)
    return blind(args)


def blind(args: argparse.Namespace) -> int:
    """Mutate with our own mutations, what was accepted is mutated again."""
    import llama_ffi._core.gguf_types as types  # the library is opened before time and memory count
    from tests.fuzz.gguf import bases
    from tests.fuzz.gguf.mutate import mutate

    types.tensor_types()
    end, seed, runs, accepted, findings = time.monotonic() + 60 * args.minutes, args.seed, 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        pool = [path.read_bytes() for path in bases.make_all(Path(folder)).values()]
        path = Path(folder) / "case.gguf"
        while time.monotonic() < end:
            rng = random.Random(f"{seed}-{runs}")
            runs += 1
            try:
                data, done = mutate(rng.choice(pool), rng)
            except (GgufError, LookupError, ValueError, struct.error):
                continue  # what the pool has grown to can't be taken apart any more
            measured = runs % 20 == 0  # measuring is slow
            if measured:
                tracemalloc.start()
            began, problem = time.monotonic(), ""
            try:
                if one(data, path):
                    accepted += 1
                    if len(pool) < 200 and len(data) < 300_000:
                        pool.append(data)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            if measured:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                if peak > MEMORY + 20 * len(data):
                    problem = f"{peak} bytes for a file of {len(data)}"
            if time.monotonic() - began > SECONDS and not measured:
                problem = f"{time.monotonic() - began:.1f} seconds"
            if problem:
                findings += 1
                args.findings.mkdir(exist_ok=True)
                (args.findings / f"{seed}-{runs}.gguf").write_bytes(data)
                print(f"FINDING {seed}-{runs} ({done}): {problem}", flush=True)
    cpu = round(time.process_time())
    print(json.dumps({"runs": runs, "accepted": accepted, "findings": findings, "cpu_seconds": cpu}))
    return 1 if findings else 0


def guided(arguments: list[str]) -> int:
    import atheris  # type: ignore[import-not-found]

    with atheris.instrument_imports(include=["llama_ffi.gguf", "llama_ffi._core.gguf_scan"]):
        import importlib

        for name in ("llama_ffi._core.gguf_scan", "llama_ffi.gguf.encoding", "llama_ffi.gguf.reader"):
            importlib.reload(importlib.import_module(name))
    atheris.instrument_func(scan)
    folder = tempfile.mkdtemp()
    path = Path(folder) / f"case.{os.getpid()}.gguf"
    atheris.Setup([sys.argv[0], *arguments], lambda data: one(data, path) and None)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
