"""Two builds of a wheel are equal byte by byte, whatever folder, time and user they were made in."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.native]


def build(place: Path, backend: str, *, at: str) -> Path:
    """Make a wheel from a copy of the sources, with a cache and a source tree of its own."""
    checkout, source = place / "checkout", place / "llama.cpp"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, names.stdout.split("\0")):
        if not name.startswith("tests/") and (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, checkout / name)
    fetched = subprocess.run(
        [sys.executable, str(ROOT / "vendor" / "fetch.py"), "--print-path"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    shutil.copytree(fetched, source)
    done = subprocess.run(
        [sys.executable, "-m", "build_backends.wheel", backend, "--out", str(place / "dist")],
        cwd=checkout,
        env={
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "LLAMA_FFI_CACHE": str(place / "cache"),
            "LLAMA_FFI_LLAMA_CPP_DIR": str(source),
            "TZ": at,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


@pytest.mark.timeout(5400)
@pytest.mark.parametrize("backend", ["rpc", "cpu"])
def test_two_builds_are_equal(tmp_path, backend) -> None:
    first = build(tmp_path / "one", backend, at="UTC")
    second = build(tmp_path / "another" / "and longer" / "place", backend, at="Asia/Tokyo")
    assert first.name == second.name
    one, other = contents(first), contents(second)
    assert {name for name in one if one[name] != other.get(name)} == set()
    assert first.read_bytes() == second.read_bytes()
