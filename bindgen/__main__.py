"""`python -m bindgen`: generate the bindings, check them, and answer questions about them."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from .analyze import Bindings
from .compare import compare
from .custom import load_custom, write_package
from .errors import BindgenError
from .explain import explain
from .files import drift, render, write
from .pipeline import ROOT, find_source, load, load_present
from .probe import check as judge


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except BindgenError as error:
        print(f"bindgen: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bindgen", description=__doc__)
    commands = parser.add_subparsers(required=True)
    generate = commands.add_parser("generate", help="write the generated files")
    generate.set_defaults(run=_generate)
    check = commands.add_parser(
        "check", help="show how the generated files differ from what would be generated"
    )
    check.set_defaults(run=_check)
    probe = commands.add_parser(
        "probe", help="let the C compiler and cffi judge every size, offset, value and type"
    )
    probe.set_defaults(run=_probe)
    probe.add_argument(
        "--runner",
        metavar="COMMAND",
        help="what runs the program of a cross compiler (CC), qemu-aarch64 for example; only the compiler is "
        "asked then",
    )
    diff = commands.add_parser(
        "diff", help="show what changed between two llama.cpp sources, and whom it breaks"
    )
    diff.set_defaults(run=_diff)
    diff.add_argument("old", metavar="OLD", type=Path, help="folder of the old source")
    diff.add_argument("new", metavar="NEW", type=Path, help="folder of the new source")
    diff.add_argument("--json", action="store_true", help="print JSON")
    explaining = commands.add_parser("explain", help="print everything known about a C name")
    explaining.set_defaults(run=_explain)
    explaining.add_argument("name", metavar="NAME")
    bind = commands.add_parser("bind", help="write bindings for headers of your own as a package")
    bind.set_defaults(run=_bind)
    bind.add_argument("--include", metavar="DIR", type=Path, action="append", required=True)
    bind.add_argument("--header", metavar="NAME", action="append", default=[], help="default: llama.cpp's")
    bind.add_argument("--out", metavar="DIR", type=Path, help="the package's folder")
    bind.add_argument("--check", action="store_true", help="let the C compiler and cffi judge them")
    for command in (generate, check, probe, explaining):
        command.add_argument("--source", metavar="DIR", help="the llama.cpp source; default: the pinned one")
    for command in (generate, check):
        command.add_argument(
            "--root", metavar="DIR", type=Path, default=ROOT, help="the repository (default: this one)"
        )
    return parser


def _generate(arguments: argparse.Namespace) -> int:
    written = write(render(load(find_source(arguments.source))), arguments.root)
    print("\n".join(f"wrote {path}" for path in written) or "everything is up to date")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    lines = list(drift(render(load(find_source(arguments.source))), arguments.root))
    sys.stdout.writelines(lines)
    return 1 if lines else 0


def _probe(arguments: argparse.Namespace) -> int:
    source = find_source(arguments.source)
    runner = shlex.split(arguments.runner) if arguments.runner else ()
    return _print_judgement(load(source), source, runner)


def _diff(arguments: argparse.Namespace) -> int:
    old, new = (load_present(path) for path in (arguments.old, arguments.new))
    comparison = compare(old, new, (str(arguments.old), str(arguments.new)))
    print(comparison.json() if arguments.json else comparison.text())
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    source = find_source(arguments.source)
    print(explain(load(source), source, ROOT / "llama_ffi", arguments.name))
    return 0


def _bind(arguments: argparse.Namespace) -> int:
    bindings, root = load_custom(arguments.include, arguments.header)
    if arguments.out is not None:
        written = write_package(bindings, arguments.out)
        print("\n".join(f"wrote {arguments.out / name}" for name in written) or "everything is up to date")
    for skipped in bindings.skipped:
        if skipped.kind not in ("macro", "C++"):
            print(f"not bound: {skipped.location}: {skipped.kind} {skipped.name}: {skipped.reason}")
    return _print_judgement(bindings, root) if arguments.check else 0


def _print_judgement(bindings: Bindings, source: Path, runner: Sequence[str] = ()) -> int:
    names, differences = judge(bindings, source, runner)
    print("\n".join([*differences, f"{names} names compared, {len(differences)} differences"]))
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
