"""What a user may ask of the build: `-C backend=vulkan -C arch=… -C cmake.define.GGML_LTO=ON`.

Front ends hand these settings to the PEP 517 functions; hatchling does not pass them on to its hooks. So
`pep517` puts them here for the duration of one build and `hatch_hook` picks them up.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from build_backends import recipes
from build_backends.errors import BuildError
from build_backends.needs import Situation
from build_backends.recipes import Recipe

DEFINE = "cmake.define."
BUILD_TYPES = ("Release", "RelWithDebInfo", "MinSizeRel", "Debug")


@dataclass(frozen=True)
class Settings:
    """A checked request: which recipe, and cmake definitions that override or extend it.

    `arch` is for what processors of the back end's kind ("90a-real;120" for CUDA), "" for the recipe's own
    choice. `source` is the llama.cpp tree, None for the pinned one. `tag` is the wheel's, "" for the plain
    one of this machine.
    """

    backend: str = "native"
    defines: Mapping[str, str] = field(default_factory=dict)
    arch: str = ""
    source: Path | None = None
    tag: str = ""

    @property
    def recipe(self) -> Recipe:
        """The recipe that is asked for."""
        return recipes.find_recipe(self.backend, Situation(self.defines, {}))


def parse_settings(config: Mapping[str, Any] | None) -> Settings:
    """Turn a front end's config settings into `Settings`; raise BuildError for anything not understood."""
    backend, arch = "native", ""
    defines: dict[str, str] = {}
    for key, value in (config or {}).items():
        if not isinstance(value, str):
            raise BuildError(f"-C {key} was given more than once: {value!r}")
        if key == "backend":
            backend = value
        elif key == "arch":
            arch = value
        elif key.startswith(DEFINE) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key[len(DEFINE) :]):
            defines[key[len(DEFINE) :]] = value
        else:
            raise BuildError(
                f"-C {key} is not a setting of llama_ffi: use backend=NAME, arch=LIST or {DEFINE}NAME=VALUE"
            )
    if backend not in recipes.names():
        raise BuildError(f"-C backend={backend} is not known: use one of {', '.join(recipes.names())}")
    return checked(Settings(backend, defines, arch))


def checked(settings: Settings) -> Settings:
    """Return `settings`; raise BuildError if its recipe has no use for what was asked."""
    recipe = settings.recipe
    if settings.arch and not recipe.arch:
        able = ", ".join(sorted(each.name for each in recipes.RECIPES.values() if each.arch))
        raise BuildError(f"the back end {recipe.name!r} has no architectures to choose, only {able} have")
    wrong = [
        each for each in re.split("[;,]", settings.arch) if each and not re.fullmatch(recipe.archs, each)
    ]
    if wrong:
        raise BuildError(
            f"{wrong[0]!r} is no architecture of {recipe.name}: write them as {recipe.archs_example}"
        )
    kind = settings.defines.get("CMAKE_BUILD_TYPE", BUILD_TYPES[0])
    if kind not in BUILD_TYPES:
        raise BuildError(f"CMAKE_BUILD_TYPE is {kind!r}: use one of {', '.join(BUILD_TYPES)}")
    return settings


_current = Settings()


@contextlib.contextmanager
def using(settings: Settings) -> Iterator[None]:
    """Make `settings` what `current` returns while the body runs."""
    global _current
    before, _current = _current, settings
    try:
        yield
    finally:
        _current = before


def in_use(config: Mapping[str, Any] | None) -> contextlib.AbstractContextManager[None]:
    """Make a front end's `config` what `current` returns while the body of the `with` runs."""
    return using(parse_settings(config))


def current() -> Settings:
    """Return the settings of the build that is running, or the defaults."""
    return _current
