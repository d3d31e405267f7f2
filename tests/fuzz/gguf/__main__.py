"""Damage GGUF files by the thousand and load them: in child processes, whose deaths are counted.

    python -m tests.fuzz.gguf --count 10000 [--seed 1] [--without check] [--without guard] [--jobs 2]

Says what caught how many: our own check before C sees the file, a clean refusal of C's, the guard, or
nothing (a death, or a hang). Exit status 1 if there was a death or a hang. The file of each death is kept in
``--keep`` with its number: ``--only NUMBER`` runs one case again, in a child with its output shown.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

BATCH = 250
HANG = 300.0 if "ASAN_OPTIONS" in os.environ else 30.0
"""Seconds after which a case counts as a hang; sanitizers make everything slower."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.gguf", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bases", default="", help="only these kinds of files, with commas between")
    parser.add_argument("--systematic", action="store_true", help="each single change, none random")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--without", choices=["check", "guard"], action="append", default=[])
    parser.add_argument("--keep", type=Path, help="folder for the files that killed")
    parser.add_argument("--only", type=int, help="run this one case, its output shown")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), args)
        if args.only is not None:
            return campaign.child(args.only, 1, Path(folder) / "results", show=True).wait()
        return campaign.report()


class Campaign:
    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        from tests.fuzz.gguf import bases, systematic

        self.args = args
        self.folder = folder
        self.bases = folder / "bases"
        self.bases.mkdir()
        made = bases.make_all(self.bases)
        if args.bases:
            made = {name: path for name, path in made.items() if name in args.bases.split(",")}
        if args.systematic:
            args.count = min(args.count, len(systematic.systematic(made)) - args.first)
        self.lock = threading.Lock()
        self.ended: Counter[str] = Counter()
        self.by_base: Counter[tuple[str, str]] = Counter()
        self.killed: list[dict[str, object]] = []
        self.caught: Counter[str] = Counter()
        self.slow: list[dict[str, object]] = []

    def child(self, first: int, count: int, results: Path, show: bool = False) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.gguf.child", str(self.bases)]
        command += [str(first), str(count), str(self.args.seed), str(results), "--keep", str(self.folder)]
        command += ["--bases-only", self.args.bases]
        if self.args.systematic:
            command.append("--systematic")
        if "check" in self.args.without:
            command += ["--without", "check"]
        environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
        if "guard" in self.args.without:
            environment["LLAMA_FFI_GUARD"] = "0"
        if show:
            return subprocess.Popen(command, env=environment)
        with open(results.with_suffix(".err"), "wb") as output:
            return subprocess.Popen(command, env=environment, stdout=output, stderr=output)

    def report(self) -> int:
        began = time.monotonic()
        share = -(-self.args.count // self.args.jobs)
        last = self.args.first + self.args.count
        threads = [
            threading.Thread(target=self.work, args=(first, min(share, last - first), number))
            for number, first in enumerate(range(self.args.first, last, share))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        done = sum(self.ended.values())
        print(json.dumps({
            "cases": done,
            "seed": self.args.seed,
            "without": self.args.without,
            "ended": dict(self.ended.most_common()),
            "deaths": sum(1 for each in self.killed if each["how"] != "hang"),
            "hangs": sum(1 for each in self.killed if each["how"] == "hang"),
            "seconds": round(time.monotonic() - began, 1),
        }, indent=1))  # fmt: skip
        for name in sorted({base for base, _ in self.by_base}):
            print(f"{name:>10}", {how: n for (base, how), n in sorted(self.by_base.items()) if base == name})
        for words, n in self.caught.most_common(200):
            print(f"guard {n:5}: {words}")
        for each in self.slow[:10]:
            print("slow:", json.dumps(each))
        for each in self.killed:
            print("KILLED:", json.dumps(each))
        if not done:
            print("no case ran")
        return 1 if self.killed or done != self.args.count else 0

    def work(self, first: int, count: int, number: int) -> None:
        """Run ``count`` cases, in as many processes as deaths make necessary."""
        next_, end = first, first + count
        while next_ < end:
            results = self.folder / f"results.{number}.{next_}"
            results.touch()
            next_ = self.batch(next_, min(BATCH, end - next_), results)

    def batch(self, first: int, count: int, results: Path) -> int:
        process = self.child(first, count, results)
        size, since, hung = 0, time.monotonic(), False
        while process.poll() is None:
            time.sleep(0.05)
            now = results.stat().st_size
            if now != size:
                size, since = now, time.monotonic()
            elif time.monotonic() - since > HANG:
                hung = True
                process.kill()
                process.wait()
        last, started = first - 1, {}
        for line in results.read_text().splitlines():
            record = json.loads(line)
            if "ended" not in record:
                started = record
                continue
            last = record["case"]
            with self.lock:
                self.ended[record["ended"]] += 1
                self.by_base[started["base"], record["ended"]] += 1
                if record["ended"].startswith("guard"):
                    words = record["words"].split(". This is a case")[0].strip()[-140:]
                    done = re.sub(r"\d+", "N", started["done"]) if self.args.systematic else ""
                    self.caught[f"{started['base']} {done}: {words}"] += 1
                if record["took"] > 3:
                    self.slow.append({**started, **record})
        if last == first + count - 1 and process.returncode == 0:
            return first + count
        error = results.with_suffix(".err").read_text(errors="replace")
        if started.get("case") != last + 1:  # died between two cases: at the end, or before the first
            self.died({"case": last, "done": "outside of a case"}, str(process.returncode), error)
            return max(last + 1, first + 1)
        self.died(started, "hang" if hung else str(process.returncode), error)
        return last + 2

    def died(self, started: dict[str, object], how: str, error: str) -> None:
        with self.lock:
            self.ended["hang" if how == "hang" else "death"] += 1
            lines = [line for line in error.splitlines() if line.strip()]
            self.killed.append({**started, "how": how, "words": lines[:12]})


if __name__ == "__main__":
    sys.exit(main())
