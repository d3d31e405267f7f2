"""Live random lives on the fake library until enough steps are done, and say how it went.

    python -m tests.fakelib.run --steps 20000 [--seed 1] [--without MECHANISM]

The result is one line of JSON. The process is expendable: a crash of it is a finding, and the file that
``--trace`` names then holds the steps of the life that it died in.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fakelib import build as builder
from tests.fakelib.fake import Fake, model_file


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000, help="at least so many (default: 2000)")
    parser.add_argument("--seed", type=int, default=1, help="of the first round (default: 1)")
    parser.add_argument("--without", help="take a mechanism out: a name of tests/fakelib/mutations.py")
    parser.add_argument("--library", type=Path, help="folder of the compiled fake (default: compile it)")
    parser.add_argument("--trace", type=Path, help="file for the steps of the current life")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        library = args.library or builder.build(Path(folder))
        os.environ["LLAMA_FFI_LIB"] = str(library)
        return live(args, library, model_file(Path(folder)))


def live(args: argparse.Namespace, library: Path, path: Path) -> int:
    from llama_ffi import adapter_file
    from tests.fakelib import mutations
    from tests.fakelib.life import Life

    gc.set_threshold(200, 5, 5)  # collections in the middle of everything
    Life.fake, Life.path = Fake(library), path
    adapter_file.check_lora = lambda *_: None  # no file of the fake's is a real one
    Life.trace = tracer(args.trace)
    if args.without:
        mutations.MUTATIONS[args.without]()
    began, round_ = time.monotonic(), 0
    while Life.steps < args.steps and not Life.failure:
        rules = settings(
            max_examples=20,
            stateful_step_count=60,
            database=None,
            deadline=None,
            phases=(Phase.generate,),  # threads and collections don't repeat, so there is nothing to shrink
            report_multiple_bugs=False,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.normal,
        )
        gc.collect()
        gc.freeze()  # hypothesis's own heap needs no looking at in each of the many collections
        try:
            run_state_machine_as_test(seed(args.seed + round_)(Life), settings=rules)
        except Exception as error:
            Life.failure = Life.failure or f"{type(error).__name__}: {error}"
        round_ += 1
    result = {
        "steps": Life.steps,
        "forks": Life.forks,
        "overlaps": Life.overlaps,
        "made": Life.fake.made(),
        "live": Life.fake.live(),
        "mistakes": Life.fake.mistakes(),
        "failure": Life.failure,
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(result))
    return 1 if Life.failure or result["mistakes"] or result["live"] else 0


def tracer(path: Path | None) -> Callable[[str], None]:
    if path is None:
        return lambda words: None
    file = path.open("w", encoding="utf-8", buffering=1)

    def write(words: str) -> None:
        if words.startswith("---"):
            file.seek(0)
            file.truncate()
        file.write(words + "\n")

    return write


if __name__ == "__main__":
    sys.exit(main())
