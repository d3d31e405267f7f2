"""What a back end needs besides cmake and a compiler: how to look for it, and how to get it.

Everything is looked for before cmake starts: a missing shader compiler is one line here, and a page of
cmake's words after a minute otherwise. The programs that are found are handed to cmake, which would look
elsewhere and may find others. What the user points at by a cmake definition is not looked for again, and
`LLAMA_FFI_BUILD_UNCHECKED=1` leaves what is missing to cmake, for systems that keep things elsewhere.
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
from dataclasses import dataclass, field, replace
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
class Found:
    """What was found, in words, and where, if it is a file."""

    words: str
    path: Path | None = None


Find = Callable[[Situation], "Found | None"]


@dataclass(frozen=True)
class Need:
    """One thing that must be there, and how it is found.

    `defines` are the cmake definitions by which the user can name it himself, `chosen` those and the
    environment's variables whose program is looked at too: its release must be right. `gives` turns the path
    of what was found into definitions that make cmake take the same.
    """

    what: str
    find: Find
    hints: Hints
    defines: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    gives: Callable[[Path], Mapping[str, str]] = lambda path: {}


@dataclass(frozen=True)
class Checked:
    """What a recipe's needs came to: words for the cache's key, definitions for cmake, where things stand."""

    words: tuple[str, ...] = ()
    defines: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[Path, ...] = ()


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


def check(backend: str, needs: Sequence[Need], situation: Situation, system: str | None = None) -> Checked:
    """Return what was found for the needs; raise BuildError with a line for each that is missing.

    A need knows what those before it gave: cuBLAS is looked for beside the nvcc that was found.
    """
    if "CMAKE_TOOLCHAIN_FILE" in situation.defines:
        return Checked()
    unchecked = os.environ.get(UNCHECKED, "0") not in ("", "0")
    given: dict[str, str] = {}
    words: list[str] = []
    paths: list[Path] = []
    missing: list[str] = []
    for need in needs:
        named = {name: situation.defines[name] for name in need.defines if name in situation.defines}
        if named:
            files = [Path(value) for value in named.values() if os.path.exists(value)]
            found = Found(", ".join(f"{name}={value}" for name, value in named.items()), *files[:1])
        else:
            known = replace(situation, defines={**given, **situation.defines})
            answer = need.find(known)
            if answer is None:
                named = {name: value for name in need.chosen if (value := _value(name, situation))}
                cures = [f"{name} names {value}, which is another" for name, value in named.items()]
                missing.append(f"{need.what}: {[*cures, need.hints.on(system or this_system())][0]}")
                continue
            found = answer
            given.update(need.gives(found.path) if found.path else {})
        words.append(f"{need.what}: {found.words}")
        paths += [found.path] if found.path else []
    if missing and not unchecked:
        raise BuildError(f"The back end {backend!r} needs what this machine lacks:", missing)
    mine = {name: value for name, value in given.items() if name not in situation.defines}
    return Checked(tuple(words), mine, tuple(paths))


def _value(name: str, situation: Situation) -> str:
    """Return what the user has set `name` to: a definition, or a variable of the environment."""
    variable = name.isupper() and not name.startswith("CMAKE_")
    return situation.defines.get(name) or (os.environ.get(name, "") if variable else "")


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
    chosen: tuple[str, ...] = (),
    version: tuple[int, ...] = (),
    below: tuple[int, ...] = (),
) -> Find:
    """Look for a program: the one that `chosen` names, else on PATH, then in the `bin` of roots.

    `version` ≤ what it says < `below`.
    """

    def judge(path: str) -> Found | None:
        said = first_line(path, "--version")
        if not said:
            return None
        numbers = re.search(r"(?:release |V|v|version:? )?(\d+(?:\.\d+)+)", said)
        parts = tuple(int(part) for part in numbers[1].split(".")) if numbers else ()
        if (version and parts < version) or (below and parts >= below):
            return None
        return Found(f"{path} ({said})", Path(path).absolute())

    def find(situation: Situation) -> Found | None:
        for variable in chosen:
            value = _value(variable, situation)
            if value:
                path = shutil.which(value)
                # With arguments, or for another system: cmake will know.
                return judge(path) if path else Found(f"{variable}={value}")
        places = [None, *(str(root / "bin") for root in _roots(variables, folders))]
        for name in names:
            for place in places:
                path = shutil.which(name, path=place)
                found = judge(path) if path else None
                if found:
                    return found
        return None

    return find


def header(
    name: str,
    condition: str = "1",
    include_defines: tuple[str, ...] = (),
    variables: tuple[str, ...] = (),
    folders: tuple[str, ...] = (),
) -> Find:
    """Let the compiler look for a header, where `condition` must hold for the preprocessor."""

    def find(situation: Situation) -> Found | None:
        prefixes = situation.defines.get("CMAKE_PREFIX_PATH", "").split(";")
        prefixes += os.environ.get("CMAKE_PREFIX_PATH", "").split(os.pathsep)
        includes = [situation.defines[key] for key in include_defines if key in situation.defines]
        includes += [str(Path(prefix) / "include") for prefix in prefixes if prefix]
        brews = ("/opt/homebrew", "/opt/local") if sys.platform == "darwin" else ()  # cmake looks there, too
        includes += [str(root / "include") for root in _roots(variables, (*folders, *brews))]
        compiler = situation.compilers.get("CXX")
        if compiler is None:  # Visual Studio, which only cmake finds
            files = [Path(place) / name for place in includes]
            return next((Found(str(file), file) for file in files if file.is_file()), None)
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
        place = next((path for path in paths if path.replace("\\", "/").endswith(name)), None)
        return Found(place, Path(place)) if place else Found(name)

    return find


def accepts(*flags: str) -> Find:
    """Look whether the compiler takes `flags`."""

    def find(situation: Situation) -> Found | None:
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
        return Found(f"{compiler} takes {' '.join(flags)}") if done.returncode == 0 else None

    return find


def cmake_package(
    name: str, folder: str = "", variables: tuple[str, ...] = (), folders: tuple[str, ...] = ()
) -> Find:
    """Look for a package's cmake configuration below the prefixes that cmake looks at, and below roots.

    `folder` is where it stands if that isn't named as the package.
    """

    def find(situation: Situation) -> Found | None:
        prefixes = situation.defines.get("CMAKE_PREFIX_PATH", "").split(";")
        prefixes += os.environ.get("CMAKE_PREFIX_PATH", "").split(os.pathsep)
        roots = [Path(prefix) for prefix in prefixes if prefix]
        roots += _roots(variables, (*folders, "/usr/local", "/usr", "/opt/homebrew", "/opt/local"))
        for root in roots:
            for pattern in ("lib*/cmake", "lib/*/cmake", "share/cmake", "share"):
                for file in root.glob(f"{pattern}/{folder or name}*/{name}Config.cmake"):
                    return Found(str(file), file)
        return None

    return find


def pkg_config(*names: str) -> Find:
    """Ask pkg-config for one of the modules `names`."""

    def find(situation: Situation) -> Found | None:
        tool = shutil.which("pkg-config") or shutil.which("pkgconf")
        for name in names if tool else ():
            said = first_line(str(tool), "--modversion", name)
            if said:
                return Found(f"{name} {said}")
        return None

    return find


def library(
    *names: str,
    variables: tuple[str, ...] = (),
    folders: tuple[str, ...] = (),
    beside: str = "",
    major: int = 0,
) -> Find:
    """Look for a shared or import library, by any of its names, in the usual folders and below roots.

    `beside` is the definition of a program, below whose root it is looked for first. Where the file names
    tell a version, its first number must be `major`, unless that is 0.
    """
    usual = ("/usr/local", "/usr", "/opt/homebrew")
    places = ("lib", "lib64", "lib/*-linux-gnu", "targets/*/lib", "lib/x64")

    def find(situation: Situation) -> Found | None:
        roots = _roots(variables, (*folders, *usual))
        if beside in situation.defines:
            roots.insert(0, Path(situation.defines[beside]).parent.parent)
        for root in roots:
            for place, name in itertools.product(places, names):
                for file in sorted([*root.glob(f"{place}/lib{name}.*"), *root.glob(f"{place}/{name}.lib")]):
                    versions = {each.name.split(".")[2] for each in file.parent.glob(f"lib{name}.so.*")}
                    if not major or not versions or str(major) in versions:
                        return Found(str(file), file)
        return None

    return find


def platform_is(*platforms: str) -> Find:
    """Look whether `sys.platform` is one of `platforms`."""
    return lambda situation: Found(sys.platform) if sys.platform in platforms else None
