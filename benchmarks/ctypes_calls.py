"""Count what a token costs through the ctypes declarations: llama-cpp-python's own, and ours.

    python -m benchmarks.ctypes_calls [--tokens 50]

The low-level loop that programs for llama-cpp-python have: make a batch, decode, sample, make the text. Both
declarations call the same functions of the same library on the same context, in one process under callgrind,
so that what differs is the declarations; the same loop in C shows what is no cost of theirs. Needs what
``benchmarks.instructions`` needs, and llama-cpp-python's Python code, which is fetched by name and hash.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

from . import counting

ROWS = ("c", "theirs", "ours")


def run_loops(model: Path, tokens: int) -> None:
    """Be the counted process."""
    import llama_cpp.llama_cpp as theirs

    from llama_ffi.compat import llama_cpp as ours

    from .c_loop import address
    from .loops import Loops

    loops = Loops(model, n_threads=1, counting=True)
    ctx, sampler = address(loops.context.ptr), address(loops.chain.ptr)

    def loop(api: Any, n: int) -> bytes:
        vocab = api.llama_model_get_vocab(api.llama_get_model(ctx))
        api.llama_memory_clear(api.llama_get_memory(ctx), True)
        prompt = (api.llama_token * len(loops.prompt))(*loops.prompt)
        api.llama_decode(ctx, api.llama_batch_get_one(prompt, len(prompt)))
        token, piece = (api.llama_token * 1)(), ctypes.create_string_buffer(256)
        chain = ctypes.cast(sampler, api.llama_sampler_p_ctypes)
        text = b""
        for _ in range(n):
            token[0] = chosen = api.llama_sampler_sample(chain, ctx, -1)
            text += piece[: api.llama_token_to_piece(vocab, chosen, piece, 256, 0, False)]
            if api.llama_decode(ctx, api.llama_batch_get_one(token, 1)) != 0:
                raise RuntimeError("llama_decode failed")
        return text

    # Each with code of its own: Python specializes code for the module that it sees first.
    mine, other = (FunctionType(loop.__code__.replace(), globals(), closure=loop.__closure__) for _ in "ab")
    run = {"c": loops.c, "theirs": lambda n: other(theirs, n), "ours": lambda n: mine(ours, n)}
    texts = {loops.c(tokens)[1], run["theirs"](tokens), run["ours"](tokens)}
    if len(texts) != 1:
        raise RuntimeError(f"the loops differ in what they write: {texts}")
    counting.count_each(run, loops.c_loop.count, tokens)


def prepare(folder: Path) -> None:
    """Let the counted process find llama-cpp-python's code, and let that find our library."""
    from llama_ffi import library_paths
    from tests.compat.upstream import python_code

    (folder / "lib").mkdir()
    for key, path in library_paths().items():  # under their own names, and under those it looks for
        (folder / "lib" / path.name).symlink_to(path)
        (folder / "lib" / f"lib{key}.so").symlink_to(path)
    entries = [str(python_code() / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(entries)
    os.environ["LLAMA_FFI_LIB"] = str(library_paths()["llama"].parent)
    os.environ["LLAMA_CPP_LIB_PATH"] = str(folder / "lib")


def main() -> int:
    per_token = counting.per_token("benchmarks.ctypes_calls", str(__doc__), ROWS, run_loops, prepare)
    if per_token is None:
        return 0
    for row, figure in per_token.items():
        print(f"{row:<10}{figure:>14,.0f} instructions per token")
    theirs, ours = (per_token[row] - per_token["c"] for row in ("theirs", "ours"))
    print(f"above C   theirs {theirs:,.0f}, ours {ours:,.0f}: {ours / theirs:.3f}")
    passed = ours <= 1.005 * theirs  # what lies where in memory moves a count by less than this
    print(f"required: ours not above theirs: {'met' if passed else 'MISSED'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
