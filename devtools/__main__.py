"""`python -m devtools`: keep what is written about the code true."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m devtools", description=__doc__)
    commands = parser.add_subparsers(required=True)
    coverage = commands.add_parser("coverage", help="write docs/coverage.md; say which C functions it lacks")
    coverage.add_argument(
        "--calls",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="a record of a test run (LLAMA_FFI_RECORD_CALLS=FILE) to take over",
    )
    coverage.set_defaults(run=_coverage)
    docstrings = commands.add_parser("docstrings", help="say what public docstrings lack")
    docstrings.set_defaults(run=_docstrings)
    pages = commands.add_parser("pages", help="write API pages from the docstrings, with pdoc")
    pages.add_argument("out", metavar="OUT", type=Path, help="the folder for the pages")
    pages.set_defaults(run=_pages)
    arguments = parser.parse_args(argv)
    status: int = arguments.run(arguments)
    return status


def _coverage(arguments: argparse.Namespace) -> int:
    from . import coverage

    coverage.update_calls(arguments.calls, [f.name for f in coverage.functions()])
    table = coverage.rows()
    text = coverage.render(table)
    if not coverage.TABLE.exists() or coverage.TABLE.read_text(encoding="utf-8") != text:
        coverage.TABLE.write_text(text, encoding="utf-8")
        print("wrote docs/coverage.md")
    problems = coverage.problems(table)
    print("\n".join([*problems, f"{len(problems)} functions to go" if problems else "nothing is missing"]))
    return 1 if problems else 0


def _docstrings(_arguments: argparse.Namespace) -> int:
    from . import docstrings

    problems = docstrings.check_all()
    print("\n".join([*problems, f"{len(problems)} problems"]))
    return 1 if problems else 0


def _pages(arguments: argparse.Namespace) -> int:
    from . import pages

    lost = pages.lost_references()
    written = pages.build(arguments.out)
    print("\n".join([*(f"leads nowhere: {each}" for each in lost), f"wrote {len(written)} pages"]))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
