"""Fuzz our own readers of files: whatever the bytes, they answer or raise an error of ours, and soon.

    python -m tests.fuzz.readers gguf --minutes 30             # with our mutations only
    python -m tests.fuzz.readers states --minutes 30 --guided  # by coverage: pip install atheris

The minutes are CPU time. ``gguf``: GGUF files, whole and as adapters, vectors and importance matrices.
``states``: state files, llama.cpp's state files, payloads, a store's registry, old importance matrices.
Findings are exceptions that aren't a LlamaError, inputs that take more CPU time than ``bounds.SECONDS``, and
memory out of proportion to it. The bytes are kept; the exit status is 1. ``--only FILE`` reads them again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.fuzz.readers import bounds

TARGETS = ("gguf", "states")
ROUND = 120
"""seconds after which a coverage-guided process is replaced by a new one"""
_UNITS = re.compile(r"number_of_executed_units: (\d+)")
_COVERAGE = re.compile(r"cov: (\d+)")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.readers", description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--minutes", type=float, default=1.0, help="of CPU time")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--guided", action="store_true", help="by coverage, with atheris")
    parser.add_argument("--corpus", type=Path, help="folder of inputs to go on from and to add to")
    parser.add_argument("--findings", type=Path, default=Path("findings"))
    parser.add_argument("--only", type=Path, help="read this one file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.only is not None:
            target = importlib.import_module(f"tests.fuzz.readers.{args.target}")
            target.prepare(Path(folder))
            print("accepted" if target.one(args.only.read_bytes(), Path(folder)) else "refused")
            return 0
        result = (guided if args.guided else blind)(args, Path(folder))
    print(json.dumps({"target": args.target, **result}))
    return 1 if result["findings"] else 0


def blind(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Mutate with the target's own mutations; what was accepted is mutated again."""
    target = importlib.import_module(f"tests.fuzz.readers.{args.target}")
    pool: list[bytes] = target.prepare(folder)
    runs = accepted = findings = 0
    began = time.process_time()
    while time.process_time() - began < 60 * args.minutes:
        rng = random.Random(f"{args.seed}-{runs}")
        runs += 1
        data = target.mutate(rng.choice(pool), rng)
        try:
            # Measuring memory is slow.
            good = bounds.measured(target.one, data, folder) if runs % 20 == 1 else target.one(data, folder)
        except (Exception, bounds.TooLongError) as error:
            findings += 1
            args.findings.mkdir(parents=True, exist_ok=True)
            (args.findings / f"{args.target}-{args.seed}-{runs}").write_bytes(data)
            print(f"FINDING {args.seed}-{runs}: {type(error).__name__}: {error}", flush=True)
        else:
            accepted += good
            if good and len(pool) < 400 and len(data) < 300_000 and rng.random() < 0.02:
                pool.append(data)
    cpu = round(time.process_time() - began)
    return {"runs": runs, "accepted": accepted, "findings": findings, "cpu_seconds": cpu}


def guided(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Let atheris look for inputs that reach new lines, in processes that are replaced now and then."""
    corpus = args.corpus or folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    args.findings.mkdir(parents=True, exist_ok=True)
    runs = findings = coverage = 0
    spent = 0.0
    while spent < 60 * args.minutes:
        left = max(5, min(ROUND, int(60 * args.minutes - spent)))
        command = [sys.executable, "-m", "tests.fuzz.readers.guided", args.target, str(corpus)]
        command += [f"-max_total_time={left}", f"-artifact_prefix={args.findings}/{args.target}-"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        units = _UNITS.search(done.stdout)
        runs += int(units[1]) if units else 0
        coverage = max([coverage, *map(int, _COVERAGE.findall(done.stdout))])
        if done.returncode:
            findings += 1
            print(f"FINDING (status {done.returncode}):\n{done.stdout[-3000:]}", flush=True)
            if units is None and "Uncaught Python exception" not in done.stdout:
                break  # it doesn't run at all
        print(json.dumps({"runs": runs, "coverage": coverage, "cpu_seconds": round(spent)}), flush=True)
    if args.corpus is None:
        shutil.rmtree(corpus)
    return {"runs": runs, "coverage": coverage, "findings": findings, "cpu_seconds": round(spent)}


if __name__ == "__main__":
    sys.exit(main())
