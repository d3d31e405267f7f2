"""What a back end needs besides cmake and a compiler: how to look for it, and how to get it.

Everything is looked for before cmake starts: a missing shader compiler is one line here, and a page of
cmake's words after a minute otherwise. What the user points at by a cmake definition is not looked for again,
and `LLAMA_FFI_BUILD_UNCHECKED=1` leaves all of it to cmake, for systems that keep things where nobody looks.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from build_backends.errors import BuildError

UNCHECKED = "LLAMA_FFI_BUILD_UNCHECKED"

SYSTEMS = ("debian", "fedora", "macos", "windows")
_SYSTEM_NAMES = {"debian": "Debian, Ubuntu", "fedora": "Fedora, RHEL", "macos": "macOS", "windows": "Windows"}


@dataclass(frozen=True)
class Hints:
    """How to get one thing, by system; an empty text: it is not to be had there."""

    debian: str = ""
    fedora: str = ""
    macos: str = ""
    windows: str = ""

    def on(self, system: str) -> str:
        """Return the cure on `system`, those of both Linux families if the family is not known."""
        if system == "linux":
            return "; ".join(f"{_SYSTEM_NAMES[name]}: {getattr(self, name)}" for name in ("debian", "fedora"))
        return str(getattr(self, system)) or f"not to be had on {_SYSTEM_NAMES[system]}"


@dataclass(frozen=True)
class Situation:
    """Where a need is looked for: the user's cmake definitions and the compilers of this build."""

    defines: Mapping[str, str]
    compilers: Mapping[str, str]


@dataclass(frozen=True)
class Need:
    """One thing that must be there. `find` returns what was found, in words, or None.

    `defines` are the cmake definitions by which the user can name it himself.
    """

    what: str
    find: Callable[[Situation], str | None]
    hints: Hints
    defines: tuple[str, ...] = ()


def this_system(os_release: Path = Path("/etc/os-release")) -> str:
    """Return "debian", "fedora", "macos" or "windows"; "linux" for any other family."""
    if sys.platform == "darwin":
        return "macos"
    if sys.platform == "win32":
        return "windows"
    try:
        text = os_release.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "linux"
    words = " ".join(re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)', text, re.MULTILINE)).split()
    for family, members in (("debian", {"debian", "ubuntu"}), ("fedora", {"fedora", "rhel", "centos"})):
        if members & set(words):
            return family
    return "linux"


def check(backend: str, needs: Sequence[Need], situation: Situation, system: str | None = None) -> list[str]:
    """Return what was found for each need; raise BuildError with a line for each that is missing."""
    if os.environ.get(UNCHECKED, "0") not in ("", "0") or "CMAKE_TOOLCHAIN_FILE" in situation.defines:
        return []
    found: list[str] = []
    missing: list[str] = []
    for need in needs:
        named = [f"{name}={situation.defines[name]}" for name in need.defines if name in situation.defines]
        answer = ", ".join(named) or need.find(situation)
        if answer is None:
            missing.append(f"{need.what}: {need.hints.on(system or this_system())}")
        else:
            found.append(f"{need.what}: {answer}")
    if missing:
        raise BuildError(f"The back end {backend!r} needs what this machine lacks:", missing)
    return found


def _roots(variables: Sequence[str], folders: Sequence[str]) -> list[Path]:
    named = [os.environ[name] for name in variables if os.environ.get(name)]
    return [Path(folder) for folder in (*named, *folders)]


def first_line(program: str, *arguments: str) -> str | None:
    """Return the first line that says something about a version, or None if the program does not run."""
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, errors="replace", timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode != 0 or not lines:
        return None
    return next((line for line in lines if re.search(r"\d+\.\d+", line)), lines[0])


def program(
    *names: str,
    variables: tuple[str, ...] = (),
    folders: tuple[str, ...] = (),
    version: tuple[int, ...] = (),
    below: tuple[int, ...] = (),
) -> Callable[[Situation], str | None]:
    """Look for a program on PATH, then in the `bin` of roots; `version` ≤ what it says < `below`."""

    def find(situation: Situation) -> str | None:
        places = [None, *(str(root / "bin") for root in _roots(variables, folders))]
        for name in names:
            for place in places:
                path = shutil.which(name, path=place)
                said = path and first_line(path, "--version")
                if path and said:
                    numbers = re.search(r"(?:release |V|v|version:? )?(\d+(?:\.\d+)+)", said)
                    parts = tuple(int(part) for part in numbers[1].split(".")) if numbers else ()
                    if (not version or parts >= version) and (not below or parts < below):
                        return f"{path} ({said})"
        return None

    return find


def header(
    name: str,
    condition: str = "1",
    include_defines: tuple[str, ...] = (),
    variables: tuple[str, ...] = (),
    folders: tuple[str, ...] = (),
) -> Callable[[Situation], str | None]:
    """Let the compiler look for a header, where `condition` must hold for the preprocessor."""

    def find(situation: Situation) -> str | None:
        prefixes = situation.defines.get("CMAKE_PREFIX_PATH", "").split(";")
        prefixes += os.environ.get("CMAKE_PREFIX_PATH", "").split(os.pathsep)
        includes = [situation.defines[key] for key in include_defines if key in situation.defines]
        includes += [str(Path(prefix) / "include") for prefix in prefixes if prefix]
        brews = ("/opt/homebrew", "/opt/local") if sys.platform == "darwin" else ()  # cmake looks there, too
        includes += [str(root / "include") for root in _roots(variables, (*folders, *brews))]
        compiler = situation.compilers.get("CXX")
        if compiler is None:  # Visual Studio, which only cmake finds
            return next((place for place in includes if (Path(place) / name).is_file()), None)
        text = f"#include <{name}>\n#if !({condition})\n#error too old\n#endif\n"
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "look.cpp"
            source.write_text(text, encoding="utf-8")
            command = compiler.split() if not shutil.which(compiler) else [compiler]
            command += [*(f"-I{place}" for place in includes), "-E", str(source)]
            try:
                done = subprocess.run(command, capture_output=True, timeout=120)
            except (OSError, subprocess.TimeoutExpired):
                return None
            if done.returncode != 0:
                return None
            marks = re.findall(rb'^# 1 "([^"]*)"', done.stdout, re.MULTILINE)
        paths = [mark.decode(errors="replace") for mark in marks]
        return next((path for path in paths if path.replace("\\", "/").endswith(name)), name)

    return find


def accepts(*flags: str) -> Callable[[Situation], str | None]:
    """Look whether the compiler takes `flags`."""

    def find(situation: Situation) -> str | None:
        compiler = situation.compilers.get("CXX")
        if compiler is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "look.cpp"
            source.write_text("int look;\n", encoding="utf-8")
            command = compiler.split() if not shutil.which(compiler) else [compiler]
            command += [*flags, "-c", str(source), "-o", str(Path(folder) / "look.o")]
            try:
                done = subprocess.run(command, capture_output=True, timeout=120)
            except (OSError, subprocess.TimeoutExpired):
                return None
        return f"{compiler} takes {' '.join(flags)}" if done.returncode == 0 else None

    return find


def cmake_package(name: str, variables: tuple[str, ...] = ()) -> Callable[[Situation], str | None]:
    """Look for a package's cmake configuration below the prefixes that cmake looks at."""

    def find(situation: Situation) -> str | None:
        prefixes = situation.defines.get("CMAKE_PREFIX_PATH", "").split(";")
        prefixes += os.environ.get("CMAKE_PREFIX_PATH", "").split(os.pathsep)
        roots = [Path(prefix) for prefix in prefixes if prefix]
        roots += _roots(variables, ("/usr/local", "/usr", "/opt/homebrew", "/opt/local"))
        for root in roots:
            for pattern in ("lib*/cmake", "lib/*/cmake", "share/cmake", "share"):
                for file in root.glob(f"{pattern}/{name}*/{name}Config.cmake"):
                    return str(file)
        return None

    return find


def pkg_config(*names: str) -> Callable[[Situation], str | None]:
    """Ask pkg-config for one of the modules `names`."""

    def find(situation: Situation) -> str | None:
        tool = shutil.which("pkg-config") or shutil.which("pkgconf")
        for name in names if tool else ():
            said = first_line(str(tool), "--modversion", name)
            if said:
                return f"{name} {said}"
        return None

    return find


def library(
    *names: str, variables: tuple[str, ...] = (), folders: tuple[str, ...] = ()
) -> Callable[[Situation], str | None]:
    """Look for a shared or import library, by any of its names, in the usual folders and below roots."""
    usual = ("/usr/local", "/usr", "/opt/homebrew")

    def find(situation: Situation) -> str | None:
        places = ("lib", "lib64", "lib/*-linux-gnu", "targets/*/lib", "lib/x64")
        for root in _roots(variables, (*folders, *usual)):
            for place, name in itertools.product(places, names):
                for file in [*root.glob(f"{place}/lib{name}.*"), *root.glob(f"{place}/{name}.lib")]:
                    return str(file)
        return None

    return find


def platform_is(*platforms: str) -> Callable[[Situation], str | None]:
    """Look whether `sys.platform` is one of `platforms`."""
    return lambda situation: sys.platform if sys.platform in platforms else None
