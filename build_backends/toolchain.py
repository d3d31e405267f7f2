"""Find what a build needs before it starts, and say how to get what is missing."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from build_backends.errors import BuildError

CMAKE_MINIMUM = (3, 21)

# What cmake itself would try, in its order.
_COMPILER_NAMES: Mapping[str, tuple[str, ...]] = {
    "CC": ("cc", "gcc", "clang"),
    "CXX": ("c++", "g++", "clang++"),
}
_LANGUAGES: Mapping[str, str] = {"CC": "C", "CXX": "C++"}

COMPILER_HINTS = (
    "Debian, Ubuntu:  sudo apt install build-essential",
    "Fedora, RHEL:    sudo dnf install gcc gcc-c++",
    "macOS:           xcode-select --install",
    "Windows:         winget install Microsoft.VisualStudio.2022.BuildTools  (workload: Desktop C++)",
)

# Everything in the environment that changes what a compiler makes of the same source.
FLAG_VARIABLES = ("CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "MACOSX_DEPLOYMENT_TARGET", "ARCHFLAGS")


@dataclass(frozen=True)
class Toolchain:
    """The programs of one build. Without compilers cmake chooses by itself (Visual Studio)."""

    cmake: str
    ninja: str | None
    compilers: Mapping[str, str]
    identity: str


def _version(command: list[str]) -> str | None:
    """Return the first line that `command --version` prints, or None if it does not run."""
    try:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, errors="replace", timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def _program(name: str, attribute: str) -> str | None:
    """Return the program that a PyPI package of the same name brings, else the one on PATH that runs."""
    candidates = []
    try:
        folder = getattr(importlib.import_module(name), attribute, None)
        if folder:
            candidates.append(shutil.which(name, path=str(folder)))
    except ImportError:
        pass
    candidates.append(shutil.which(name))
    # A name on PATH may be a shim that only prints where the program is not.
    return next((found for found in candidates if found and _version([found])), None)


def find_cmake() -> str | None:
    """Return a cmake that is new enough, or None."""
    found = _program("cmake", "CMAKE_BIN_DIR")
    match = re.search(r"(\d+)\.(\d+)", (_version([found]) if found else None) or "")
    return found if match and (int(match[1]), int(match[2])) >= CMAKE_MINIMUM else None


def find_ninja() -> str | None:
    """Return a ninja, or None."""
    return _program("ninja", "BIN_DIR")


def build_requirements() -> list[str]:
    """Return the PyPI requirements that make up for build tools this machine does not have."""
    wanted = []
    if find_cmake() is None:
        wanted.append("cmake>={}.{}".format(*CMAKE_MINIMUM))
    if find_ninja() is None:
        wanted.append("ninja")
    return wanted


def _find_compilers(preferred: Mapping[str, str]) -> dict[str, str]:
    """Return the C and C++ compiler by the name of their variable; raise BuildError if one is missing."""
    found: dict[str, str] = {}
    missing: list[str] = []
    for variable, names in _COMPILER_NAMES.items():
        language, chosen = _LANGUAGES[variable], os.environ.get(variable)
        if chosen:
            # CC may hold arguments, as in `CC="ccache gcc"`: cmake reads it itself, here it need only run.
            command = [chosen] if shutil.which(chosen) else shlex.split(chosen)
            if not command or _version(command) is None:
                raise BuildError(
                    f"{variable} is set to {chosen!r}, which does not run as a {language} compiler."
                )
            found[variable] = chosen
            continue
        if variable in preferred:
            names = (preferred[variable],)
        path = next((path for path in map(shutil.which, names) if path and _version([path])), None)
        if path is None:
            missing.append(f"{language} ({', '.join(names)})")
        else:
            found[variable] = path
    wanted = [preferred[variable] for variable in preferred if variable not in found]
    if wanted:
        raise BuildError(
            f"No compiler was found for {' and '.join(missing)}, and no other will do for this back end. "
            "Put it on PATH (Intel's: source /opt/intel/oneapi/setvars.sh), or name it by CC and CXX."
        )
    if missing:
        raise BuildError(
            f"No compiler was found for {' and '.join(missing)}. llama.cpp is compiled once; install one:",
            COMPILER_HINTS,
        )
    return found


def find_toolchain(preferred: Mapping[str, str] | None = None) -> Toolchain:
    """Return the programs to build with; raise BuildError that says what to install.

    `preferred` are the compilers of a recipe, by variable: {"CXX": "icpx"}.
    """
    cmake, ninja = find_cmake(), find_ninja()
    tools = [name for name, path in (("cmake", cmake), ("ninja", ninja)) if path is None]
    # Outside a developer prompt no compiler is on PATH, but cmake finds Visual Studio by itself.
    windows = sys.platform == "win32" and not os.environ.get("CXX") and not preferred
    by_visual_studio = windows and not shutil.which("cl")
    if by_visual_studio and cmake:
        return Toolchain(cmake, None, {}, "Visual Studio")
    if cmake is None or tools:
        raise BuildError(f"{' and '.join(tools)} not found: python -m pip install {' '.join(tools)}")
    if windows:
        return Toolchain(cmake, ninja, {}, f"cl {shutil.which('cl')}")
    compilers = _find_compilers(preferred or {})
    parts = []
    for command in compilers.values():
        argv = [command] if shutil.which(command) else shlex.split(command)
        real = Path(shutil.which(argv[0]) or argv[0]).resolve()
        parts.append(f"{real} {' '.join(argv[1:])} {_version(argv)}")
    return Toolchain(cmake, ninja, compilers, "; ".join(parts))


def cpu_identity() -> str:
    """Return a text that is equal on processors with the same instructions, for results tuned to this one."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    wanted = ("model name", "flags", "Features", "CPU part", "CPU implementer")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))
