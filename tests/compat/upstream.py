"""llama-cpp-python itself: fetched by name and hash, installed without its native build, and with it.

What is fetched and built stays in the cache and is never part of this repository.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from vendor import download
from vendor.cache import cache_folder, locked
from vendor.pin import load_pin
from vendor.unpack import SourceError

PIN = load_pin().index
NEEDS = ("numpy", "diskcache", "jinja2", "typing_extensions", "scipy")
SERVER_NEEDS = ("fastapi", "uvicorn", "pydantic_settings", "sse_starlette", "starlette_context", "yaml")


def require(*modules: str) -> None:
    """Skip the test if one of the modules isn't installed (CI turns that into a failure)."""
    for module in modules:
        pytest.importorskip(module, reason=f"{module} is missing: pip install -e '.[compat]'")


def python_code() -> Path:
    """Return a folder with ``site`` (its Python code, as pip installs it) and ``tests`` (its own tests)."""
    return _made("python", _without_native_build)


def with_native_build() -> Path:
    """Return a folder with ``site``: llama-cpp-python as anybody gets it, compiled. Takes minutes once."""
    return _made(f"native-{sys.implementation.cache_tag}", _with_native_build)


def _made(name: str, make: Callable[[Path, Path], None]) -> Path:
    final = cache_folder() / "compat" / f"{PIN.project}-{PIN.version}-{PIN.sha256[:8]}-{name}"
    with locked(final.with_name(f"{final.name}.lock")):
        if not final.is_dir():
            with tempfile.TemporaryDirectory(dir=final.parent) as scratch:
                (unfinished := Path(scratch, "made")).mkdir()
                try:
                    archive = download.from_index(PIN, Path(scratch), lambda _: None)
                except SourceError as error:
                    pytest.skip(f"{PIN.project} {PIN.version} can't be fetched: {error}")
                make(archive, unfinished)
                os.replace(unfinished, final)
    return final


def _without_native_build(archive: Path, folder: Path) -> None:
    _install(archive, folder / "site", "-DLLAMA_BUILD=OFF")
    with tarfile.open(archive) as source:
        for member in source:
            name = Path(member.name)
            if member.isfile() and name.parts[1:2] == ("tests",) and len(name.parts) == 3:
                content = source.extractfile(member)
                assert content is not None
                (folder / "tests").mkdir(exist_ok=True)
                (folder / "tests" / name.name).write_bytes(content.read())


def _with_native_build(archive: Path, folder: Path) -> None:
    _install(archive, folder / "site", "")


def _install(archive: Path, site: Path, cmake_arguments: str) -> None:
    pip = download.pip_command()
    assert pip is not None
    command = [*pip, "install", "--quiet", "--no-deps", "--no-cache-dir", "--target", str(site), str(archive)]
    done = subprocess.run(
        command, env={**os.environ, "CMAKE_ARGS": cmake_arguments}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
