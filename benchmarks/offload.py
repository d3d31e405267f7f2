"""Tokens per second with all layers on a device, next to llama-bench of the same build.

    python -m benchmarks.offload --build FOLDER --device CUDA0 [--model FILE] [--tokens 64] [--pairs 5]

FOLDER holds llama-bench and the libraries that it was linked with, which are used here too. A pair runs
llama-bench and our loop in turn; both decode one token after another without sampling. `generate` samples
greedily and makes text, which llama-bench doesn't. The first line is the greedy text of the processor and of
the device: the figures of a device that writes something else mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROMPT = "Once upon a time"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True, help="folder with llama-bench and its libraries")
    parser.add_argument("--device", required=True, help="as `llama-ffi info` calls it; CPU = none")
    parser.add_argument("--model", type=Path, help="default: the model that ships")
    parser.add_argument("--tokens", type=int, default=64, help="per run (default: 64)")
    parser.add_argument("--pairs", type=int, default=5, help="default: 5")
    parser.add_argument("--threads", type=int, default=1, help="libllama's (default: 1)")
    args = parser.parse_args()
    os.environ["LLAMA_FFI_LIB"] = str(args.build.absolute())
    import llama_ffi as lf

    path = args.model or Path(lf.tiny_model_path())
    wanted = greedy(path, [], args)
    devices = [] if args.device == "CPU" else [args.device]
    found = greedy(path, devices, args)
    print(f"text on the CPU and on {args.device}: {'equal' if found == wanted else 'DIFFERENT'}")
    bench, loop, text = [], [], []
    with lf.Model.load(path, devices=devices) as model:
        for _ in range(args.pairs):
            bench.append(by_llama_bench(args.build, path, args))
            loop.append(decode(model, args))
            text.append(generate(model, args))
    for name, speeds in (("llama-bench", bench), ("Context.decode", loop), ("generate", text)):
        ratios = [mine / theirs for mine, theirs in zip(speeds, bench, strict=True)]
        print(f"{name:<16}{statistics.median(speeds):>10,.1f} tokens/s   {statistics.median(ratios):.3f}")
    return 0 if found == wanted else 1


def greedy(path: Path, devices: list[str], args: argparse.Namespace) -> str:
    import llama_ffi as lf

    with lf.Model.load(path, devices=devices) as model:
        pieces = lf.generate(PROMPT, model=model, max_tokens=48, temp=0, n_threads=args.threads)
        return "".join(pieces)


def by_llama_bench(build: Path, path: Path, args: argparse.Namespace) -> float:
    """Return the tokens per second of llama-bench's generation test."""
    command = [build / "llama-bench", "-m", path, "-p", "0", "-n", args.tokens, "-r", "1", "-o", "json"]
    command += ["-t", args.threads, "-dev", "none" if args.device == "CPU" else args.device]
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)[0]["avg_ts"])


def decode(model, args: argparse.Namespace) -> float:  # type: ignore[no-untyped-def]
    """Return the tokens per second of the same work by us."""
    import llama_ffi as lf

    with model.context(n_ctx=args.tokens + 1, n_threads=args.threads) as context:
        batch = lf.Batch(1)
        begin = 0.0
        for position in range(args.tokens + 1):
            if position == 1:  # the first one warms up, as llama-bench does it
                context.synchronize()
                begin = time.perf_counter()
            batch.clear()
            batch.add(position % model.vocab.n_tokens, position, [0], logits=True)
            context.decode(batch)
        context.synchronize()
        return args.tokens / (time.perf_counter() - begin)


def generate(model, args: argparse.Namespace) -> float:  # type: ignore[no-untyped-def]
    import llama_ffi as lf

    running = lf.generate(PROMPT, model=model, max_tokens=args.tokens, temp=0, n_threads=args.threads)
    for _ in running:
        pass
    return (len(running.tokens) - 1) / running.timings.completion_seconds


if __name__ == "__main__":
    sys.exit(main())
