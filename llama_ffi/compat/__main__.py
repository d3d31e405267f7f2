"""``python -m llama_ffi.compat``: run a program that uses llama-cpp-python on llama_ffi's library.

python -m llama_ffi.compat run script.py …     a script; `run -m module …` a module
PYTHONPATH=$(python -m llama_ffi.compat env) python script.py
python -m llama_ffi.compat check               what the installed version uses and this library hasn't
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from pathlib import Path

from ..errors import LlamaError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m llama_ffi.compat",
        description="Run programs that use llama-cpp-python on llama_ffi's library.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run a script or a module", usage="%(prog)s SCRIPT … | -m MODULE …")
    commands.add_parser("env", help="print the folder to put on PYTHONPATH")
    commands.add_parser("check", help="list what the installed llama-cpp-python uses and this library hasn't")
    given = sys.argv[1:] if arguments is None else arguments
    program = given[1:] if given[:1] == ["run"] and given[1:] not in (["-h"], ["--help"]) else []
    options = parser.parse_args(given[: len(given) - len(program)])  # what the program is given isn't ours
    try:
        if options.command == "env":
            from . import shim_folder

            print(shim_folder())
            return 0
        if options.command == "check":
            return _check()
        if not program or program == ["-m"]:
            run.error("which program? run SCRIPT …, or run -m MODULE …")
        return _run(program)
    except LlamaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(program: list[str]) -> int:
    from . import install, shim_folder

    install()
    # Its children are Python programs too, perhaps (workers of a server): they find the shim.
    entries = [str(shim_folder()), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(entries)
    if program[0] == "-m":
        sys.argv = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
        return 0
    if not Path(program[0]).exists():
        print(f"error: there is no file {program[0]}", file=sys.stderr)
        return 2
    sys.argv = program
    sys.path[0] = str(Path(program[0]).resolve().parent)
    runpy.run_path(program[0], run_name="__main__")
    return 0


def _check() -> int:
    from .. import library_info
    from ._differences import differences, version_of
    from ._install import installed_package

    found = differences()
    spec = installed_package()
    assert spec is not None and spec.origin is not None  # differences() has said otherwise
    folder = Path(spec.origin).parent
    info = library_info()
    print(f"llama-cpp-python {version_of(folder)} in {folder}")
    print(f"on llama.cpp {info.version} ({info.libraries.files['llama']})")
    for difference in found:
        print(f"  {difference}")
    print(f"{len(found)} differences in what it uses")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
