"""`llama-ffi perplexity`: how well a model predicts a text."""

from __future__ import annotations

import argparse
import os
import sys

from .text import read_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    text = parser.add_mutually_exclusive_group(required=True)
    text.add_argument("file", nargs="?", metavar="FILE", help="a text file, UTF-8; - is standard input")
    text.add_argument("-p", "--prompt", metavar="TEXT", help="the text itself")
    parser.add_argument("-m", "--model", metavar="FILE", help="a GGUF file (default: the model that ships)")
    parser.add_argument(
        "-c", "--ctx-size", type=int, default=0, metavar="N", help="tokens of a window (default: 512)"
    )
    parser.add_argument(
        "--stride",
        type=int,
        default=0,
        metavar="N",
        help="tokens between windows (default: a window's length)",
    )
    parser.add_argument("--chunks", type=int, default=0, metavar="N", help="windows (default: all)")
    parser.add_argument("-b", "--batch-size", type=int, default=512, metavar="N", help="tokens per call")
    parser.add_argument("-t", "--threads", type=int, metavar="N", help="CPU threads (default: the cores)")


def run(args: argparse.Namespace) -> int:
    import llama_ffi

    if args.prompt is not None:
        text = os.fsencode(args.prompt)
    elif args.file == "-":
        text = sys.stdin.buffer.read()
    else:
        text = read_file(args.file)
    found = llama_ffi.perplexity(
        args.model,
        text,
        n_ctx=args.ctx_size,
        stride=args.stride,
        max_windows=args.chunks,
        n_batch=args.batch_size,
        n_threads=args.threads,
    )
    print(f"perplexity {found.value:.4f} ± {found.error:.4f}, {found.n_tokens} tokens")
    return 0
