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
import re
import resource
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_ffi._core import gguf_types, record

if TYPE_CHECKING:
    from tests.fuzz.calls.world import World

MEMORY = 6 << 30
CASE = 40
"""Calls in a case, about."""
HAND = 16
"""Names that a case chooses from."""
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
    parser.add_argument("--until", default="")
    parser.add_argument("--each", type=int, default=0)
    parser.add_argument("--odd", type=float, default=0)
    args = parser.parse_args()
    if "ASAN_OPTIONS" not in os.environ:  # its shadow memory alone is terabytes of addresses
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")

    from tests.fuzz.calls.performing import Counting

    record.recorded = Counting  # before the library is opened
    from tests.fuzz.calls import off

    for name in filter(None, args.without.split(",")):
        off.SWITCHES[name].turn()
    gguf_types.tensor_types()  # C is asked once per process
    run = Run(args.bases, args.results, set(args.only.split(",")) - {""}, f"{args.seed}.{args.first}")
    if args.again:
        for case in json.loads(args.again.read_text()):
            run.case(case["kind"], case["seed"], case["calls"])
    elif args.each:
        run.sweep(args.seed, args.each)
    elif args.odd:
        run.odd(args.seed, args.first, args.calls, args.odd)
    else:
        done, number = 0, args.first
        while done < args.calls:
            seed = args.seed * 1_000_003 + number
            done += run.case(random.Random(seed).choice(KINDS), seed, None)
            number += 1
            if args.until and any(re.search(args.until, words) for words in run.caught):
                break
    run.finish()
    return 0


class Run:
    def __init__(self, bases: Path, results: Path, only: set[str], first: str) -> None:
        self.only, self.first = only, first
        self.deck: list[str] = []
        self.caught: list[str] = []
        self.bases = bases
        self.folder = results.with_suffix(".work")
        self.file = open(results, "a", buffering=1)  # noqa: SIM115 - open until the end
        self.models: dict[str, Any] = {}
        self.kind = ""

    def write(self, line: dict[str, Any]) -> None:
        self.file.write(json.dumps(line) + "\n")

    def case(self, kind: str, seed: int, again: list[Any] | None) -> int:
        """Run one case; returns how many calls it had."""
        rnd = random.Random(seed)

        def calls(world: World) -> None:
            if again is not None:
                for made in again:
                    world.perform(made)
                return
            names = self.dealt(rnd)
            while len(world.outcomes) < CASE:
                world.random_call(rnd, names)

        return self.in_a_world(kind, seed, calls)

    def sweep(self, seed: int, times: int) -> None:
        """Make each call as a program would, until it has reached C, or returned if it never does."""
        from tests.fuzz.calls.shares import reaches_c
        from tests.fuzz.calls.world import CALLS

        names = list(CALLS)
        for first in range(0, len(names), CASE):
            rnd = random.Random(seed + first)

            def calls(world: World, names: list[str] = names[first : first + CASE], rnd: Any = rnd) -> None:
                for name in names:
                    for _ in range(times):
                        outcome = world.usual_call(rnd, name)
                        if outcome and outcome["reached" if reaches_c(CALLS[name]) else "returned"]:
                            break

            self.in_a_world("llama", seed + first, calls)

    def odd(self, seed: int, first: int, count: int, share: float) -> None:
        """Make some of the calls with each odd value in each place, or with a share of these."""
        from tests.fuzz.calls.odd import ODD
        from tests.fuzz.calls.surface import chosen
        from tests.fuzz.calls.world import CALLS, places

        for name in chosen(CALLS, self.only)[first : first + count]:
            rnd = random.Random(f"{seed}.{name}")

            def calls(world: World, name: str = name, rnd: random.Random = rnd) -> None:
                for key in places(name):
                    for value in ODD:
                        if rnd.random() < share:
                            world.odd_call(rnd, name, key, {"odd": value})
                    world.forget()

            self.in_a_world("llama", seed, calls)

    def in_a_world(self, kind: str, seed: int, calls: Callable[[World], None]) -> int:
        """Make calls in a world of their own, and write down what came of them."""
        import llama_ffi as lf
        from llama_ffi import paths
        from tests.fuzz.calls import shares
        from tests.fuzz.calls.world import World

        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.bases, self.folder)
        (self.folder / "store").mkdir()
        (self.folder / "noise.gguf").write_bytes(bytes(range(256)))
        # any path may be written to, that of the model that ships as well
        shutil.copyfile(Path(lf.__file__).parent / "data" / "tiny.gguf", self.folder / "tiny.gguf")
        paths._DATA = self.folder
        os.chdir(self.folder)
        self.write({"case": seed, "kind": kind})
        models = {
            "tiny": lf.Model.load(lf.tiny_model_path(), n_gpu_layers=0),
            "llama": lf.Model.load(self.folder / "llama.gguf", n_gpu_layers=0),
            "random": lf.testing.random_model(kind, seed=seed % 5),
        }
        world = World(self.folder, models, lambda made: self.write({"made": made}))
        calls(world)
        total = shares.added_up(world.outcomes)
        self.caught += [each["words"] for each in total["findings"] if each["ended"] == "caught by the guard"]
        self.write({"done": seed, **total})
        world.close()
        models.clear()
        gc.collect()
        os.chdir(self.bases)
        return len(world.outcomes)

    def dealt(self, rnd: random.Random) -> list[str]:
        """Return what a case may call: some names of the deck, so that each has its turn."""
        from tests.fuzz.calls.surface import chosen
        from tests.fuzz.calls.world import CALLS

        order = chosen(CALLS, self.only)
        if len(self.deck) < HAND:
            self.deck += random.Random(f"{self.first}.{len(self.deck)}").sample(order, len(order))
        names = [self.deck.pop() for _ in range(min(HAND, len(order)))]
        if not self.only and rnd.random() < 0.3:  # on what the others made
            few = [name for name in order if CALLS[name].owner in ("Context", "Memory", "SamplerChain")]
            names += rnd.sample(few, 8)
        return names

    def finish(self) -> None:
        self.write({"finished": True})
        self.file.close()
        shutil.rmtree(self.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
