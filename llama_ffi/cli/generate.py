"""`llama-ffi generate`: write a continuation of a prompt, piece by piece as it comes.

numpy stays out: its import alone costs more than loading the library and the model that ships.
"""

from __future__ import annotations

import argparse
import sys

from .sampling import add_computing, add_model, add_sampling, sampling
from .text import utf8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("text", nargs="?", metavar="PROMPT", help="the text to continue (default: none)")
    prompt.add_argument(
        "-p", "--prompt", metavar="PROMPT", help="the same; --prompt=-x if it begins with '-'"
    )
    add_model(parser)
    parser.add_argument(
        "-n", "--max-tokens", type=int, default=128, metavar="N", help="stop after N tokens (default: 128)"
    )
    add_computing(parser)
    add_sampling(parser)
    parser.add_argument("--no-display-prompt", action="store_true", help="show the continuation only")


def run(args: argparse.Namespace) -> int:
    import llama_ffi

    prompt = utf8(args.text if args.text is not None else args.prompt or "", "the prompt")
    pieces = llama_ffi.generate(
        prompt,
        model=llama_ffi.tiny_model_path() if args.model is None else args.model,
        max_tokens=args.max_tokens,
        n_ctx=args.ctx_size,
        n_threads=args.threads,
        n_gpu_layers=args.n_gpu_layers,
        **sampling(args),
    )
    out = sys.stdout
    last = ""
    shown = args.no_display_prompt
    for piece in pieces:
        # The prompt waits for the first piece: a wrong model shows its error and nothing else.
        if not shown:
            out.write(prompt)
            shown = True
        out.write(piece)
        out.flush()
        last = piece or last
    if not shown:
        out.write(prompt)
    if not last.endswith("\n"):
        out.write("\n")
    return 0
