"""`llama-ffi generate`: write a continuation of a prompt, piece by piece as it comes.

numpy stays out: its import alone costs more than loading the library and the model that ships.
"""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("text", nargs="?", metavar="PROMPT", help="the text to continue (default: none)")
    prompt.add_argument(
        "-p", "--prompt", metavar="PROMPT", help="the same; --prompt=-x if it begins with '-'"
    )
    parser.add_argument("-m", "--model", metavar="FILE", help="a GGUF file (default: the model that ships)")
    parser.add_argument(
        "-n", "--max-tokens", type=int, default=128, metavar="N", help="stop after N tokens (default: 128)"
    )
    parser.add_argument(
        "-c", "--ctx-size", type=int, default=0, metavar="N", help="context in tokens (default: the model's)"
    )
    parser.add_argument(
        "-t", "--threads", type=int, metavar="N", help="CPU threads (default: the cores; 1 if small)"
    )
    parser.add_argument("--n-gpu-layers", type=int, metavar="N", help="layers to keep on GPUs (default: all)")
    parser.add_argument(
        "--temp", type=float, default=0.8, metavar="T", help="temperature, 0 = greedy (default: 0.8)"
    )
    parser.add_argument(
        "--top-k", type=int, default=40, metavar="K", help="keep the K likeliest, 0 = all (default: 40)"
    )
    parser.add_argument(
        "--top-p", type=float, default=0.95, metavar="P", help="nucleus, 1 = off (default: 0.95)"
    )
    parser.add_argument(
        "--min-p", type=float, default=0.05, metavar="P", help="least relative probability (default: 0.05)"
    )
    parser.add_argument(
        "-s", "--seed", type=int, metavar="S", help="random seed (default: another one each time)"
    )
    parser.add_argument("--no-display-prompt", action="store_true", help="show the continuation only")


def run(args: argparse.Namespace) -> int:
    import llama_ffi

    prompt = args.text if args.text is not None else args.prompt or ""
    pieces = llama_ffi.generate(
        prompt,
        model=llama_ffi.tiny_model_path() if args.model is None else args.model,
        max_tokens=args.max_tokens,
        temp=args.temp,
        top_k=args.top_k,
        top_p=args.top_p,
        min_p=args.min_p,
        seed=args.seed,
        n_ctx=args.ctx_size,
        n_threads=args.threads,
        n_gpu_layers=args.n_gpu_layers,
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
