"""A virtual environment with other projects, made once and kept in the user's cache.

They are installed from the package index, all in the versions of locked.txt, and are strangers to ours: the
tests run programs in it, with llama_ffi on PYTHONPATH.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from vendor import cache, download
from vendor.pin import IndexSource

LOCKED = Path(__file__).with_name("locked.txt")

_WRAPPER = "llama-cpp-python==0.3.36"
"""Its Python code alone. pip would keep the wheel that is made without a native library, and give it to
whoever asks for the package next: so without pip's cache."""


def interpreter() -> Path:
    """Return the environment's python, after making the environment if it isn't there."""
    key = hashlib.sha256(f"{sys.version}\n{_WRAPPER}\n".encode() + LOCKED.read_bytes()).hexdigest()[:12]
    folder = cache.cache_folder() / f"third-party-{key}"
    with cache.locked(folder.with_suffix(".lock"), "another process that installs the third parties"):
        if not folder.is_dir():
            _make(folder)
    return folder / "bin" / "python"


def _make(folder: Path) -> None:
    part = Path(tempfile.mkdtemp(prefix="third-party-", dir=folder.parent))
    try:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(part)], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(part / "bin" / "python"), "--no-input", "install"]
        pip += ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"]
        subprocess.run([*pip, "--requirement", str(LOCKED)], check=True)
        environment = os.environ | {"CMAKE_ARGS": "-DLLAMA_BUILD=OFF"}
        subprocess.run([*pip, "--no-cache-dir", _WRAPPER], check=True, env=environment)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def source_of(source: IndexSource) -> Path:
    """Return a project's source distribution, verified, from the cache or through pip."""
    file = cache.cache_folder() / source.filename
    if not (file.is_file() and download.sha256_of(file) == source.sha256):
        with tempfile.TemporaryDirectory() as work:
            found = download.from_index(source, Path(work), lambda _fraction: None)
            part = file.with_name(f"{file.name}.{os.getpid()}")
            shutil.copyfile(found, part)
            part.replace(file)
    return file
