"""Build a back end, or take it from the cache.

A result is kept under a key made of everything that it depends on: the source, the flags, the compiler, our
own project files, and the processor if it was built for this one. It is built in a work folder beside its
final place and renamed there when whole. The work folder stays: an interrupted build is gone on with, and a
change to the probe does not compile llama.cpp again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from build_backends import cmake, needs, source, stage, toolchain
from build_backends.errors import BuildError
from build_backends.recipes import COMMON, Recipe
from build_backends.settings import Settings
from build_backends.version import package_version
from vendor import tree
from vendor.cache import cache_folder, locked

PROJECT = Path(__file__).resolve().parent / "native"


def project_files(for_module: bool = False) -> list[Path]:
    """Return our own files that cmake compiles or reads; for a module neither guard nor probe."""
    if for_module:
        return [PROJECT / "CMakeLists.txt", PROJECT / "exports.map"]
    return sorted(file for file in PROJECT.rglob("*") if file.is_file())


def work_key(
    recipe: Recipe,
    defines: Mapping[str, str],
    code: source.Source,
    tools: toolchain.Toolchain,
    found: Sequence[str] = (),
) -> str:
    """Return a name for all inputs of a build but our own project files; `found` is what the recipe needs."""
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
    if recipe.is_plugin:
        inputs["found"] = list(found)
        inputs["llama_ffi"] = package_version()  # stands in its manifest
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]


def files_key(files: Iterable[Path]) -> str:
    """Return a name for the contents of our own project files."""
    return tree.combine(
        (file.relative_to(PROJECT).as_posix(), hashlib.sha256(file.read_bytes()).hexdigest())
        for file in files
    )[:8]


def all_defines(
    recipe: Recipe, code: source.Source, users: Mapping[str, str], arch: str = ""
) -> dict[str, str]:
    """Return every cmake definition of a build; the user's own come last and win."""
    defines = {
        **COMMON,
        **recipe.definitions(),
        "LLAMA_BUILD_COMMIT": code.commit[:9],
        "LLAMA_BUILD_NUMBER": "0",
        "LLAMA_FFI_TAG": code.tag if recipe.private_names else "",
    }
    if recipe.rpath:
        defines["LLAMA_FFI_RPATH"] = ";".join(recipe.rpath)
    if arch:
        defines[recipe.arch] = arch.replace(",", ";")
    return {**defines, **users}


def recorded(defines: Mapping[str, str]) -> list[str]:
    """Return the definitions as the manifest keeps them: equal wherever things stand on a machine."""
    path = re.compile(r"(?:^|[;=I])(?:/|[A-Za-z]:[/\\\\])")
    return [f"-D{name}={'…' if path.search(text) else text}" for name, text in sorted(defines.items())]


def build(settings: Settings) -> Path:
    """Return the folder in the cache that holds the built libraries and their manifest, building if needed.

    Safe to call from several processes at once. Raises BuildError with what to do.
    """
    recipe = settings.recipe
    if not recipe.targets:
        raise BuildError(f"the back end {recipe.name!r} has nothing to build")
    tools = toolchain.find_toolchain()
    found = needs.check(recipe.name, recipe.needs_on(), needs.Situation(settings.defines, tools.compilers))
    compilers = recipe.compilers_on()
    if compilers:
        named = {**found.defines, **settings.defines}
        definition = {"CC": "CMAKE_C_COMPILER", "CXX": "CMAKE_CXX_COMPILER"}
        tools = toolchain.find_toolchain(
            {variable: named.get(definition[variable], name) for variable, name in compilers.items()}
        )
    code = source.provide(settings.source)
    defines = all_defines(recipe, code, settings.defines, settings.arch)
    place = cache_folder() / "build" / f"{recipe.name}-{work_key(recipe, defines, code, tools, found.words)}"
    final = place / files_key(project_files(recipe.is_plugin))
    with _writing(place), locked(place / "lock", f"building llama.cpp ({recipe.name})") as lock:
        if not stage.is_complete(final):
            _build_into(final, place / "work", settings, defines, code, tools, found, lock)
    return final


def build_package(settings: Settings) -> Path | None:
    """Return what belongs into the package: a core, or for a plugin's recipe the native core with its module.

    None for the recipe `none`.
    """
    recipe = settings.recipe
    if not recipe.targets:
        return None
    result = build(settings)
    if not recipe.is_plugin:
        return result
    core = build(Settings(source=settings.source))
    both = hashlib.sha256(f"{core}\n{result}".encode()).hexdigest()[:12]
    place = cache_folder() / "build" / f"with-{recipe.name}-{both}"
    with _writing(place), locked(place / "lock"):
        if not stage.is_complete(place / "package"):
            stage.remove(place / "work")
            stage.combine(core, result, place / "work")
            stage.remove(place / "package")
            os.replace(place / "work", place / "package")
    return place / "package"


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    """Turn what the system says against writing into `place` into an error that says what helps."""
    try:
        yield
    except OSError as error:
        raise BuildError(
            f"Building in {place} failed: {error}. LLAMA_FFI_CACHE names another place."
        ) from error


def _build_into(
    final: Path,
    work: Path,
    settings: Settings,
    defines: Mapping[str, str],
    code: source.Source,
    tools: toolchain.Toolchain,
    found: needs.Checked,
    lock: int,
) -> None:
    recipe = settings.recipe
    project = work / "project"
    # cmake refuses a build folder whose project moved, and front ends build from temporary copies: so the
    # project is copied to one place. copy2 keeps the times, so that what is built already is up to date.
    stage.remove(project)
    shutil.copytree(PROJECT, project, copy_function=shutil.copy2)
    log = final.parent / "build.log"
    log.unlink(missing_ok=True)
    # What was found isn't among the definitions of the manifest: its place says nothing to others.
    arguments = {**found.defines, **defines, "LLAMA_FFI_SOURCE_DIR": code.root.as_posix()}
    cmake.run(
        project, work / "build", code.root, arguments, recipe.targets, tools, log, settings.defines, lock
    )
    report = work / "build" / f"built-{defines['CMAKE_BUILD_TYPE']}.json"
    built = json.loads(report.read_text(encoding="utf-8"))
    stage.remove(work / "staged")
    flags = recorded(defines)
    if recipe.is_plugin:
        stage.stage_plugin(built, code, recipe.module, flags, work / "staged", found.paths)
    else:
        stage.stage(built, code, recipe.name, flags, work / "staged")
    stage.remove(final)
    os.replace(work / "staged", final)


if __name__ == "__main__":
    import sys

    from build_backends.command import main

    sys.exit(main())
