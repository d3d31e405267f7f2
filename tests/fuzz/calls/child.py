"""The expendable process: makes up cases and runs them, or runs recorded ones again.

    python -m tests.fuzz.calls.child BASES RESULTS --seed N --first CASE --calls COUNT
    python -m tests.fuzz.calls.child BASES RESULTS --again RECORD.json

A line of JSON before each call, one after each case. What follows no outcome is what killed.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import resource
import shutil
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from llama_ffi._core import record

MEMORY = 6 << 30
CASE = 40
"""Calls in a case, about."""
KINDS = ("llama", "mamba", "gpt2", "bert", "t5", "gemma3", "jamba", "qwen2moe", "rwkv6")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("bases", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--again", type=Path)
    parser.add_argument("--without", default="")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    if "ASAN_OPTIONS" not in os.environ:  # its shadow memory alone is terabytes of addresses
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")

    from tests.fuzz.calls.world import Counting

    record.recorded = Counting  # before the library is opened
    from tests.fuzz.calls import off

    if args.without:
        off.SWITCHES[args.without]()
    run = Run(args.bases, args.results, set(args.only.split(",")) - {""})
    if args.again:
        for case in json.loads(args.again.read_text()):
            run.case(case["kind"], case["seed"], case["calls"])
    else:
        done, number = 0, args.first
        while done < args.calls:
            seed = args.seed * 1_000_003 + number
            done += run.case(random.Random(seed).choice(KINDS), seed, None)
            number += 1
    run.finish()
    return 0


class Run:
    def __init__(self, bases: Path, results: Path, only: set[str]) -> None:
        self.only = only
        self.bases = bases
        self.folder = results.with_suffix(".work")
        self.file = open(results, "a", buffering=1)  # noqa: SIM115 - open until the end
        self.models: dict[str, Any] = {}
        self.kind = ""

    def write(self, line: dict[str, Any]) -> None:
        self.file.write(json.dumps(line) + "\n")

    def case(self, kind: str, seed: int, again: list[Any] | None) -> int:
        """Run one case; returns how many calls it had."""
        import llama_ffi as lf
        from tests.fuzz.calls.world import CALLS, World

        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.bases, self.folder)
        (self.folder / "store").mkdir()
        (self.folder / "noise.gguf").write_bytes(bytes(range(256)))
        os.chdir(self.folder)
        self.write({"case": seed, "kind": kind})
        models = {
            "tiny": lf.Model.load(lf.tiny_model_path(), n_gpu_layers=0),
            "llama": lf.Model.load(self.folder / "llama.gguf", n_gpu_layers=0),
            "random": lf.testing.random_model(kind, seed=seed % 5),
        }
        world = World(self.folder, models, lambda made: self.write({"made": made}))
        if again is not None:
            for made in again:
                world.perform(made)
        else:
            rnd = random.Random(seed)
            order = [name for name in CALLS if not self.only or name.split(".")[0] in self.only]
            names = (
                rnd.sample(order, min(25, len(order))) if rnd.random() < 0.5 else order
            )  # half of them: few things, often
            few = [name for name in order if CALLS[name].owner in ("Context", "Memory", "SamplerChain")]
            names = names + ([] if self.only else rnd.sample(few, 12))
            while len(world.outcomes) < CASE:
                world.random_call(rnd, names)
        counts: Counter[str] = Counter()
        reached: Counter[str] = Counter()
        endings: Counter[str] = Counter()
        findings = []
        for each in world.outcomes:
            counts[each["call"]] += 1
            reached[each["call"]] += each["reached"]
            endings[each["ended"]] += 1
            if each["ended"] in ("other exception", "caught by the guard"):
                findings.append(each)
        world.close()
        models.clear()
        gc.collect()
        self.write(
            {"done": seed, "counts": counts, "reached": reached, "endings": endings, "findings": findings}
        )
        os.chdir(self.bases)
        return len(world.outcomes)

    def finish(self) -> None:
        self.write({"finished": True})
        self.file.close()
        shutil.rmtree(self.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
