"""Saving and loading a state, next to what the disk and SHA-256 cost by themselves.

    python -m benchmarks.state [--pairs 11] [--folder DIR]

A random model of 134 M parameters holds 2,048 tokens: 75 MB of keys and values, f16. Saving is compared with
a plain write of the same bytes, fsync and one pass of hashlib; loading with a plain read and one pass. The
pairs are interleaved, the figure is the median of their ratios: at most 1.25. While a state is saved, the
process may grow by at most 16 MB of memory of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import llama_ffi as lf
from llama_ffi import testing

_N_TOKENS = 2048
_MOST_RATIO = 1.25
_MOST_GROWTH = 16 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure saving and loading states.")
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--folder", help="where to write; default: the system's temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        return _measure(Path(folder), arguments.pairs)


def _measure(folder: Path, pairs: int) -> int:
    path, plain = folder / "x.state", folder / "plain"
    with _model() as model, model.context(n_ctx=_N_TOKENS, n_batch=512, n_ubatch=512) as ctx:
        tokens = [1 + index % 200 for index in range(_N_TOKENS)]
        for begin in range(0, _N_TOKENS, 512):
            batch = lf.Batch(512)
            for position in range(begin, begin + 512):
                batch.add(tokens[position], position, [0], logits=position % 512 == 511)
            ctx.decode(batch)
        lf.StateFile.save(ctx, path, tokens)
        data = path.read_bytes()
        growth = _growth(lambda: lf.StateFile.save(ctx, path, tokens))

        def write() -> None:
            with open(plain, "wb", buffering=0) as file:
                file.write(data)
                os.fsync(file.fileno())
            hashlib.sha256(data).digest()

        def read() -> None:
            with open(plain, "rb", buffering=0) as file:
                hashlib.sha256(file.read()).digest()

        save = _ratio(lambda: lf.StateFile.save(ctx, path, tokens), write, pairs)
        small = lf.StateFile.save(ctx, folder / "small", tokens, compress=3)
        packed = small.size / len(data)
        slower = _ratio(lambda: lf.StateFile.save(ctx, folder / "small", tokens, compress=3), write, 3)
        load = _ratio(lambda: lf.StateFile.load(ctx, path), read, pairs)
    print(f"state: {len(data) / 1e6:.1f} MB; {pairs} pairs")
    met = True
    for name, value, most in (("save", save, _MOST_RATIO), ("load", load, _MOST_RATIO)):
        met &= value <= most
        print(f"{name}: {value:.2f} x the plain one (at most {most})")
    met &= growth <= _MOST_GROWTH
    print(f"with compress=3: {packed:.2f} of the size, save {slower:.1f} x the plain one")
    print(f"memory of its own during a save: +{growth / 1e6:.1f} MB (at most {_MOST_GROWTH / 1e6:.1f})")
    return 0 if met else 1


def _model() -> lf.Model:
    return testing.random_model(
        "llama", n_embd=768, n_layer=12, n_head=12, n_head_kv=12, n_ff=2048, n_ctx_train=4096, n_vocab=32000
    )


def _ratio(ours: Callable[[], object], plain: Callable[[], object], pairs: int) -> float:
    ratios = []
    for index in range(pairs):
        first, second = (ours, plain) if index % 2 else (plain, ours)
        times = {}
        for call in (first, second):
            begin = time.perf_counter()
            call()
            times[call] = time.perf_counter() - begin
        ratios.append(times[ours] / times[plain])
    return statistics.median(ratios)


def _growth(call: Callable[[], object]) -> int:
    """Return by how much the anonymous memory of this process grows at most while ``call`` runs."""
    before, most, done = _anonymous(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.001):
            most = max(most, _anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    call()
    done.set()
    thread.join()
    return most - before


def _anonymous() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system doesn't tell the memory of a process")


if __name__ == "__main__":
    sys.exit(main())
