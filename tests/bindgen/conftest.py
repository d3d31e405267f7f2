"""Fixtures of the generator's tests: the pinned headers, analysed once, and headers written on the spot."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bindgen.analyze import Bindings
from bindgen.config import Config, Header
from bindgen.pipeline import find_source, load
from vendor.download import from_index
from vendor.pin import IndexSource

Bind = Callable[..., Bindings]


@pytest.fixture(scope="session")
def source() -> Path:
    """The pinned llama.cpp source; fetched when it is not in the cache."""
    return find_source(None)


@pytest.fixture(scope="session")
def bindings(source: Path) -> Bindings:
    """What the ten headers declare."""
    return load(source)


@pytest.fixture(scope="session")
def index_headers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[IndexSource, tuple[str, ...]], Path]:
    """Download a source distribution, by name and pinned hash, and keep the headers below its prefix."""

    def fetch(origin: IndexSource, folders: tuple[str, ...]) -> Path:
        folder = tmp_path_factory.mktemp("index")
        archive = from_index(origin, folder, lambda _: None)
        with tarfile.open(archive) as tar:
            for member in tar:
                path = member.name.removeprefix(origin.prefix)
                if member.isfile() and path.endswith(".h") and path.startswith(folders):
                    content = tar.extractfile(member)
                    assert content is not None
                    (folder / "source" / path).parent.mkdir(parents=True, exist_ok=True)
                    (folder / "source" / path).write_bytes(content.read())
        archive.unlink()
        return folder / "source"

    return fetch


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
