"""Read `PIN.toml`: the version of llama.cpp that everything is generated from and built with."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PIN_FILE = Path(__file__).resolve().parent / "PIN.toml"


class PinError(ValueError):
    """`PIN.toml` lacks something or holds something impossible."""


@dataclass(frozen=True)
class IndexSource:
    """A source distribution on the package index that carries the pinned tree below `prefix`."""

    project: str
    version: str
    filename: str
    size: int
    sha256: str
    prefix: str


@dataclass(frozen=True)
class ArchiveSource:
    """The archive of the pinned commit; its bytes are not stable, the tree below `prefix` is."""

    url: str
    prefix: str


@dataclass(frozen=True)
class Pin:
    """The pinned version: the commit, hashes of its tree and headers, and two places that have it."""

    commit: str
    tree_sha256: str
    headers_sha256: str
    files: int
    bytes: int
    index: IndexSource
    archive: ArchiveSource


def _toml() -> Any:
    """Return a TOML parser: the standard library's; on Python 3.10 tomli, or the one inside pip."""
    for name in ("tomllib", "tomli", "pip._vendor.tomli"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise PinError("reading PIN.toml on Python 3.10 needs tomli: python -m pip install tomli")


def load_pin(path: Path = PIN_FILE) -> Pin:
    """Read and check a pin file; raise PinError naming the key that is missing or wrong."""
    text = path.read_text(encoding="utf-8")
    toml = _toml()
    try:
        data: dict[str, Any] = toml.loads(text)
    except toml.TOMLDecodeError as error:
        raise PinError(f"{path}: {error}") from None

    def value(table: str, key: str, kind: type, pattern: str = "") -> Any:
        try:
            found = data[table][key]
        except (KeyError, TypeError):
            raise PinError(f"{path}: {table}.{key} is missing") from None
        if type(found) is not kind or (pattern and not re.fullmatch(pattern, str(found))):
            raise PinError(f"{path}: {table}.{key} is {found!r}, which is not a valid value")
        return found

    sha256 = "[0-9a-f]{64}"
    return Pin(
        commit=value("llama_cpp", "commit", str, "[0-9a-f]{40}"),
        tree_sha256=value("llama_cpp", "tree_sha256", str, sha256),
        headers_sha256=value("llama_cpp", "headers_sha256", str, sha256),
        files=value("llama_cpp", "files", int),
        bytes=value("llama_cpp", "bytes", int),
        index=IndexSource(
            project=value("index", "project", str),
            version=value("index", "version", str),
            filename=value("index", "filename", str, r"[A-Za-z0-9._-]+\.tar\.gz"),
            size=value("index", "size", int),
            sha256=value("index", "sha256", str, sha256),
            prefix=value("index", "prefix", str),
        ),
        archive=ArchiveSource(
            url=value("archive", "url", str, "(https|file)://.+"),
            prefix=value("archive", "prefix", str),
        ),
    )
