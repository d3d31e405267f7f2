"""Fixtures that put a little llama.cpp, a fake index and an empty cache in place of the real ones."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the helper module: test modules are no package

from little_llama import FAKE_PIP, FILES, OTHER_FILES, pack, write_tree

from vendor import tree
from vendor.pin import ArchiveSource, IndexSource, Pin, load_pin


class Upstream:
    """A fake package index and a fake archive of the same little tree, and the pin that names both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls.txt"
        self.sdist = pack(folder / "thing-1.tar.gz", "thing-1/vendor/llama.cpp", {**FILES, **OTHER_FILES})
        self.archive = pack(folder / "archive.tar.gz", "llama.cpp-abc", {**FILES, **OTHER_FILES})
        root = write_tree(folder / "plain", FILES)
        content = self.sdist.read_bytes()
        self.pin: Pin = replace(
            load_pin(),
            tree_sha256=tree.digest(root),
            headers_sha256=tree.headers_digest(root),
            files=len(FILES),
            bytes=sum(len(text) for text in FILES.values()),
            index=IndexSource(
                project="thing",
                version="1",
                filename="thing-1.tar.gz",
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                prefix="thing-1/vendor/llama.cpp",
            ),
            archive=ArchiveSource(url=self.archive.as_uri(), prefix="llama.cpp-abc"),
        )

    def pip_calls(self) -> int:
        """Return how often the fake pip was started to download."""
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of this test's own, and no checkout named in the environment."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("LLAMA_FFI_CACHE", str(folder))
    monkeypatch.delenv("LLAMA_FFI_LLAMA_CPP_DIR", raising=False)
    return folder


@pytest.fixture
def upstream(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """The fake index and archive; pip is a script of ours."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    made = Upstream(folder)
    script = folder / "fake_pip.py"
    script.write_text(FAKE_PIP)
    monkeypatch.setenv("FAKE_PIP_CALLS", str(made.calls))
    monkeypatch.setenv("FAKE_PIP_FILE", str(made.sdist))
    monkeypatch.setattr("vendor.download.pip_command", lambda: [sys.executable, str(script)])
    return made


@pytest.fixture
def little_project(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the build use a little llama.cpp, guard and probe; return the tree, which a test may spoil."""
    from build_backends import build

    project = tmp_path / "native"
    (project / "guard").mkdir(parents=True)
    for name in ("CMakeLists.txt", "exports.map"):
        (project / name).write_text((build.PROJECT / name).read_text())
    (project / "guard" / "guard.cpp").write_text("int guard() { return 1; }\n")
    (project / "guard" / "calls.cpp").write_text("int calls() { return 1; }\n")
    (project / "guard" / "memory.cpp").write_text("int memory() { return 1; }\n")
    (project / "probe.c").write_text(
        '#include <stdio.h>\nint main(void) { puts("{\\"b\\": 2, \\"a\\": 1}"); }\n'
    )
    monkeypatch.setattr(build, "PROJECT", project)
    root = write_tree(tmp_path / "checkout", FILES)
    monkeypatch.setenv("LLAMA_FFI_LLAMA_CPP_DIR", str(root))
    return root


@pytest.fixture(scope="session")
def kept_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that tests share, so that the little project is compiled once."""
    return tmp_path_factory.mktemp("kept") / "cache"


@pytest.fixture
def pinned(little_project: Path, kept_cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make the little llama.cpp the pinned one, with a shared cache; return the start of its commit."""
    monkeypatch.setenv("LLAMA_FFI_CACHE", str(kept_cache))
    pin = replace(load_pin(), tree_sha256=tree.digest(little_project))
    monkeypatch.setattr("build_backends.source.load_pin", lambda: pin)
    return pin.commit[:9]


@pytest.fixture
def without_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that leaves only the named programs on PATH, and no CC or CXX."""

    def leave(*names: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in names:
            found = shutil.which(name)
            assert found, f"{name} is needed by this test"
            os.symlink(found, folder / name)
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.delenv("CC", raising=False)
        monkeypatch.delenv("CXX", raising=False)

    return leave
