"""Read from an ELF file what the loader reads: its name, what it needs, and where that is looked for.

Wheels are judged by this: which C library their modules need, and which libraries the user's machine must
bring. It is read without a tool, because a build on a user's machine has none.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_DYNAMIC, _LOAD = 2, 1
_NEEDED, _STRTAB, _SONAME, _RPATH, _RUNPATH = 1, 5, 14, 15, 29
_VERNEED, _VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF


class Elf(NamedTuple):
    """One shared library: `versions` are the symbol versions that it needs, by library."""

    soname: str
    needed: tuple[str, ...]
    run_path: tuple[str, ...]
    versions: Mapping[str, tuple[str, ...]]
    has_symbols: bool
    """whether it still has a symbol table of its own, which `strip` removes"""


class ElfError(ValueError):
    """The file is no 64-bit little-endian ELF file, or a damaged one."""


def is_elf(file: Path) -> bool:
    """Tell whether the file begins as ELF files do."""
    with file.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"


def read(file: Path) -> Elf:
    """Return what the dynamic section of `file` says; raise ElfError if it can't be read."""
    data = file.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise ElfError(f"{file} is no 64-bit little-endian ELF file")
    try:
        return _read(data)
    except (struct.error, IndexError, ValueError) as error:
        raise ElfError(f"{file} is damaged: {error}") from None


def _read(data: bytes) -> Elf:
    program_at, section_at = struct.unpack_from("<QQ", data, 32)
    program_size, programs, section_size, sections = struct.unpack_from("<HHHH", data, 54)
    segments = [
        struct.unpack_from("<IIQQQQQQ", data, program_at + index * program_size) for index in range(programs)
    ]
    # (type, flags, offset, address, physical address, size in file, size in memory, alignment)
    loads: list[tuple[int, int, int]] = [(each[3], each[5], each[2]) for each in segments if each[0] == _LOAD]

    def offset(address: int) -> int:
        return next(at + address - start for start, size, at in loads if start <= address < start + size)

    entries: list[tuple[int, int]] = []
    for segment in segments:
        if segment[0] == _DYNAMIC:
            entries = list(struct.iter_unpack("<QQ", data[segment[2] : segment[2] + segment[5] // 16 * 16]))
    values = dict(reversed(entries))
    strings = offset(values[_STRTAB]) if _STRTAB in values else 0

    def text(at: int) -> str:
        return data[strings + at : data.index(b"\0", strings + at)].decode()

    paths = text(values.get(_RUNPATH, values.get(_RPATH, 0))) if {_RUNPATH, _RPATH} & set(values) else ""
    versions: dict[str, tuple[str, ...]] = {}
    at = offset(values[_VERNEED]) if _VERNEED in values else 0
    for _ in range(values.get(_VERNEEDNUM, 0)):
        _, count, name, first, following = struct.unpack_from("<HHIII", data, at)
        found, where = [], at + first
        for _ in range(count):
            _, _, _, version, step = struct.unpack_from("<IHHII", data, where)
            found.append(text(version))
            where += step
        versions[text(name)] = tuple(sorted(found))
        at += following
    kinds = [
        struct.unpack_from("<I", data, section_at + index * section_size + 4)[0] for index in range(sections)
    ]
    return Elf(
        soname=text(values[_SONAME]) if _SONAME in values else "",
        needed=tuple(text(value) for key, value in entries if key == _NEEDED),
        run_path=tuple(path for path in paths.split(":") if path),
        versions=versions,
        has_symbols=2 in kinds,
    )


def needed_version(elf: Elf, prefix: str) -> tuple[int, ...]:
    """Return the highest version that begins with `prefix` ("GLIBC_"), () if none is needed."""
    found = [
        tuple(int(part) for part in version[len(prefix) :].split("."))
        for versions in elf.versions.values()
        for version in versions
        if version.startswith(prefix) and version[len(prefix) :].replace(".", "").isdigit()
    ]
    return max(found, default=())
