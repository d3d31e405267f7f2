"""Fixtures of the generator's tests: the pinned headers, analysed once, and headers written on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bindgen.analyze import Bindings
from bindgen.config import Config, Header
from bindgen.pipeline import find_source, load

Bind = Callable[..., Bindings]


@pytest.fixture(scope="session")
def source() -> Path:
    """The pinned llama.cpp source; fetched when it is not in the cache."""
    return find_source(None)


@pytest.fixture(scope="session")
def bindings(source: Path) -> Bindings:
    """What the ten headers declare."""
    return load(source)


@pytest.fixture
def bind(tmp_path: Path) -> Bind:
    """Bind headers given as text: `bind("int f(void);")` is one header, `x.h`."""

    def from_text(text: str = "", **others: str) -> Bindings:
        headers = {"x": text, **others} if text else others
        for name, content in headers.items():
            (tmp_path / f"{name}.h").write_text(content, encoding="utf-8")
        config = Config(tuple(Header(f"{name}.h", "x") for name in headers), "_x")
        return load(tmp_path, config, commit="")

    return from_text
