"""Wheels of a few lines, made for a test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

COMMIT = "0123456789" * 4


def make(
    out: Path,
    name: str = "little",
    version: str = "1.0",
    *,
    tag: str = "py3-none-any",
    python: str = ">=3.8",
    requires: tuple[str, ...] = (),
    native: bool = False,
) -> Path:
    """Write a wheel with one module into a folder; return its path.

    Arguments:
        native: with a library, its manifest and licences, as ours have them.
    """
    package = name.replace("-", "_")
    root = out / "unpacked" / f"{package}-{version}"
    info = root / f"{package}-{version}.dist-info"
    info.mkdir(parents=True)
    (root / package).mkdir()
    (root / package / "__init__.py").write_text(f"VERSION = {version!r}\n")
    if native:
        folder = root / package / "_native"
        (folder / "licenses").mkdir(parents=True)
        (folder / "libllama-012345678.so").write_bytes(b"\x7fELF no library")
        (folder / "licenses" / "llama.cpp-LICENSE").write_text("MIT")
        (folder / "licenses" / "cpp-httplib-LICENSE").write_text("The MIT License\n…")
        (folder / "manifest.json").write_text(json.dumps({"commit": COMMIT, "backend": "cpu"}))
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {name}",
        f"Version: {version}",
        "Summary: a <little> wheel",
        "License-Expression: MIT",
        f"Requires-Python: {python}",
        *(f"Requires-Dist: {each}" for each in requires),
    ]
    (info / "METADATA").write_text("\n".join([*lines, ""]))
    pure = "true" if tag.endswith("any") else "false"
    (info / "WHEEL").write_text(f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {pure}\nTag: {tag}\n")
    folder = out / "wheels"
    folder.mkdir(exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "wheel", "pack", str(root), "--dest-dir", str(folder)],
        check=True,
        capture_output=True,
    )
    return folder / f"{package}-{version}-{tag}.whl"
