"""What the drop-in tests share: programs in processes of their own, and a stand-in for llama-cpp-python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_IMPORT = "from ._ctypes_extensions import load_shared_library\n"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def python(tmp_path: Path) -> Run:
    """Run `python arguments…` in an empty folder, with llama_ffi and the given folders to import from."""

    def run(
        *arguments: str, path: tuple[Path, ...] = (), env: Mapping[str, str] | None = None, ok: bool = True
    ) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "cwd"
        folder.mkdir(exist_ok=True)
        entries = os.pathsep.join(map(str, (*path, ROOT)))
        environment = {**os.environ, "PYTHONPATH": entries, "PYTHONIOENCODING": "utf-8", **(env or {})}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
        )
        assert not ok or done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def package(tmp_path: Path) -> Callable[..., Path]:
    """Write a package `llama_cpp` with the shape of llama-cpp-python, whose own library can't be opened."""

    def write(version: str = "0.3.36", declarations: str = "", code: str = "") -> Path:
        folder = tmp_path / f"site-{version}"
        inside = folder / "llama_cpp"
        inside.mkdir(parents=True)
        files = {
            "__init__.py": f'from .llama_cpp import *\nfrom .llama import *\n__version__ = "{version}"\n',
            "_ctypes_extensions.py": "def load_shared_library(name, path):\n    raise RuntimeError('own')\n",
            "_ggml.py": f"{_IMPORT}libggml = load_shared_library('ggml', '.')\n",
            "llama_cpp.py": "raise RuntimeError('own library')\n" + declarations,
            "llama.py": f"import llama_cpp.llama_cpp as llama_cpp\n\nclass Llama:\n    pass\n\n{code}",
            "llava_cpp.py": f"{_IMPORT}_lib = load_shared_library('llava', '.')\n",
        }
        for name, text in files.items():
            (inside / name).write_text(text, encoding="utf-8")
        return folder

    return write
