"""Measure how long a program for llama-cpp-python takes to start: with its own library, and with ours.

    python -m benchmarks.drop_in [--runs 21] [--site FOLDER]

Each round starts one fresh interpreter per row, in turn; each says how long it took from before the first
import until the model that ships is loaded, through the low level. `--site` holds an installed
llama-cpp-python with its own native build (``pip install --target FOLDER llama-cpp-python==0.3.36``);
without it, one is built into the cache, which takes minutes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

LOAD = """
low.llama_backend_init()
params = low.llama_model_default_params()
model = low.llama_model_load_from_file(MODEL, params)
assert model
"""
OWN, DIRECT, INSTALLED = (
    "llama-cpp-python's own",
    "llama_ffi.compat.llama_cpp",
    "install() + import llama_cpp",
)
ROWS = {
    OWN: "import llama_cpp.llama_cpp as low",
    DIRECT: "from llama_ffi.compat import llama_cpp as low",
    INSTALLED: "import llama_ffi.compat\nllama_ffi.compat.install()\nimport llama_cpp.llama_cpp as low",
}
REQUIRED = 0.5
ROOT = Path(__file__).resolve().parent.parent


def program(row: str, model: str) -> str:
    silent = "@low.llama_log_callback\ndef log(level, text, data): pass\nlow.llama_log_set(log, None)\n"
    return (
        f"import time\nstart = time.perf_counter()\n{ROWS[row]}\n{silent}MODEL = {model.encode()!r}\n{LOAD}"
        "print(time.perf_counter() - start)\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=21, help="rounds (default: 21)")
    parser.add_argument("--site", type=Path, help="folder with llama-cpp-python and its native library")
    args = parser.parse_args()
    import llama_ffi

    if args.site is None:
        from tests.compat.upstream import with_native_build

        args.site = with_native_build() / "site"
    model = str(llama_ffi.tiny_model_path())
    entries = [str(ROOT), str(args.site), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entries)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    times: dict[str, list[float]] = {row: [] for row in ROWS}
    for round_ in range(args.runs + 1):
        for row in ROWS:
            command = [sys.executable, "-c", program(row, model)]
            said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
            if round_:  # the first one writes byte code and fills the page cache
                times[row].append(float(said))
    for row, taken in times.items():
        ratio = statistics.median(a / b for a, b in zip(taken, times[OWN], strict=True))
        print(f"{row:<32}{1000 * statistics.median(taken):8.1f} ms{ratio:8.2f}")
    ratios = [statistics.median(a / b for a, b in zip(times[row], times[OWN], strict=True)) for row in ROWS][
        1:
    ]
    print(f"required: both ≤ {REQUIRED} of its own: {'met' if max(ratios) <= REQUIRED else 'MISSED'}")
    return 0 if max(ratios) <= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())
