"""Fixtures: the fake GPU as a module, and a place to install plugins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .plugins import ROOT, Site, compile_module


@pytest.fixture(scope="session")
def source() -> Path:
    """The pinned source of llama.cpp, fetched if it isn't there."""
    command = [sys.executable, str(ROOT / "vendor" / "fetch.py"), "--print-path"]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


@pytest.fixture(scope="session")
def fake_gpu(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module of a back end "vulkan" with devices FAKE0, FAKE1 …, which compute on the processor."""
    return compile_module(tmp_path_factory.mktemp("fake") / "fake.so", source)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")
