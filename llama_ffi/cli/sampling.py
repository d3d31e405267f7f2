"""The options that `generate` and `chat` share: the model, its threads, and how tokens are chosen."""

from __future__ import annotations

import argparse
from typing import Any


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-m", "--model", metavar="FILE", help="a GGUF file (default: the model that ships)")


def add_computing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c", "--ctx-size", type=int, default=0, metavar="N", help="context in tokens (default: the model's)"
    )
    parser.add_argument(
        "-t", "--threads", type=int, metavar="N", help="CPU threads (default: the cores; 1 if small)"
    )
    parser.add_argument("--n-gpu-layers", type=int, metavar="N", help="layers to keep on GPUs (default: all)")


def add_sampling(parser: argparse.ArgumentParser) -> None:
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


def sampling(args: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_sampling` has parsed as arguments of the library."""
    return {name: getattr(args, name) for name in ("temp", "top_k", "top_p", "min_p", "seed")}
