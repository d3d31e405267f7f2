"""What an ELF library's header says, before the loader maps it: whether it is whole, and what it needs.

The loader maps a file that was cut off without a word, and the process dies of SIGBUS where the rest is
missing. A few reads tell beforehand. Files of other formats pass: their loaders look for themselves.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

_64_BITS_LITTLE = b"\2\1"
_MACHINES = {
    3: "x86",
    8: "MIPS",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
}
_ALIASES = {"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "ppc64", "i686": "x86", "armv7l": "arm"}
_DYNAMIC, _LOAD = 2, 1
_NEEDED, _STRTAB = 1, 5
_MOST_ENTRIES = 4096


def problem(path: Path) -> str | None:
    """Return why the loader must not see the file, None if nothing speaks against it."""
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(64)
            if not head:
                return "the file is empty"
            if head[:4] != b"\x7fELF" or head[4:6] not in (_64_BITS_LITTLE, b"", b"\2"):
                return None
            header = _Header(head)
            machine = os.uname().machine.lower() if hasattr(os, "uname") else header.machine
            if header.machine != _ALIASES.get(machine, machine):
                return f"the file is for {header.machine}, this machine is {machine}"
            ends = [header.sections + header.section_count * header.section_size]
            ends += [offset + length for _, offset, _, length in header.segments(_reader(file.fileno()))]
    except OSError as error:
        return f"the file can't be read: {error.strerror or error}"
    except (struct.error, ValueError, OverflowError):
        return "the file is cut off inside of its header, or damaged"
    if max(ends) > size:
        return f"the file is cut off: it has {size:,} bytes of {max(ends):,}"
    return None


def needed(path: Path) -> list[str]:
    """Return the names of the libraries that the file needs, [] if it isn't ELF or can't be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            read = _reader(file.fileno())
            head = read(0, 64)
            return _needed(_Header(head), read) if head[:4] == b"\x7fELF" else []
    except (OSError, struct.error, ValueError, OverflowError):
        return []


Read = Callable[[int, int], bytes]


def _reader(descriptor: int) -> Read:
    def read(at: int, count: int) -> bytes:
        os.lseek(descriptor, at, os.SEEK_SET)
        return os.read(descriptor, count)

    return read


class _Header:
    """The file header of a 64-bit ELF file of this machine's byte order."""

    def __init__(self, head: bytes) -> None:
        if head[4:6] != _64_BITS_LITTLE:
            raise ValueError("not 64 bits, or not little endian")
        fields = struct.unpack_from("<HHIQQQIHHHHHH", head, 16)
        self.machine = _MACHINES.get(fields[1], f"machine {fields[1]}")
        self.programs, self.sections = fields[4], fields[5]
        self.program_size, self.program_count, self.section_size, self.section_count = fields[8:12]

    def segments(self, read: Read) -> list[tuple[int, int, int, int]]:
        """Return (kind, offset, address, bytes) of what is to be mapped, and of the dynamic section."""
        table = read(self.programs, self.program_size * self.program_count)
        found = []
        for index in range(self.program_count):
            kind, _, offset, address, _, length = struct.unpack_from(
                "<IIQQQQ", table, index * self.program_size
            )
            if kind in (_LOAD, _DYNAMIC):
                found.append((kind, offset, address, length))
        return found


def _needed(header: _Header, read: Read) -> list[str]:
    segments = header.segments(read)
    dynamic = [(offset, length) for kind, offset, _, length in segments if kind == _DYNAMIC]
    if not dynamic:
        return []
    offset, length = dynamic[0]
    table = read(offset, min(length, 16 * _MOST_ENTRIES))
    entries = [struct.unpack_from("<qQ", table, at) for at in range(0, len(table) - 15, 16)]
    names = [value for tag, value in entries if tag == _NEEDED]
    strings = next((value for tag, value in entries if tag == _STRTAB), None)
    if strings is None:
        return []
    for kind, at, address, length in segments:
        if kind == _LOAD and address <= strings < address + length:
            text = read(at + strings - address, address + length - strings)
            return [text[name : text.index(b"\0", name)].decode("utf-8", "replace") for name in names]
    return []
