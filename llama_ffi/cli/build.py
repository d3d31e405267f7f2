"""`llama-ffi build`: a back end for this installation, compiled from llama.cpp's pinned source."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from ..errors import LlamaError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    _builder("command").add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Build, or take from the cache, and print the folder with the result."""
    try:
        print(_builder("command").run(args))
    except _builder("errors").BuildError as error:
        # Not one line: the compiler's own words and the log's path are what helps.
        print(f"llama-ffi: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nllama-ffi: interrupted; the next run goes on from here", file=sys.stderr)
        raise
    return 0


def _builder(name: str) -> Any:
    """Return a module of the builder: packed into the wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "_build", package.parent):
        if (place / "build_backends" / "command.py").is_file():
            # First: the current folder may have a package of the same name.
            if str(place) not in sys.path[:1]:
                sys.path.insert(0, str(place))
            return importlib.import_module(f"build_backends.{name}")
    raise LlamaError("this installation carries no builder; install llama-ffi from a wheel or a checkout")
