"""Many calls, in child processes: their results added up, their deaths cut down to the calls they take."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.calls.shares import Table
from tests.fuzz.calls.surface import calls, chosen
from tests.fuzz.gguf import bases

BATCH = 1200
AT_ONCE = 20
"""Methods of a child that makes calls with odd values."""
HANG = 600.0 if "ASAN_OPTIONS" in os.environ else 60.0
"""Seconds without a new call after which a child counts as hung."""

Words = list[str]


@dataclass
class Options:
    """What a campaign does."""

    count: int = 400
    """calls, about"""
    seed: int = 1
    jobs: int = 1
    seconds: float = 1e9
    """begin no new child after so long"""
    without: str = ""
    """names of checks that are off, with commas between"""
    guard: bool = True
    only: str = ""
    """classes or calls to stay with, with commas between"""
    each: int = 0
    """instead of calls at random: each call as a program would make it, up to so many times"""
    odd: float = 0.0
    """instead of calls at random: each odd value in each place, or this share of them"""
    keep: Path | None = None
    """folder for the calls that killed, or ended in an error that isn't ours"""
    batch: int = BATCH
    """calls of a child"""
    until: str = ""
    """a pattern: stop when a death, or what the guard caught, says it"""


@dataclass
class Death:
    """A child that ended before its time."""

    child: int
    status: int | str
    """of the process, or "hang" """
    again: bool
    """whether the calls kill once more"""
    words: Words
    """its last ones"""
    calls: list[dict[str, Any]]
    """the cases it takes"""

    @property
    def text(self) -> str:
        return " ".join(self.words)


class Campaign:
    """Runs children until enough calls are made."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.options, self.folder = options, folder
        self.bases = folder / "bases"
        if not self.bases.exists():
            self.bases.mkdir()
            bases.make_all(self.bases)
        self.lock = threading.Lock()
        self.children = self.pairs = self.planned = self.begun = 0
        self.table = Table(calls())
        self.endings: Counter[str] = Counter()
        self.findings: Counter[tuple[str, str, str]] = Counter()
        self.deaths: list[Death] = []
        self.found = ""
        """what ``until`` was looking for"""
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.began, 1)

    @property
    def made(self) -> int:
        return sum(row.made for row in self.table.rows.values())

    def count(self, ended: str) -> int:
        return sum(count for (_, how, _), count in self.findings.items() if how == ended)

    def run(self) -> None:
        if self.options.odd:
            only = set(self.options.only.split(",")) - {""}
            self.options.count, self.options.batch = len(chosen(self.table.rows, only)), AT_ONCE
        threads = [threading.Thread(target=self._work) for _ in range(self.options.jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        options = self.options
        while True:
            with self.lock:
                left = options.count - self.planned
                if left <= 0 or self.seconds > options.seconds or self.found:
                    return
                size, number = min(options.batch, left), self.children
                self.children += 1
                self.planned += size
            results = self.folder / f"results{options.seed}-{number}"
            results.unlink(missing_ok=True)
            if options.each:
                self.planned, size = options.count, 0
            first = number * (options.batch if options.odd else 1000)
            given = ["--seed", str(options.seed), "--first", str(first), "--calls", str(size)]
            status, words = self._child(results, given)
            cases = self._take(results, f"child{number}")
            if status != 0:
                self._died(number, status, words, cases)
            for each in (results, results.with_suffix(".err")):
                each.unlink(missing_ok=True)

    def _child(self, results: Path, given: list[str]) -> tuple[int | str, Words]:
        """Run a child; returns its exit status or "hang", and its last words."""
        options = self.options
        results.touch()
        command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.calls.child", str(self.bases)]
        command += [str(results), *given]
        for name in ("only", "without", "until", "each", "odd"):
            if getattr(options, name):
                command += [f"--{name}", str(getattr(options, name))]
        environment = {**os.environ, "GGML_NO_BACKTRACE": "1", "PYTHONPATH": os.getcwd()}
        environment["LLAMA_FFI_GUARD"] = str(int(options.guard))
        errors = Path(f"{results}.err")
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
        errors.unlink()
        said = [line for line in lines if line.strip()]
        return status, said if len(said) < 40 else [*said[:12], "...", *said[-25:]]

    def _take(self, results: Path, child: str) -> list[dict[str, Any]]:
        """Add up a child's results; returns its cases with their calls. Those with findings are kept."""
        cases: list[dict[str, Any]] = []
        with self.lock:
            for line in results.read_text().splitlines():
                each = json.loads(line)
                if "case" in each:
                    cases.append({"seed": each["case"], "kind": each["kind"], "calls": []})
                elif "made" in each:
                    cases[-1]["calls"].append(each["made"])
                    self.pairs += 2 * ("pair" in each["made"])
                    self.begun += 1
                elif "done" in each:
                    self.table.add(each["rows"])
                    self.endings.update(each["endings"])
                    for finding in each["findings"]:
                        self.findings[finding["call"], finding["ended"], finding["words"]] += 1
                        if finding["ended"] == "caught by the guard":
                            self._look(finding["words"])
                    if each["findings"]:
                        self._keep(cases[-1:], f"{child}.case{len(cases)}")
        return cases

    def _look(self, words: str) -> None:
        if self.options.until and re.search(self.options.until, words):
            self.found = self.found or words

    def again(self, cases: Iterable[dict[str, Any]]) -> tuple[int | str, Words]:
        """Run recorded cases once more, in a child."""
        file = self.folder / f"again{threading.get_ident()}.json"
        file.write_text(json.dumps(list(cases)))
        results = file.with_suffix(".results")
        results.unlink(missing_ok=True)
        status, words = self._child(results, ["--again", str(file.resolve())])
        lines = [json.loads(line) for line in results.read_text().splitlines()]
        found = [finding["words"] for each in lines for finding in each.get("findings", ())]
        return (status, words) if status != 0 or not found else ("found", found)

    def _kills(self, cases: Iterable[dict[str, Any]]) -> bool:
        return self.again(cases)[0] not in (0, "found")

    def _died(self, number: int, status: int | str, words: Words, cases: list[dict[str, Any]]) -> None:
        """Cut the calls down to those that it takes, and keep them."""
        minimal, kills = cases[-1:], False
        with self.lock:
            self._look(" ".join(words))
        if status != "hang" and cases and not self.options.until:
            kills = self._kills(minimal)
            if not kills:
                minimal = cases
                kills = self._kills(minimal)
            if kills and len(minimal) == 1:
                minimal = [minimal[0] | {"calls": self._fewer(minimal[0])}]
        with self.lock:
            self.deaths.append(Death(number, status, kills, words, minimal))
            self._keep(minimal, f"child{number}")

    def _keep(self, cases: list[dict[str, Any]], name: str) -> None:
        if self.options.keep:
            self.options.keep.mkdir(parents=True, exist_ok=True)
            path = self.options.keep / f"seed{self.options.seed}.{name}.json"
            path.write_text(json.dumps(cases, indent=1) + "\n")

    def _fewer(self, case: dict[str, Any]) -> list[Any]:
        calls, size = case["calls"], len(case["calls"]) // 2
        end = time.monotonic() + 60
        while size and time.monotonic() < end:
            at = 0
            while at < len(calls) and time.monotonic() < end:
                fewer = calls[:at] + calls[at + size :]
                if self._kills([case | {"calls": fewer}]):
                    calls = fewer
                else:
                    at += size
            size //= 2
        return calls
