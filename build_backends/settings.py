"""What a user may ask of the build: `-C backend=native -C cmake.define.GGML_BLAS=ON`.

Front ends hand these settings to the PEP 517 functions; hatchling does not pass them on to its hooks. So
`pep517` puts them here for the duration of one build and `hatch_hook` picks them up.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from build_backends.errors import BuildError
from build_backends.recipes import RECIPES

DEFINE = "cmake.define."


@dataclass(frozen=True)
class Settings:
    """A checked request: which recipe, and cmake definitions that override or extend it."""

    backend: str = "native"
    defines: Mapping[str, str] = field(default_factory=dict)


def parse_settings(config: Mapping[str, Any] | None) -> Settings:
    """Turn a front end's config settings into `Settings`; raise BuildError for anything not understood."""
    backend = "native"
    defines: dict[str, str] = {}
    for key, value in (config or {}).items():
        if not isinstance(value, str):
            raise BuildError(f"-C {key} was given more than once: {value!r}")
        if key == "backend":
            backend = value
        elif key.startswith(DEFINE) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key[len(DEFINE) :]):
            defines[key[len(DEFINE) :]] = value
        else:
            raise BuildError(
                f"-C {key} is not a setting of llama_ffi: use backend=NAME or {DEFINE}NAME=VALUE"
            )
    if backend not in RECIPES:
        raise BuildError(f"-C backend={backend} is not known: use one of {', '.join(sorted(RECIPES))}")
    return Settings(backend, defines)


_current = Settings()


@contextlib.contextmanager
def in_use(config: Mapping[str, Any] | None) -> Iterator[None]:
    """Make `config` what `current` returns while the body runs."""
    global _current
    before, _current = _current, parse_settings(config)
    try:
        yield
    finally:
        _current = before


def current() -> Settings:
    """Return the settings of the build that is running, or the defaults."""
    return _current
