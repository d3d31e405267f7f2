"""`llama-ffi info`: which library runs and how it was found, what it can use, what a model says of itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .text import printable, shorten, size

if TYPE_CHECKING:
    from llama_ffi import Model

WIDTH = 14
LONGEST_VALUE = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", metavar="MODEL", help="a GGUF file to show as well")


def run(args: argparse.Namespace) -> int:
    import llama_ffi

    if args.model is None:
        show_library()
        return 0
    # The model first: if it is wrong, the error is all that appears.
    with llama_ffi.Model.load(args.model, vocab_only=True) as model:
        show_library()
        print()
        show_model(args.model, model)
    return 0


def show_library() -> None:
    import llama_ffi

    info = llama_ffi.library_info()
    line("llama-ffi", llama_ffi.__version__)
    line("llama.cpp", f"{info.version}, commit {info.commit}")
    line("found via", info.found_via)
    line("verified by", info.verified_by)
    paths = llama_ffi.library_paths()
    folders = {str(path.parent) for path in paths.values()}
    if len(folders) == 1:
        line("folder", folders.pop())
        table("libraries", ((name, path.name) for name, path in paths.items()))
    else:
        table("libraries", ((name, str(path)) for name, path in paths.items()))
    line("back ends", ", ".join(llama_ffi.available_backends()))
    table(
        "devices",
        (
            (
                device.name,
                f"{device.description}, {size(device.memory_total)}, {size(device.memory_free)} free",
            )
            for device in llama_ffi.devices()
        ),
    )


def show_model(path: str, model: Model) -> None:
    line("model", path)
    line("architecture", model.arch)
    line("parameters", f"{model.n_params:,}")
    line("tensors", size(model.size))
    line("vocabulary", f"{model.vocab.n_tokens:,} tokens")
    table("metadata", ((key, shorten(value, LONGEST_VALUE)) for key, value in sorted(model.metadata.items())))


def line(name: str, value: str) -> None:
    print(f"{name:<{WIDTH}}{printable(value)}")


def table(title: str, rows: Iterable[tuple[str, str]]) -> None:
    listed = list(rows)
    print(title if listed else f"{title:<{WIDTH}}none")
    width = max((len(name) for name, _ in listed), default=0)
    for name, value in listed:
        print(f"  {printable(name):<{max(width, WIDTH - 4)}}  {printable(value)}")
