"""What a wheel must fulfil before anybody is given it: `python -m build_backends.gate WHEEL…`.

A wheel that claims an older system than it runs on is worse than none: pip picks it, and the import fails. So
the tag is judged twice, by auditwheel and by what the files themselves say. The rest holds what the package
promises: no links, stripped, found by `$ORIGIN`, licences, one commit, a size.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import re
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Collection, Mapping, Sequence
from email.parser import Parser
from pathlib import Path
from typing import Any, NamedTuple

from build_backends import elf, recipes, stage, tags
from build_backends.errors import BuildError

MEGABYTE = 1_000_000
CORE_BUDGET = 15 * MEGABYTE
CORE = "llama_ffi"
CORE_PARTS = ("ggml-base", "ggml", "llama", "mtmd", "guard")
KINDS = {
    "linux": (".so", (b"\x7fELF",)),
    "manylinux": (".so", (b"\x7fELF",)),
    "musllinux": (".so", (b"\x7fELF",)),
    "macosx": (".dylib", (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")),
    "win": (".dll", (b"MZ",)),
}
"""How a library is named, and how it begins."""
LEAST = {"x86_64": "ggml-cpu-x64", "amd64": "ggml-cpu-x64", "aarch64": "ggml-cpu-armv8.0_1"}
"""The variant for the oldest processor of a kind."""


class Audit(NamedTuple):
    """What auditwheel says of a wheel."""

    by_symbols: str
    """the tag that the versions of the needed symbols allow, as `manylinux_2_35_x86_64`"""
    external: tuple[str, ...]
    """libraries that the wheel needs and neither holds nor may take for granted"""


class Wheel(NamedTuple):
    """A wheel, unpacked."""

    name: str
    version: str
    tag: str
    size: int
    root: Path
    entries: tuple[zipfile.ZipInfo, ...]

    @property
    def info(self) -> Path:
        """The folder of its metadata."""
        return self.root / f"{self.name}-{self.version}.dist-info"

    @property
    def package(self) -> Path:
        """The folder with the libraries and their manifest."""
        return self.root / self.name / "_native" if self.name == CORE else self.root / self.name

    @property
    def platform(self) -> str:
        """The platform part of the tag."""
        return self.tag.rpartition("-")[2]

    def libraries(self) -> list[Path]:
        """Return every ELF file."""
        return [file for file in sorted(self.root.rglob("*")) if file.is_file() and elf.is_elf(file)]

    def named_libraries(self) -> list[Path]:
        """Return every file that is named as a library, of whatever system, or is one of Linux's."""
        suffixes = {suffix for suffix, _ in KINDS.values()}
        named = {file for file in self.root.rglob("*") if file.is_file() and file.suffix in suffixes}
        return sorted(named.union(self.libraries()))

    @property
    def recipe(self) -> recipes.Recipe | None:
        """The recipe of a plugin."""
        return recipes.RECIPES.get(self.name.removeprefix(f"{CORE}_")) if self.name != CORE else None


def audit(wheel: Path) -> Audit:
    """Ask auditwheel; raise BuildError if it is not installed or fails."""
    done = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", "--json", str(wheel)], capture_output=True, text=True
    )
    if "No module named auditwheel" in done.stderr:
        raise BuildError("Wheels are judged by auditwheel: python -m pip install 'llama-ffi[wheels]'")
    if done.returncode != 0:
        raise BuildError(
            f"auditwheel can't judge {wheel.name}:", (done.stderr or done.stdout).splitlines()[-3:]
        )
    said = json.loads(done.stdout)
    return Audit(said["sym_tag"], tuple(sorted(Path(name).name for name in said["external_libs"])))


def glibc_of(tag: str) -> tuple[int, int] | None:
    """Return the C library that a manylinux platform tag names, None for other tags."""
    match = re.match(r"manylinux_(\d+)_(\d+)_", tag)
    return (int(match[1]), int(match[2])) if match else None


def _tag(wheel: Wheel, judged: Audit, local: bool) -> list[str]:
    if wheel.tag == tags.ANY:
        return ["a wheel for any platform holds no libraries"] if wheel.libraries() else []
    if not wheel.platform.startswith(("linux", "manylinux", "musllinux")):
        return []
    found = []
    declared = re.findall(r"^Tag: (\S+)", (wheel.info / "WHEEL").read_text(encoding="utf-8"), re.MULTILINE)
    if declared != [wheel.tag]:
        found.append(f"its WHEEL file says {declared}, its name {wheel.tag}")
    promised, allowed = glibc_of(wheel.platform), glibc_of(judged.by_symbols)
    if promised is None:
        if not local and not wheel.platform.startswith("musllinux"):
            found.append(f"{wheel.platform} promises no system at all: an index refuses it")
        return found
    if allowed is None or allowed > promised:
        found.append(f"it is tagged {wheel.platform}, but auditwheel finds that it needs {judged.by_symbols}")
    for library in wheel.libraries():
        needs = elf.needed_version(elf.read(library), "GLIBC_")
        if needs > promised:
            found.append(
                f"it is tagged {wheel.platform}, but {library.name} needs glibc {'.'.join(map(str, needs))}"
            )
    return found


def _libraries(wheel: Wheel, judged: Audit) -> list[str]:
    found = []
    own = {library.name for library in wheel.libraries()}
    allowed = (*wheel.recipe.run_time, "libggml-base-*") if wheel.recipe else ()
    for library in wheel.libraries():
        read = elf.read(library)
        if read.has_symbols:
            found.append(f"{library.name} is not stripped")
        if read.soname and read.soname != library.name:
            found.append(f"{library.name} calls itself {read.soname}")
        for path in read.run_path:
            if path != "$ORIGIN" and not path.startswith("$ORIGIN/"):
                found.append(f"{library.name} looks for libraries in {path}")
        for name in read.needed:
            if name.startswith("libggml") and name not in own and wheel.name == CORE:
                found.append(f"{library.name} needs {name}, which the wheel does not hold")
    # auditwheel goes on through the libraries of this machine: what those need is not the wheel's affair.
    direct = {name for library in wheel.libraries() for name in elf.read(library).needed}
    for name in sorted(direct.intersection(judged.external)):
        if name not in own and not any(fnmatch.fnmatch(name, pattern) for pattern in allowed):
            found.append(f"it needs {name}, which neither it nor every system has")
    return found


def _manifest(wheel: Wheel) -> list[str]:
    if wheel.tag == tags.ANY:
        return []
    found = stage.damage(wheel.package)
    try:
        files = stage.promised(wheel.package)
        manifest = json.loads((wheel.package / stage.MANIFEST).read_text(encoding="utf-8"))
        found += _named(wheel, files, manifest["commit"][:9])
        if wheel.name == CORE:
            found += _core(wheel, manifest)
        elif manifest["llama_ffi"] != wheel.version:
            found.append(f"its manifest is for llama-ffi {manifest['llama_ffi']}, it is {wheel.version}")
        if manifest.get(stage.LOOK_IN):
            found.append(f"its manifest names folders of a machine: {', '.join(manifest[stage.LOOK_IN])}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return found or ["its manifest is none of ours"]
    if wheel.name != CORE:
        metadata = Parser().parsestr((wheel.info / "METADATA").read_text(encoding="utf-8"))
        if f"llama-ffi=={wheel.version}" not in metadata.get_all("Requires-Dist", []):
            found.append(f"it does not require llama-ffi=={wheel.version}")
    if not (wheel.package / "licenses" / "llama.cpp-LICENSE").is_file():
        found.append("llama.cpp's licence is missing")
    return found


def _named(wheel: Wheel, files: Collection[str], short: str) -> list[str]:
    """Tell which libraries aren't those of the manifest, of this commit, and for this platform."""
    found = []
    suffix, starts = KINDS.get(wheel.platform.partition("_")[0], ("", ()))
    for library in wheel.named_libraries():
        if f"-{short}." not in library.name:
            found.append(f"{library.name} does not carry the commit {short}")
        if library.parent != wheel.package or library.name not in files:
            found.append(f"{library.name} is not in its manifest")
        if library.suffix != suffix or not library.read_bytes().startswith(starts):
            found.append(f"{library.name} is no library for {wheel.platform}")
    return found


def _core(wheel: Wheel, manifest: Mapping[str, Any]) -> list[str]:
    """Tell what a core lacks: a library of the set, a CPU back end, the variant for the oldest processor."""
    found = [f"it has no {part}" for part in CORE_PARTS if part not in manifest["libraries"]]
    variants = [name for name in manifest["modules"] if name.startswith("ggml-cpu")]
    least = next((name for machine, name in LEAST.items() if wheel.platform.endswith(machine)), None)
    if "ggml-cpu" not in manifest["libraries"] and not variants:
        found.append("it has no back end for the CPU")
    elif variants and least and not {least, "ggml-cpu"}.intersection(variants):
        found.append(f"it has no {least}, which runs on every processor")
    return found


def _size(wheel: Wheel) -> list[str]:
    budget = CORE_BUDGET if wheel.name == CORE else wheel.recipe.budget if wheel.recipe else recipes.BUDGET
    if wheel.size <= budget:
        return []
    return [f"it has {wheel.size / MEGABYTE:.1f} MB, more than the {budget / MEGABYTE:.0f} MB it may have"]


def _links(wheel: Wheel) -> list[str]:
    return [
        f"{entry.filename} is a link" for entry in wheel.entries if stat.S_ISLNK(entry.external_attr >> 16)
    ]


def problems(path: Path, local: bool = False) -> list[str]:
    """Return what is wrong with a wheel, one sentence each; `local` allows a tag that no index takes."""
    if not re.fullmatch(r"[^-]+-[^-]+(-\d[^-]*)?(-[^-]+){3}\.whl", path.name):
        raise BuildError("its name is no wheel's: NAME-VERSION-py3-none-PLATFORM.whl")
    name, version, tag = path.stem.split("-", 2)
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(path) as archive:
            entries = tuple(archive.infolist())
            archive.extractall(folder)
        wheel = Wheel(name, version, tag, path.stat().st_size, Path(folder), entries)
        on_linux = tag != tags.ANY and any(wheel.libraries())
        judged = audit(path) if on_linux else Audit("", ())
        return [
            *_tag(wheel, judged, local),
            *_libraries(wheel, judged),
            *_manifest(wheel),
            *_size(wheel),
            *_links(wheel),
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m build_backends.gate", description="Judge wheels; 0 if all of them may be published."
    )
    parser.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL")
    parser.add_argument("--local", action="store_true", help="allow a tag that no index takes")
    options = parser.parse_args(arguments)
    status = 0
    for path in options.wheels:
        if not path.is_file():
            print(f"{path}: no such file")
            status = 1
            continue
        try:
            found = problems(path, options.local)
        except (BuildError, elf.ElfError, OSError, ValueError, zipfile.BadZipFile) as error:
            found = [str(error)]
        print(f"{path.name}: {path.stat().st_size / MEGABYTE:.1f} MB, {'refused' if found else 'good'}")
        for each in found:
            print(f"  {each}")
        status |= bool(found)
    return status


if __name__ == "__main__":
    sys.exit(main())
