"""Make a wheel of a back end: `python -m build_backends.wheel BACKEND --out DIR`, in a checkout.

A core recipe makes `llama-ffi`, a plugin's recipe `llama-ffi-<name>`: a package with one module, its manifest
and licences, which requires exactly this version of `llama-ffi` and announces itself by an entry point. On
Linux the tag is computed from what the libraries need, never claimed, and the gate judges the result.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

import deflate
from hatchling import build as hatchling

from build_backends import build, gate, recipes, stage, tags
from build_backends.command import add_definitions, definitions
from build_backends.errors import BuildError
from build_backends.recipes import Recipe
from build_backends.settings import Settings, checked, using
from build_backends.version import package_version

ROOT = Path(__file__).resolve().parent.parent
ENTRY_POINTS = "llama_ffi.backends"

_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "{distribution}"
version = "{version}"
description = "The {name} back end of llama-ffi: {summary}"
readme = "README.md"
requires-python = ">=3.10"
license = "MIT"
license-files = ["{package}/licenses/*"]
dependencies = ["llama-ffi=={version}"]

{extras}[project.entry-points."{group}"]
{name} = "{package}"

[tool.hatch.build.targets.wheel]
packages = ["{package}"]

[tool.hatch.build.targets.wheel.hooks.custom]
path = "hatch_hook.py"
"""

_HOOK = """\
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class TagHook(BuildHookInterface):
    def initialize(self, version, build_data):
        build_data["pure_python"] = False
        build_data["tag"] = {tag!r}
"""

_README = """\
# {distribution}

The back end `{name}` of llama-ffi: {summary}. One module, which llama-ffi of the same version finds; it is
installed by `pip install "llama-ffi[{name}]"`. `llama-ffi doctor` shows whether it loads.

On the machine it needs: {needed}.
"""


def distribution(recipe: Recipe) -> str:
    """Return the name of the distribution that a recipe makes."""
    return f"llama-ffi-{recipe.name}" if recipe.is_plugin else "llama-ffi"


def plugin_project(recipe: Recipe, staged: Path, tag: str, target: Path) -> None:
    """Write the project of a plugin's wheel into the new folder `target`."""
    package = f"llama_ffi_{recipe.name}"
    manifest = json.loads((staged / stage.MANIFEST).read_text(encoding="utf-8"))
    shutil.copytree(staged, target / package)
    manifest.pop(stage.LOOK_IN, None)  # of this machine
    stage.write_manifest(target / package, manifest)
    packages = json.dumps(list(recipe.runtime_packages))
    facts = {
        "distribution": distribution(recipe),
        "group": ENTRY_POINTS,
        "name": recipe.name,
        "package": package,
        "summary": recipe.summary,
        "version": package_version(),
        "extras": f"[project.optional-dependencies]\nruntime = {packages}\n\n"
        if recipe.runtime_packages
        else "",
        "needed": ", ".join(f"`{name}`" for name in manifest["needed"]) or "nothing more",
        "tag": tag,
    }
    texts: Mapping[str, str] = {
        "pyproject.toml": _PYPROJECT,
        "hatch_hook.py": _HOOK,
        "README.md": _README,
        f"{package}/__init__.py": '"""The module of llama-ffi\'s back end `{name}`; nothing to import."""\n',
    }
    for name, text in texts.items():
        filled = text.replace("{tag!r}", repr(tag)) if name == "hatch_hook.py" else text.format(**facts)
        (target / name).write_text(filled, encoding="utf-8")


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Be in `folder`, which is where hatchling looks for the project, while the body runs."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _wheel(settings: Settings, staged: Path | None, tag: str, out: Path) -> Path:
    """Make one wheel with a given tag; return its path."""
    recipe = settings.recipe
    if not recipe.is_plugin:
        with _inside(ROOT), using(replace(settings, tag=tag)):
            return out / hatchling.build_wheel(str(out))
    assert staged is not None
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        plugin_project(recipe, staged, tag, project)
        with _inside(project):
            return out / hatchling.build_wheel(str(out))


class _BestDeflate:
    """What zipfile asks of a compressor, by libdeflate: five percent smaller than zlib at its best."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def compress(self, data: bytes) -> bytes:
        self._parts.append(data)
        return b""

    def flush(self) -> bytes:
        return bytes(deflate.deflate_compress(b"".join(self._parts), 12))


def _compressor(kind: int, level: int | None = None) -> _BestDeflate:
    return _BestDeflate()


def _squeeze(wheel: Path) -> None:
    """Compress a wheel as well as deflate can; hatchling leaves zlib at its middle level."""
    smaller = wheel.with_suffix(".smaller")
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(smaller, "w") as squeezed:
        # zipfile has no public way to bring a compressor.
        with mock.patch.object(zipfile, "_get_compressor", _compressor):
            for entry in archive.infolist():
                squeezed.writestr(entry, archive.read(entry), compress_type=zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(smaller) as squeezed:
        damaged = squeezed.testzip()
        if damaged:
            raise BuildError(f"{wheel.name} could not be packed: {damaged} does not unpack to what it was.")
    os.replace(smaller, wheel)


def make(settings: Settings, out: Path) -> Path:
    """Build a back end and put its wheel into `out`; return the wheel.

    Raises BuildError if something is missing, fails, or the gate refuses the wheel.
    """
    recipe = settings.recipe
    if recipe.wheel_arch and not settings.arch and recipe.arch not in settings.defines:
        settings = replace(settings, arch=recipe.wheel_arch)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"no wheel can be put into {out}: {error.strerror}") from None
    staged = build.build(settings) if recipe.targets else None
    plain = f"py3-none-{tags.platform_tag()}" if staged else tags.ANY
    with tempfile.TemporaryDirectory() as folder:
        made = _wheel(settings, staged, plain, Path(folder))
        if staged and sys.platform == "linux":
            # What the libraries need is known only now; the name of a wheel stands in its metadata too.
            honest = f"py3-none-{gate.audit(made).by_symbols}"
            made = _wheel(settings, staged, honest, Path(folder))
        _squeeze(made)
        found = gate.problems(made, local=recipe.this_cpu)
        if found:
            raise BuildError(f"{made.name} may not be given to anybody:", found)
        final = out / made.name
        shutil.copyfile(made, final.with_name(final.name + ".part"))
        os.replace(final.with_name(final.name + ".part"), final)
    return final


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m build_backends.wheel", description="Build a back end and pack it into a wheel."
    )
    parser.add_argument("backend", choices=recipes.names(), help="what to build")
    parser.add_argument("--out", type=Path, default=Path("dist"), metavar="DIR", help="where the wheel goes")
    parser.add_argument("--arch", default="", metavar="LIST", help="for which processors of its kind")
    parser.add_argument(
        "--source", type=Path, metavar="DIR", help="a llama.cpp tree instead of the pinned one"
    )
    add_definitions(parser)
    options = parser.parse_args(arguments)
    try:
        defines = definitions(options.cmake_arg)
        settings = checked(Settings(options.backend, defines, options.arch, options.source))
        print(make(settings, options.out.absolute()))
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
