"""Call everything that is public, with anything, in any order: in child processes whose deaths count.

    python -m tests.fuzz.calls --count 100000 [--seed 1] [--jobs 2] [--keep FOLDER] [--without CHECK]

Exit status 1 if there was a death, a hang, a failure that only the guard caught, or an exception that is
not one of ours. The calls of each death are cut down to those it takes and kept as JSON:
``python -m tests.fuzz.calls --again FILE`` runs them again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

BATCH = 1200
HANG = 600.0 if "ASAN_OPTIONS" in os.environ else 60.0
"""Seconds without a new call after which a child counts as hung."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.calls", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=400, help="how many calls")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no new child after so long")
    parser.add_argument("--without", default="", help="switch this check off (tests/fuzz/calls/off.py)")
    parser.add_argument("--keep", type=Path, help="folder for the calls that killed")
    parser.add_argument("--again", type=Path, help="run recorded calls again")
    parser.add_argument("--only", default="", help="only calls on these classes, with commas between")
    parser.add_argument("--methods", action="store_true", help="say of each method how often C was reached")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), args)
        if args.again:
            status, words = campaign.again(json.loads(args.again.read_text()))
            print(json.dumps({"status": status, "words": words}))
            return int(status != 0)
        campaign.work_all()
        return campaign.report()


class Campaign:
    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        from tests.fuzz.gguf import bases

        self.args, self.folder = args, folder
        self.bases = folder / "bases"
        self.bases.mkdir()
        bases.make_all(self.bases)
        self.lock = threading.Lock()
        self.next = 0
        self.calls = 0
        self.counts: Counter[str] = Counter()
        self.reached: Counter[str] = Counter()
        self.endings: Counter[str] = Counter()
        self.findings: Counter[tuple[str, str, str]] = Counter()
        self.deaths: list[dict[str, Any]] = []
        self.began = time.monotonic()

    def work_all(self) -> None:
        threads = [threading.Thread(target=self.work) for _ in range(self.args.jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def work(self) -> None:
        while True:
            with self.lock:
                left = self.args.count - self.calls
                if left <= 0 or time.monotonic() - self.began > self.args.seconds:
                    return
                size, number = min(BATCH, left), self.next
                self.next += 1
                self.calls += size
            results = self.folder / f"results{number}"
            options = ["--seed", str(self.args.seed), "--first", str(number * 1000), "--calls", str(size)]
            status, words = self.child(results, options)
            cases = self.take(results)
            if status != 0:
                self.died(number, status, words, cases)
            for each in (results, results.with_suffix(".err")):
                each.unlink(missing_ok=True)

    def child(self, results: Path, options: list[str]) -> tuple[int | str, list[str]]:
        """Run a child; returns its exit status or "hang", and its last words."""
        results.touch()
        command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.calls.child", str(self.bases)]
        command += [str(results), *options]
        if self.args.only:
            command += ["--only", self.args.only]
        if self.args.without:
            command += ["--without", self.args.without]
        environment = {**os.environ, "GGML_NO_BACKTRACE": "1", "PYTHONPATH": os.getcwd()}
        errors = results.with_suffix(".err")
        with open(errors, "wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        size, since, status = 0, time.monotonic(), None
        while status is None:
            try:
                status = process.wait(0.1)
            except subprocess.TimeoutExpired:
                now = results.stat().st_size
                if now != size:
                    size, since = now, time.monotonic()
                elif time.monotonic() - since > HANG:
                    process.send_signal(6)  # faulthandler says where
                    process.wait()
                    status = "hang"
        lines = errors.read_text(errors="replace").splitlines()
        return status, [line for line in lines if line.strip()][-25:]

    def take(self, results: Path) -> list[dict[str, Any]]:
        """Add up a child's results; returns its cases with their calls."""
        cases: list[dict[str, Any]] = []
        with self.lock:
            for line in results.read_text().splitlines():
                each = json.loads(line)
                if "case" in each:
                    cases.append({"seed": each["case"], "kind": each["kind"], "calls": []})
                elif "made" in each:
                    cases[-1]["calls"].append(each["made"])
                elif "done" in each:
                    self.counts.update(each["counts"])
                    self.reached.update(each["reached"])
                    self.endings.update(each["endings"])
                    for finding in each["findings"]:
                        self.findings[finding["call"], finding["ended"], finding["words"]] += 1
        return cases

    def again(self, cases: list[dict[str, Any]]) -> tuple[int | str, list[str]]:
        file = self.folder / f"again{threading.get_ident()}.json"
        file.write_text(json.dumps(cases))
        results = file.with_suffix(".results")
        results.unlink(missing_ok=True)
        return self.child(results, ["--again", str(file.resolve())])

    def died(self, number: int, status: int | str, words: list[str], cases: list[dict[str, Any]]) -> None:
        """Cut the calls down to those that it takes, and keep them."""
        minimal, kills = cases[-1:], False
        if status != "hang" and cases:
            kills = self.again(minimal)[0] != 0
            if not kills:
                minimal = cases
                kills = self.again(minimal)[0] != 0
            if kills and len(minimal) == 1:
                minimal = [minimal[0] | {"calls": self.fewer(minimal[0])}]
        with self.lock:
            self.deaths.append(
                {"child": number, "status": status, "again": kills, "words": words, "calls": minimal}
            )
            if self.args.keep:
                self.args.keep.mkdir(parents=True, exist_ok=True)
                name = f"seed{self.args.seed}.child{number}.json"
                (self.args.keep / name).write_text(json.dumps(minimal, indent=1) + "\n")

    def fewer(self, case: dict[str, Any]) -> list[Any]:
        calls, size = case["calls"], len(case["calls"]) // 2
        end = time.monotonic() + 60
        while size and time.monotonic() < end:
            at = 0
            while at < len(calls) and time.monotonic() < end:
                fewer = calls[:at] + calls[at + size :]
                if self.again([case | {"calls": fewer}])[0] != 0:
                    calls = fewer
                else:
                    at += size
            size //= 2
        return calls

    def report(self) -> int:
        from tests.fuzz.calls.surface import calls

        every = calls()
        done = sum(self.counts.values())
        guard = sum(n for (_, ended, _), n in self.findings.items() if ended == "caught by the guard")
        other = sum(n for (_, ended, _), n in self.findings.items() if ended == "other exception")
        reaching = {name for name in every if self.reached[name]}
        shares = {
            name: self.reached[name] / self.counts[name] for name in reaching if self.counts[name] >= 20
        }
        print(json.dumps({
            "calls": done,
            "seed": self.args.seed,
            "without": self.args.without,
            "seconds": round(time.monotonic() - self.began, 1),
            "deaths": sum(1 for each in self.deaths if each["status"] != "hang"),
            "hangs": sum(1 for each in self.deaths if each["status"] == "hang"),
            "caught by the guard": guard,
            "other exceptions": other,
            "public calls": len(every),
            "called": len([name for name in every if self.counts[name]]),
            "never called": sorted(name for name in every if not self.counts[name])[:80],
            "reached C": sum(self.reached.values()),
            "methods that call C": len(shares),
            "of them under 40 %": {
                name: round(shares[name], 2) for name in sorted(shares) if shares[name] < 0.4
            },
            "tell of C and never called it": sorted(
                name for name in every if every[name].says_c and self.counts[name] and name not in reaching
            ),
            "ended": dict(self.endings.most_common()),
        }, indent=1))  # fmt: skip
        if self.args.methods:
            for name, share in sorted(shares.items(), key=lambda each: each[1]):
                print(f"{share:6.1%} of {self.counts[name]:6}: {name}")
        for (name, ended, words), count in self.findings.most_common(300):
            print(f"{count:5} {name}: {ended}: {words}")
        for each in self.deaths:
            print("KILLED:", json.dumps(each))
        return 1 if self.deaths or guard or other or not done else 0


if __name__ == "__main__":
    sys.exit(main())
