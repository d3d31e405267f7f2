"""`llama-ffi doctor`: what is installed, what runs, what is wrong, and what to do about it."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from .text import printable

if TYPE_CHECKING:
    from llama_ffi import Finding

WIDTH = 12
INDENT = " " * (WIDTH + 7)
FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("--short", action="store_true", help="leave out lists of files, functions and fields")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the findings; the status is 1 if something is broken."""
    from llama_ffi import diagnose

    findings = diagnose()
    if args.json:
        import json

        print(json.dumps([finding._asdict() for finding in findings], indent=1))
    else:
        for finding in findings:
            show(finding, short=args.short)
    return FAILED if any(finding.status == "bad" for finding in findings) else 0


def show(finding: Finding, *, short: bool) -> None:
    """Print one finding; lines are wrapped on a terminal only, so that a file can be searched."""
    line(f"{finding.status:<5} {finding.topic:<{WIDTH}} ", finding.text)
    if finding.cure:
        line(f"{INDENT}cure: ", finding.cure)
    for detail in () if short else finding.details:
        line(f"{INDENT}- ", detail)


def line(head: str, text: str) -> None:
    text = printable(text)
    if not sys.stdout.isatty():
        print(head + text)
        return
    width = max(60, shutil.get_terminal_size().columns)
    print(
        textwrap.fill(
            text,
            width,
            initial_indent=head,
            subsequent_indent=INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )
