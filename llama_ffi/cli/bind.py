"""`llama-ffi bind`: bindings for another llama.cpp, a newer one, an older one or a fork."""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
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
    from llama_ffi import __version__, bindings_folder
    from llama_ffi.errors import LlamaError

    target = bindings_folder(args.name)
    if target.exists() and not (target / "binding.json").is_file():
        raise FileExistsError(f"{target} exists and holds no bindings; choose another --name")
    generator = _generator()
    if args.lib is not None and not args.lib.exists():
        raise FileNotFoundError(f"--lib names {args.lib}, which doesn't exist")
    try:
        bindings, root = generator("custom").load_custom(args.include, args.header)
        names, differences = generator("probe").check(bindings, root) if args.check else (0, [])
    except generator("errors").BindgenError as error:
        raise LlamaError(str(error)) from error
    if differences:
        raise LlamaError(f"the compiler disagrees in {len(differences)} places: {'; '.join(differences[:3])}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".bind-") as folder:
        made = Path(folder) / target.name
        made.mkdir()
        generator("custom").write_package(bindings, made)
        library = None if args.lib is None else str(args.lib.absolute())
        guard, guarded = (None, "") if library is None else _guard(generator, bindings, root, args.lib, made)
        remembered = {
            "library": library,
            "guard": guard,
            "guards": guard and _llama(args.lib),
            "made_by": __version__,
        }
        (made / "binding.json").write_text(json.dumps(remembered) + "\n", encoding="utf-8")
        if library is not None:
            print(f"verified  {_try(made)}")
            print(f"guarded   {guarded}")
        _replace(target, made)
    print(f"bound     {len(bindings.unit.functions)} functions; REPORT.md says what was left out and why")
    if args.check:
        print(f"checked   {names} names with the C compiler, 0 differences")
    print(f"kept      {target}")
    print(f"use them  LLAMA_FFI_BINDINGS={args.name}, or llama_ffi.use(bindings={args.name!r})")
    return 0


def _generator() -> Callable[[str], Any]:
    """Return what imports the generator's modules: packed into the wheel, or beside it in a checkout."""
    from llama_ffi.errors import LlamaError

    for package in ("llama_ffi._bindgen", "bindgen"):
        try:
            importlib.import_module(f"{package}.custom")
        except ModuleNotFoundError as error:
            if error.name in ("pycparser", "cffi"):
                raise LlamaError(
                    f"the generator needs {error.name}: pip install 'llama-ffi[bindgen]'"
                ) from error
            continue
        return functools.partial(_module, package)
    raise LlamaError("this installation carries no generator; install llama-ffi from a wheel or a checkout")


def _module(package: str, name: str) -> Any:
    return importlib.import_module(f"{package}.{name}")


def _guard(
    generator: Callable[[str], Any], bindings: Any, root: Path, library: Path, made: Path
) -> tuple[str | None, str]:
    """Compile the guard for this library into ``made``; return its file's name, and what to say.

    Without a guard everything works but the catching of failed assertions, so that none is no error.
    """
    from llama_ffi import libraries_at

    libraries = libraries_at(library)
    if "guard" in libraries:
        return None, "by the guard that was built with the library"
    package = Path(__file__).resolve().parents[1]
    places = tuple(
        place / "build_backends" / "native" / "guard" for place in (package / "_build", package.parent)
    )
    sources = next(place for place in places if (place / "guard.cpp").is_file())
    guard = generator("guard")
    try:
        count = guard.build_guard(bindings, root, package, sources, libraries, made)
    except generator("errors").BindgenError as error:
        return None, f"no: {error}"
    return guard.guard_file(), f"{count} functions, by a library compiled for this one"


def _llama(library: Path) -> str:
    from llama_ffi import libraries_at

    return str(libraries_at(library)["llama"])


def _try(folder: Path) -> str:
    """Load the library with the new bindings in a process of its own; return how they were verified."""
    from llama_ffi.errors import AbiMismatchError

    # With our own places to import from: `python -c` by itself begins with the current folder.
    places = "import sys; sys.path[:] = sys.argv[1:]"
    code = f"{places}; import llama_ffi; print(llama_ffi.library_info().verified_by)"
    command = [sys.executable, "-c", code, *filter(None, sys.path)]
    environment = {**os.environ, "LLAMA_FFI_BINDINGS": str(folder)}
    environment.pop("LLAMA_FFI_LIB", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
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
