"""Tests and campaigns on a libllama, ggml and guard that are built with AddressSanitizer and UBSan.

    python -m tests.sanitizers suite [--jobs 2] [PYTEST'S ARGUMENTS …]
    python -m tests.sanitizers gguf|systematic|calls|states [--count 1000]

Builds them if need be (GCC; minutes, the result is kept), runs, and sorts what was reported by its place in
the source. The exit status is 1 for anything that ``known.py`` doesn't list, and for a run that failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.sanitizers import environment, known, reports

ROOT = Path(__file__).resolve().parents[2]

_STACK = "tokenizes 60,000 equal letters, on a stack as large as frames without sanitizers need"
LEFT_OUT = {
    "tests/bindgen": "compiles and parses; no call of ours",
    "tests/build": "builds libraries of its own",
    "tests/fakelib": "another library, which has sanitizers of its own kind: it counts",
    "tests/repo": "texts",
    "tests/sanitizers": "the sanitizers' own test",
    "tests/native/test_killers.py::test_raw_dies": "calls without the safe layer, made to die",
    "tests/native/test_vocab.py::test_long_runs_of_one_character_do_not_overflow_the_stack": _STACK,
    "tests/native/test_killers.py::test_safe_lives": _STACK,
    "tests/structured/test_hostile.py::test_each_is_used_or_refused": (
        "bounds its address space, in which AddressSanitizer's shadow has no room"
    ),
    "tests/fuzz/calls/test_calls.py::test_a_death_is_cut_down_and_kept": (
        "has a minute to cut a death's calls down, which is too little for processes that start this slowly"
    ),
    "tests/native/test_foreign_layout.py::test_a_missing_function_disables_itself_alone": (
        "takes a name out of the library's file; debugging information has it three times"
    ),
}
"""what `suite` doesn't run, and why"""

CAMPAIGNS = {
    "gguf": ["tests.fuzz.gguf"],
    "systematic": ["tests.fuzz.gguf", "--systematic"],
    "calls": ["tests.fuzz.calls"],
    "states": ["tests.state.mutations"],
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.sanitizers", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("what", choices=["suite", *CAMPAIGNS])
    parser.add_argument("--count", type=int, default=1000, help="cases of a campaign")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--lib", type=Path, help="folder of the libraries, if they are built already")
    parser.add_argument("--reports", type=Path, help="folder to keep the reports in")
    parser.add_argument("--only-reports", action="store_true", help="sort the reports that are there")
    args, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.reports or Path(scratch) / "reports"
        folder.mkdir(parents=True, exist_ok=True)
        status = 0
        if not args.only_reports:
            lib = args.lib or environment.build()
            variables = environment.variables(lib, folder.absolute(), Path(scratch))
            status = subprocess.run(command(args, more), cwd=ROOT, env=os.environ | variables).returncode
        new = show(reports.collect(folder))
    print(f"{new} new findings; the run ended with {status}")
    return 1 if new or status else 0


def command(args: argparse.Namespace, more: list[str]) -> list[str]:
    """Return what runs under the sanitizers."""
    python = [sys.executable, "-m"]
    if args.what == "suite":
        chosen = [each for each in more if each.startswith("tests/")]
        ignored = [f"--{'deselect' if '::' in path else 'ignore'}={path}" for path in LEFT_OUT]
        options = ["-q", "-p", "no:cacheprovider", "-n", str(args.jobs), "--timeout=1800"]
        return [*python, "pytest", *options, *ignored, *([] if chosen else ["tests"]), *more]
    return [*python, *CAMPAIGNS[args.what], "--count", str(args.count), *more]


def show(findings: list[reports.Finding]) -> int:
    """Print all findings, the known ones shortly; return how many are new."""
    new = 0
    for finding in findings:
        row = known.known(finding)
        print(f"{'known' if row else 'NEW  '} {finding}")
        if row is None:
            new += 1
            print("    " + finding.example.replace("\n", "\n    "))
    return new


if __name__ == "__main__":
    sys.exit(main())
