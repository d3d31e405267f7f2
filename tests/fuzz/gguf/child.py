"""The expendable process: runs cases one after the other and writes down how each one ended.

    python -m tests.fuzz.gguf.child BASES FIRST COUNT SEED RESULTS [--without check] [--isolate]

A line of JSON per finished case. A case that isn't followed by a line is the one that killed the process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_ffi as lf
from llama_ffi import errors
from tests.fuzz.gguf.mutate import case
from tests.fuzz.gguf.systematic import systematic, systematic_case

MEMORY = 3 << 30


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("bases", type=Path)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("results", type=Path)
    parser.add_argument("--without", choices=["check"])
    parser.add_argument("--bases-only", default="", help="names, with commas between")
    parser.add_argument("--systematic", action="store_true")
    parser.add_argument("--keep", type=Path, help="where to put the file of the running case")
    args = parser.parse_args()
    if "ASAN_OPTIONS" not in os.environ:  # its shadow memory alone is terabytes of addresses
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    if args.without == "check":
        without_check()
    bases = {path.stem: path for path in sorted(args.bases.glob("*.gguf")) if "-of-00002" not in path.stem}
    bases["split"] = args.bases / "split-00001-of-00002.gguf"
    chosen = set(args.bases_only.split(",")) if args.bases_only else set(bases)
    sound, bases = bases["llama"], {name: path for name, path in bases.items() if name in chosen}
    every = systematic(bases) if args.systematic else []
    with lf.Model.load(sound) as llama, open(args.results, "a", buffering=1) as results:
        for number in range(args.first, args.first + args.count):
            if every:
                base, data, done = systematic_case(every[number], bases)
            else:
                base, data, done = case(number, args.seed, bases)
            path = args.keep / f"case.{os.getpid()}.gguf"
            if base == "split":
                path = args.keep / f"case.{os.getpid()}-00001-of-00002.gguf"
                second = args.keep / f"case.{os.getpid()}-00002-of-00002.gguf"
                if number % 2 and not every:  # the second part is the damaged one
                    data = bases["split"].read_bytes()
                    other = bases["split"].with_name("split-00002-of-00002.gguf")
                    _, damaged, done = case(number, args.seed, {"split": other})
                    second.write_bytes(damaged)
                else:
                    second.write_bytes(bases["split"].with_name("split-00002-of-00002.gguf").read_bytes())
            path.write_bytes(data)
            results.write(json.dumps({"case": number, "base": base, "done": done}) + "\n")
            began = time.monotonic()
            ended, words = run(base, path, llama)
            took = round(time.monotonic() - began, 2)
            results.write(json.dumps({"case": number, "ended": ended, "words": words, "took": took}) + "\n")
    return 0


def without_check() -> None:
    """Let C see every file: what our own check catches is then the guard's or C's, or a death."""
    from llama_ffi._core import gguf_scan, model_file

    nothing = gguf_scan.Header(3, 32, {}, {}, {}, 0, 0, 0)
    model_file.look_at = lambda path: nothing
    model_file.check_model = lambda *args: None


def run(base: str, path: Path, llama: lf.Model) -> tuple[str, str]:
    for read in (lf.gguf.GgufContext.load, from_bytes, from_file_object):
        try:
            with read(path) as context:
                _ = context.items(), context.tensors, context.alignment, context.data_offset
                context.to_bytes()
        except errors.LlamaError:
            pass
    try:
        if base == "projector":
            return projector(path)
        if base == "lora":
            return lora(path, llama)
        if base == "control":
            return control(path, llama)
        if base == "imatrix":
            return imatrix(path, llama)
        model = lf.Model.load(path, n_gpu_layers=0)
    except errors.NativeAbortError as error:
        return "guard at load", str(error)[-200:]
    except errors.ModelLoadError as error:
        return ("refused by C" if error.log else "refused by our check"), str(error)[-200:]
    except errors.LlamaError as error:
        return f"error at load: {type(error).__name__}", str(error)[-200:]
    try:
        with model:
            use(model)
    except errors.NativeAbortError as error:
        return "guard in use", str(error)[-300:]
    except errors.LlamaError as error:
        return f"error in use: {type(error).__name__}", str(error)[-300:]
    return "worked", ""


def use(model: lf.Model) -> None:
    """What a program does with a model first."""
    for name in ("metadata", "desc", "size", "n_params", "n_head", "rope_type", "ftype_name", "cls_labels"):
        getattr(model, name)
    model.chat_template()
    vocab = model.vocab
    tokens = vocab.tokenize("the quick <|im_start|> \u00e9", add_special=True, parse_special=True)
    for token in [*tokens[:5], 0, vocab.n_tokens - 1]:
        vocab.piece(token)
    vocab.detokenize(tokens)
    with model.context(n_ctx=64, n_batch=32, n_ubatch=32, n_threads=1) as ctx:
        given = [token for token in tokens if 0 <= token < vocab.n_tokens][:8] or [0]
        if model.has_encoder:
            ctx.encode(lf.Batch.from_tokens(given, logits="all"))
            return
        ctx.decode(lf.Batch.from_tokens(given, logits="all"))
        chain = lf.SamplerChain()
        chain.add_top_k(5)
        chain.add_dist(1)
        for number in range(2):
            token = chain.sample(ctx, -1)
            ctx.decode(lf.Batch.from_tokens([token], pos0=len(given) + number))


def from_bytes(path: Path) -> lf.gguf.GgufContext:
    return lf.gguf.GgufContext.from_bytes(path.read_bytes())


def from_file_object(path: Path) -> lf.gguf.GgufContext:
    with open(path, "rb") as file:
        return lf.gguf.GgufContext.from_file_object(file)


def projector(path: Path) -> tuple[str, str]:
    """There is no safe call that uses one; taken for a model it is refused, and its numbers can be read."""
    try:
        with lf.gguf.read(path) as file:
            for tensor in file.tensors.values():
                _ = tensor.data, tensor.shape
    except errors.GgufError as error:
        ended = "refused by our check", str(error)[-200:]
    else:
        ended = "worked", ""
    try:
        lf.Model.load(path, n_gpu_layers=0).close()
    except errors.NativeAbortError as error:
        return "guard at load", str(error)[-200:]
    except errors.ModelLoadError:
        return ended
    return "a model?", ""


def lora(path: Path, llama: lf.Model) -> tuple[str, str]:
    return at_load(lambda: llama.load_lora(path), lambda adapter, ctx: ctx.set_loras([(adapter, 1.0)]), llama)


def control(path: Path, llama: lf.Model) -> tuple[str, str]:
    return at_load(
        lambda: lf.read_control_vector(path), lambda vector, ctx: ctx.set_control_vector(vector), llama
    )


def imatrix(path: Path, llama: lf.Model) -> tuple[str, str]:
    def look(matrix: lf.ImportanceMatrix, _: lf.Context) -> None:
        for name in matrix.entries:
            matrix.values(name)
        matrix.save(path)

    return at_load(lambda: lf.ImportanceMatrix.load(path), look, llama)


def at_load(
    load: Callable[[], Any], use: Callable[[Any, lf.Context], object], llama: lf.Model
) -> tuple[str, str]:
    try:
        loaded = load()
    except errors.NativeAbortError as error:
        return "guard at load", str(error)[-200:]
    except errors.LlamaError as error:
        return ("refused by C" if error.log else "refused by our check"), str(error)[-200:]
    try:
        with llama.context(n_ctx=64, n_batch=32, n_threads=1) as ctx:
            use(loaded, ctx)
            ctx.decode(lf.Batch.from_tokens([1, 5, 6]))
    except errors.NativeAbortError as error:
        return "guard in use", str(error)[-300:]
    except errors.LlamaError as error:
        return f"error in use: {type(error).__name__}", str(error)[-300:]
    finally:
        if hasattr(loaded, "close"):
            loaded.close()
    return "worked", ""


if __name__ == "__main__":
    sys.exit(main())
