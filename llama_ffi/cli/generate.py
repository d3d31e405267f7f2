"""`llama-ffi generate`: write a continuation of a prompt, piece by piece as it comes.

numpy stays out: its import alone costs more than loading the library and the model that ships.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from .sampling import add_computing, add_model, add_sampling, open_model, sampling
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
    prompt = utf8(args.text if args.text is not None else args.prompt or "", "the prompt")
    with open_model(args, isolate=True) as model:
        write(prompt, begin(model, prompt, args), shown=args.no_display_prompt)
    return 0


def begin(model: Any, prompt: str, args: argparse.Namespace) -> Iterator[str]:
    """Return the pieces of the continuation; a model on RPC workers makes them in its own process."""
    import llama_ffi

    options = {
        "max_tokens": args.max_tokens,
        "n_ctx": args.ctx_size,
        "n_threads": args.threads,
        **sampling(args),
    }
    if args.rpc:
        pieces: Iterator[str] = model.generate(prompt, **options)
        return pieces
    return llama_ffi.generate(prompt, model=model, **options)


def write(prompt: str, pieces: Iterator[str], *, shown: bool) -> None:
    """Print the prompt, unless it is `shown` already, and the pieces as they come."""
    out = sys.stdout
    last = ""
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
