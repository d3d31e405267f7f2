"""`llama-ffi bind`: bindings for another llama.cpp, a newer one, an older one or a fork."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--include",
        metavar="DIR",
        type=Path,
        action="append",
        required=True,
        help="a folder with headers: llama.cpp's include, ggml/include, tools/mtmd (repeat it)",
    )
    parser.add_argument(
        "--lib", metavar="PATH", type=Path, help="the libllama of these headers, or its folder"
    )
    parser.add_argument("--name", metavar="NAME", default="custom", help="what LLAMA_FFI_BINDINGS calls them")
    parser.add_argument(
        "--header", metavar="NAME", action="append", default=[], help="bind this header instead"
    )
    parser.add_argument("--check", action="store_true", help="let the C compiler judge every size and type")


def run(args: argparse.Namespace) -> int:
    """Make the bindings, try them on the library, and keep them in the user's cache."""
    from llama_ffi import bindings_folder
    from llama_ffi.errors import LlamaError

    target = bindings_folder(args.name)
    if target.exists() and not (target / "binding.json").is_file():
        raise FileExistsError(f"{target} exists and holds no bindings; choose another --name")
    custom, probe, error_class = _generator()
    if args.lib is not None and not args.lib.exists():
        raise FileNotFoundError(f"--lib names {args.lib}, which doesn't exist")
    try:
        bindings, root = custom.load_custom(args.include, args.header)
        names, differences = probe.check(bindings, root) if args.check else (0, [])
    except error_class as error:
        raise LlamaError(str(error)) from error
    if differences:
        raise LlamaError(f"the compiler disagrees in {len(differences)} places: {'; '.join(differences[:3])}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".bind-") as folder:
        made = Path(folder) / target.name
        made.mkdir()
        custom.write_package(bindings, made)
        library = None if args.lib is None else str(args.lib.absolute())
        (made / "binding.json").write_text(json.dumps({"library": library}) + "\n", encoding="utf-8")
        if library is not None:
            print(f"verified  {_try(made)}")
        _replace(target, made)
    print(f"bound     {len(bindings.unit.functions)} functions; REPORT.md says what was left out and why")
    if args.check:
        print(f"checked   {names} names with the C compiler, 0 differences")
    print(f"kept      {target}")
    print(f"use them  LLAMA_FFI_BINDINGS={args.name}, or llama_ffi.use(bindings={args.name!r})")
    return 0


def _generator() -> tuple[Any, Any, type[Exception]]:
    """Return the generator's modules: packed into the wheel, or beside the package in a checkout."""
    from llama_ffi.errors import LlamaError

    for package in ("llama_ffi._bindgen", "bindgen"):
        try:
            custom = importlib.import_module(f"{package}.custom")
        except ModuleNotFoundError as error:
            if error.name in ("pycparser", "cffi"):
                raise LlamaError(
                    f"the generator needs {error.name}: pip install 'llama-ffi[bindgen]'"
                ) from error
            continue
        probe = importlib.import_module(f"{package}.probe")
        return custom, probe, importlib.import_module(f"{package}.errors").BindgenError
    raise LlamaError("this installation carries no generator; install llama-ffi from a wheel or a checkout")


def _try(folder: Path) -> str:
    """Load the library with the new bindings in a process of its own; return how they were verified."""
    from llama_ffi.errors import AbiMismatchError

    code = "import llama_ffi; print(llama_ffi.library_info().verified_by)"
    environment = {**os.environ, "LLAMA_FFI_BINDINGS": str(folder)}
    environment.pop("LLAMA_FFI_LIB", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"the process ended with status {done.returncode}"]
        raise AbiMismatchError(f"the library doesn't run on these headers: {last[0]}")
    return done.stdout.strip()


def _replace(target: Path, made: Path) -> None:
    """Put ``made`` at ``target``; what was there goes only when the new one is complete."""
    old = made.parent / "old"
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(made, target)
    except OSError:
        if old.exists():
            os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)
