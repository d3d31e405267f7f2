"""Build a back end, or take it from the cache: `python -m build_backends.build native --out DIR`.

A result is kept under a key made of everything that it depends on: the source, the flags, the compiler, our
own project files, and the processor if it was built for this one. It is built in a work folder beside its
final place and renamed there when whole. The work folder stays: an interrupted build is gone on with, and a
change to the probe does not compile llama.cpp again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from build_backends import cmake, source, stage, toolchain
from build_backends.errors import BuildError
from build_backends.recipes import COMMON, RECIPES, Recipe
from build_backends.settings import Settings, parse_settings
from vendor import tree
from vendor.cache import cache_folder, locked

PROJECT = Path(__file__).resolve().parent / "native"


def project_files() -> list[Path]:
    """Return our own files that cmake compiles or reads."""
    return sorted(file for file in PROJECT.rglob("*") if file.is_file())


def work_key(
    recipe: Recipe, defines: Mapping[str, str], code: source.Source, tools: toolchain.Toolchain
) -> str:
    """Return a name for all inputs of a build but our own project files."""
    inputs = {
        "format": stage.FORMAT,
        "recipe": [recipe.name, recipe.private_names],
        "tree": code.tree_sha256,
        "commit": code.commit,
        "defines": sorted(defines.items()),
        "compiler": tools.identity,
        "environment": {name: os.environ.get(name, "") for name in toolchain.FLAG_VARIABLES},
        "system": [platform.system(), platform.machine()],
        "cpu": toolchain.cpu_identity() if recipe.this_cpu else "",
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]


def files_key(files: Iterable[Path]) -> str:
    """Return a name for the contents of our own project files."""
    return tree.combine(
        (file.relative_to(PROJECT).as_posix(), hashlib.sha256(file.read_bytes()).hexdigest())
        for file in files
    )[:8]


def all_defines(recipe: Recipe, code: source.Source, users: Mapping[str, str]) -> dict[str, str]:
    """Return every cmake definition of a build; the user's own come last and win."""
    return {
        **COMMON,
        **recipe.defines,
        "LLAMA_BUILD_COMMIT": code.commit[:9],
        "LLAMA_BUILD_NUMBER": "0",
        "LLAMA_FFI_TAG": code.tag if recipe.private_names else "",
        **users,
    }


def build(settings: Settings) -> Path:
    """Return the folder in the cache that holds the built libraries and their manifest, building if needed.

    Safe to call from several processes at once. Raises BuildError with what to do.
    """
    recipe = RECIPES[settings.backend]
    tools = toolchain.find_toolchain()
    code = source.provide()
    defines = all_defines(recipe, code, settings.defines)
    place = cache_folder() / "build" / f"{recipe.name}-{work_key(recipe, defines, code, tools)}"
    final = place / files_key(project_files())
    try:
        with locked(place / "lock", f"building llama.cpp ({recipe.name})"):
            if not stage.is_complete(final):
                _build_into(final, place / "work", recipe, defines, code, tools)
    except OSError as error:
        raise BuildError(
            f"Building in {place} failed: {error}. LLAMA_FFI_CACHE names another place."
        ) from error
    return final


def _build_into(
    final: Path,
    work: Path,
    recipe: Recipe,
    defines: Mapping[str, str],
    code: source.Source,
    tools: toolchain.Toolchain,
) -> None:
    project = work / "project"
    # cmake refuses a build folder whose project moved, and front ends build from temporary copies: so the
    # project is copied to one place. copy2 keeps the times, so that what is built already is up to date.
    stage.remove(project)
    shutil.copytree(PROJECT, project, copy_function=shutil.copy2)
    log = final.parent / "build.log"
    log.unlink(missing_ok=True)
    arguments = {**defines, "LLAMA_FFI_SOURCE_DIR": code.root.as_posix()}
    cmake.run(project, work / "build", code.root, arguments, recipe.targets, tools, log)
    built = json.loads((work / "build" / "built-Release.json").read_text(encoding="utf-8"))
    stage.remove(work / "staged")
    flags = [f"-D{name}={value}" for name, value in sorted(defines.items())]
    stage.stage(built, code, recipe.name, flags, work / "staged")
    stage.remove(final)
    os.replace(work / "staged", final)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m build_backends.build", description="Build llama.cpp's shared libraries for llama_ffi."
    )
    parser.add_argument("backend", choices=sorted(RECIPES), help="what to build")
    parser.add_argument("--out", type=Path, metavar="DIR", help="copy the result there")
    parser.add_argument(
        "--define", "-D", action="append", default=[], metavar="NAME=VALUE", help="a definition for cmake"
    )
    options = parser.parse_args(arguments)
    try:
        config = {"backend": options.backend}
        for text in options.define:
            name, _, value = text.partition("=")
            config[f"cmake.define.{name}"] = value
        result = build(parse_settings(config))
        if options.out:
            stage.publish(result, options.out.absolute())
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; the next run goes on from here", file=sys.stderr)
        return 130
    print(options.out or result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
