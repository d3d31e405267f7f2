"""The command line of the build: `llama-ffi build`, in a checkout `python -m build_backends.build`."""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from build_backends import build, publish, recipes, stage
from build_backends.errors import BuildError
from build_backends.settings import Settings, checked
from vendor.cache import cache_folder

INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    listed = "; ".join(
        f"{name}: {recipe.summary}" for name, recipe in recipes.RECIPES.items() if recipe.targets
    )
    parser.add_argument(
        "backend", metavar="BACKEND", help=f"what to build. {listed}; cuda: the CUDA that is here"
    )
    parser.add_argument(
        "--source", type=Path, metavar="DIR", help="a llama.cpp tree instead of the pinned one"
    )
    parser.add_argument(
        "--arch",
        default="",
        metavar="LIST",
        help="for which processors of its kind, for example 90a-real;120",
    )
    add_definitions(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="put the result there, not where it is found: a new folder, or one with an earlier build",
    )


def add_definitions(parser: argparse.ArgumentParser) -> None:
    """Declare `--cmake-arg NAME=VALUE` and `-D NAME=VALUE`."""
    options: dict[str, Any] = {"dest": "cmake_arg", "action": "append", "metavar": "NAME=VALUE"}
    # The value may be left out, so that `--cmake-arg -DNAME=VALUE` is two options: that is how it gets typed.
    parser.add_argument(
        "--cmake-arg", nargs="?", const="", help="a definition for cmake (repeat it)", **options
    )
    parser.add_argument("-D", "--define", help="the same", **options)


def definitions(given: Sequence[str] | None) -> dict[str, str]:
    """Return the cmake definitions of a command line; raise BuildError for what is none."""
    given = list(given or ())
    if given and not given[-1]:
        raise BuildError("--cmake-arg wants a definition: NAME=VALUE")
    return dict(_definition(text) for text in given if text)


def _definition(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"(?:-D)?([A-Za-z_][A-Za-z0-9_-]*)(?::[A-Z]+)?=(.*)", text, re.DOTALL)
    if not match:
        raise BuildError(f"--cmake-arg {text} is no definition: write it as NAME=VALUE")
    return match[1], match[2]


def run(options: argparse.Namespace) -> Path:
    """Build, put the result where it belongs, say how it is used; return its folder.

    Raises BuildError with what to do.
    """
    if options.backend not in recipes.names() or options.backend == "none":
        known = [name for name in recipes.names() if name != "none"]
        raise BuildError(f"there is no back end {options.backend!r} to build: use one of {', '.join(known)}")
    settings = checked(
        Settings(options.backend, definitions(options.cmake_arg), options.arch, options.source)
    )
    recipe = settings.recipe
    if options.out:
        publish.check_target(options.out.absolute())  # before the minutes that it takes
    result = build.build(settings)
    manifest = json.loads((result / stage.MANIFEST).read_text(encoding="utf-8"))
    if options.out:
        target: Path = options.out.absolute()
    else:
        target = cache_folder() / "backends" / f"{recipe.name}-{_tag(manifest)}"
    joined = recipe.is_plugin and _is_core(target)
    if joined:
        _join(target, result, manifest)
    else:
        publish.publish(result, target)
    _say(recipe, manifest, target, "" if not options.out else "core" if joined else "elsewhere")
    return target


def _is_core(target: Path) -> bool:
    try:
        return "libraries" in json.loads((target / stage.MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _join(core: Path, plugin: Path, manifest: dict[str, object]) -> None:
    """Put a module beside the libraries of a core of the same tree; raise BuildError if it is of another."""
    wrong = stage.damage(core)
    if wrong:
        raise BuildError(f"{core} holds a core, but {wrong[0]}: build that first")
    theirs = json.loads((core / stage.MANIFEST).read_text(encoding="utf-8"))
    if theirs["tree_sha256"] != manifest["tree_sha256"]:
        raise BuildError(
            f"{core} holds a core of llama.cpp {_tag(theirs)}, the module is of {_tag(manifest)}: "
            "build both from the same tree"
        )
    with tempfile.TemporaryDirectory() as folder:
        stage.combine(core, plugin, Path(folder, "both"))
        publish.publish(Path(folder, "both"), core)


def _tag(manifest: dict[str, object]) -> str:
    """Return what the file names of a build carry: the commit's start, or the content's of another tree."""
    names = [manifest["module"]] if "module" in manifest else list(dict(manifest["libraries"]).values())  # type: ignore[call-overload]
    return str(names[0]).rpartition("-")[2].partition(".")[0]


def _say(recipe: recipes.Recipe, manifest: dict[str, object], target: Path, where: str) -> None:
    """Tell how the result is used; `where` it went: "" for the cache, "core" beside one, "elsewhere"."""
    lines = []
    tag = _tag(manifest)
    if recipe.is_plugin:
        needed = ", ".join(map(str, manifest["needed"])) if manifest["needed"] else "nothing more"  # type: ignore[call-overload]
        lines.append(f"built {recipe.name} for llama.cpp {tag}; to run it needs {needed}")
        if where == "core":
            lines.append(f"it stands beside its core; to use both: LLAMA_FFI_LIB={target}")
        elif tag.startswith("x"):  # another tree's: no commit is written so
            lines.append(
                "only a core of the same tree takes it: `llama-ffi build native --source DIR --out FOLDER`, "
                "then this again with `--out FOLDER`; LLAMA_FFI_LIB=FOLDER uses both"
            )
        elif not where:
            lines.append("llama_ffi finds it by itself; `llama-ffi doctor` shows what loads")
    else:
        lines.append(f"built {recipe.name} of llama.cpp {tag}; to use it: LLAMA_FFI_LIB={target}")
    for line in lines:
        print(f"llama_ffi: {line}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m build_backends.build", description="Build llama.cpp's shared libraries for llama_ffi."
    )
    add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        print(run(options))
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the next run goes on from here", file=sys.stderr)
        return INTERRUPTED
    return 0
