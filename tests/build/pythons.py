"""One wheel, every Python: install it in each that is here, without a compiler, and let it write.

    python -m tests.build.pythons WHEEL [WHEEL…]
    python -m tests.build.pythons --python /opt/pypy3/bin/pypy3 WHEEL

Without `--python` every CPython ≥ 3.10 and PyPy on PATH and below pyenv's folder is taken. Each gets a fresh
virtual environment and a PATH with nothing else on it. All must write the same text. What is needed besides
the wheels (cffi, numpy, jinja2) comes from pip's index.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

MINIMUM = (3, 10)
PROMPT = "Once upon a time"
_WHO = "import sys; print(sys.implementation.name, *sys.version_info[:3], sys.version_info.releaselevel)"


def who(python: Path) -> tuple[str, tuple[int, ...]] | None:
    """Return implementation and version of an interpreter, or None if it does not run."""
    try:
        done = subprocess.run([str(python), "-c", _WHO], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.split()
    return (words[0], tuple(map(int, words[1:4]))) if done.returncode == 0 and len(words) == 5 else None


def here() -> list[Path]:
    """Return the interpreters of this machine, one for each implementation and minor version."""
    candidates: list[Path] = []
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        candidates += sorted(Path(folder).glob("python3.*")) + sorted(Path(folder).glob("pypy3*"))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += sorted(pyenv.glob("versions/*/bin/python"))
    chosen: dict[tuple[str, tuple[int, ...]], Path] = {}
    for path in candidates:
        found = who(path) if re.fullmatch(r"(python|pypy)[\d.]*", path.name) else None
        if found and found[1] >= MINIMUM:
            chosen.setdefault((found[0], found[1][:2]), path)
    return [chosen[key] for key in sorted(chosen)]


def run(python: Path, wheels: Sequence[Path], folder: Path) -> tuple[bool, str]:
    """Install and generate with one interpreter; return whether it worked, and the text or the reason."""
    venv = folder / "venv"
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "LLAMA_", "CC", "CXX"))
        },
        "PATH": str(venv / "bin"),
        "LLAMA_FFI_CACHE": str(folder / "cache"),
    }
    steps = [
        [str(python), "-m", "venv", str(venv)],
        [str(venv / "bin" / "python"), "-m", "pip", "install", "-q", *map(str, wheels)],
        [str(venv / "bin" / "llama-ffi"), "generate", PROMPT, "-n", "24", "--temp", "0"],
    ]
    text = ""
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, env=environment, cwd=folder)
        text = done.stdout.strip()
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines()
            return False, f"{' '.join(step[1:4])}: {lines[-1] if lines else done.returncode}"
    return True, text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0 if all Pythons write the same."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.build.pythons", description="One wheel, every Python."
    )
    parser.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL")
    parser.add_argument("--python", action="append", type=Path, metavar="PATH", help="this one (repeat it)")
    options = parser.parse_args(arguments)
    texts: set[str] = set()
    failed = False
    for python in options.python or here():
        found = who(python)
        name = f"{found[0]} {'.'.join(map(str, found[1]))}" if found else str(python)
        folder = Path(tempfile.mkdtemp(prefix="llama-ffi-python-"))
        try:
            worked, text = run(python, [wheel.absolute() for wheel in options.wheels], folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(f"{name}: {'wrote' if worked else 'FAILED'}: {' '.join(text.split())[:150]}", flush=True)
        failed |= not worked
        if worked:
            texts.add(text)
    if len(texts) > 1:
        print(f"the texts differ: {len(texts)} of them")
    return 0 if texts and not failed and len(texts) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
