"""`llama-ffi rpc-worker`: lend this machine's devices to models of other processes.

One line on stdout says when it is ready and where; everything else, llama.cpp's own lines included, is on
stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TextIO

WARNING = """\
WARNING: {host} is no loopback address. The protocol has no authentication and no encryption: everybody who
can reach this port can use this process, read what it holds, and crash it. Never on an open network.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-H", "--host", default="127.0.0.1", help="IPv4 address to listen on (default: 127.0.0.1)"
    )
    parser.add_argument(
        "-p", "--port", type=int, default=50052, help="port, 0 = any that is free (default: 50052)"
    )
    parser.add_argument(
        "-d",
        "--device",
        action="append",
        metavar="NAME,…",
        help="devices to lend, by the names that `llama-ffi info` shows (default: all GPUs, or the CPU)",
    )
    parser.add_argument(
        "-t",
        "--threads",
        type=int,
        metavar="N",
        help="threads of the CPU device (default: half of the processors)",
    )
    parser.add_argument(
        "-c",
        "--cache",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="keep large tensors on disk for the next load (default folder: llama.cpp's own)",
    )


def run(args: argparse.Namespace) -> int:
    import ipaddress

    import llama_ffi

    names = [name for text in args.device or [] for name in text.replace("/", ",").split(",") if name]
    told = _stdout_for_us()

    def ready(endpoint: str) -> None:
        address = endpoint.rpartition(":")[0]
        if not ipaddress.ip_address(address).is_loopback:
            sys.stderr.write(WARNING.format(host=address))
        told.write(f"RPC worker ready on {endpoint}\n")
        told.flush()

    llama_ffi.rpc.serve(
        args.host,
        args.port,
        devices=names if args.device else None,
        n_threads=args.threads,
        cache=cache_folder() if args.cache == "" else args.cache,
        ready=ready,
    )
    return 0


def cache_folder() -> Path:
    """Return the folder that llama.cpp's own server keeps tensors in."""
    named = os.environ.get("LLAMA_CACHE")
    if named:
        return Path(named) / "rpc"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/llama.cpp/rpc"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "llama.cpp" / "rpc"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llama.cpp" / "rpc"


def _stdout_for_us() -> TextIO:
    """Return a file for our one line on stdout; what C prints there goes to stderr instead."""
    try:
        ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
    except OSError:  # one of them is closed
        return sys.stdout
    return ours
