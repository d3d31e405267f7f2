"""The lifetimes under valgrind's memcheck: no invalid read, write or free in a call of ours.

    LLAMA_FFI_LIB=FOLDER python -m tests.lifetime.valgrind [MODEL]

valgrind knows no AVX-512, so FOLDER must hold a build for plain x86-64-v3:

    python -m build_backends.build native -D GGML_NATIVE=OFF -D GGML_AVX=ON -D GGML_AVX2=ON -D GGML_BMI2=ON \\
        -D GGML_F16C=ON -D GGML_FMA=ON --out FOLDER

Each program runs under memcheck; errors whose stack touches one of our libraries count (the interpreter's
own allocator is switched off with PYTHONMALLOC=malloc, so that use after free is seen there too). Values
that depend on uninitialised memory are not looked for: libllama pads its tensors with what it never reads.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = re.compile(r"libllama|libggml|libmtmd|_cffi_backend")
LOADER = re.compile(r"is_dst \(dl-load")
"""glibc's loader compares "$ORIGIN" eight bytes at a time, beyond its end; valgrind reports every dlopen."""

STATES = (
    "everything_closed",
    "open_objects",
    "garbage_in_a_cycle",
    "generator_in_flight",
    "daemon_thread_decoding",
    "after_a_fork",
    "after_a_failed_load",
)
PROGRAMS = [("tests.lifetime.states", state) for state in STATES] + [("tests.lifetime.valgrind", "--lives")]


def lives(path: Path) -> None:
    """Be the program under memcheck: some lives, in every order of their ends."""
    import gc

    import llama_ffi as lf

    for order in range(3):
        model = lf.Model.load(path)
        context = model.context(n_ctx=256, n_batch=32, n_ubatch=16, n_threads=1)
        chain = lf.SamplerChain().add_grammar(model.vocab, "root ::= [a-zA-Z ]*").add_top_k(5).add_dist(1)
        context.decode(lf.Batch.from_tokens(model.vocab.tokenize("Once upon a time")))
        token = chain.sample(context)
        clone, removed = chain.clone(), chain.remove(0)
        assert context.logits(-1).shape == (model.vocab.n_tokens,) and model.vocab.piece(token)
        with context.borrow_logits() as rows:
            kept = rows[0]
        things = [model, context, chain, clone, removed]
        for each in things if order == 0 else reversed(things):
            if order < 2:
                each.close()
        del model, context, chain, clone, removed, things, each
        gc.collect()
        assert kept.size


def errors(module: str, word: str, model: Path, folder: Path) -> tuple[int, str]:
    """Return (number of errors in our calls, the first one) of one program under memcheck."""
    log = folder / f"{word}.%p"
    command = [
        "valgrind",
        "--tool=memcheck",
        "--undef-value-errors=no",
        "--leak-check=no",
        "--num-callers=30",
    ]
    command += ["--trace-children=no", f"--log-file={log}", sys.executable, "-m", module, word, str(model)]
    environment = os.environ | {"PYTHONMALLOC": "malloc", "GGML_NO_BACKTRACE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{module} {word} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    found = []
    for file in folder.glob(f"{word}.*"):
        for block in re.split(r"\n==\d+== \n", file.read_text(errors="replace")):
            if re.search(r"Invalid|mismatched|overlap|Jump|Process terminating", block, re.IGNORECASE):
                found += [block] if OURS.search(block) and not LOADER.search(block) else []
    return len(found), found[0] if found else ""


def main() -> int:
    words = sys.argv[1:]
    if words[:1] == ["--lives"]:
        lives(Path(words[1]))
        return 0
    import llama_ffi as lf

    model = Path(words[0]) if words else lf.tiny_model_path()
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        for module, word in PROGRAMS:
            began = time.monotonic()
            count, first = errors(module, word, model, Path(folder))
            total += count
            print(f"{word:<26}{count:>4} errors{time.monotonic() - began:>8.0f} s", flush=True)
            if first:
                print("\n".join(first.splitlines()[:30]))
    print(f"{total} errors in all")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
