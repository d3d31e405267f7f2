"""What AddressSanitizer and UBSan have written, sorted by the place in the source."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_ADDRESS = re.compile(r"ERROR: AddressSanitizer: ([\w-]+)")
_UNDEFINED = re.compile(r"^(\S+?):(\d+):\d+: runtime error: (.*)")
_FRAME = re.compile(r"^\s*#\d+ 0x[0-9a-f]+ (?:in (.+?) )?(\(?\S+\)?)(?: \(BuildId.*)?$")
_OURS = re.compile(r".*?/?((?:llama\.cpp|guard)/.+?):(\d+)(?::\d+)?$")
_PYTHON = re.compile(
    r"#\d+ 0x[0-9a-f]+ .*(_cffi_backend|Include/|Python/|Objects/|Modules/|/bin/python|__libc_start)"
)
_NUMBERS = re.compile(r"0x[0-9a-f]+|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|-?\b(?:nan|inf)\b")


@dataclass
class Finding:
    """One kind of error at one place."""

    kind: str
    """AddressSanitizer's word, or UBSan's sentence without its numbers"""
    file: str
    function: str
    count: int = 0
    lines: set[int] = field(default_factory=set)
    example: str = ""
    """the first report"""

    @property
    def place(self) -> str:
        return f"{self.file}:{self.function}"

    def __str__(self) -> str:
        lines = ", ".join(map(str, sorted(self.lines)))
        return f"{self.count:6} x {self.kind} in {self.function} ({self.file}, line {lines})"


def collect(folder: Path) -> list[Finding]:
    """Read all reports in a folder; return the findings, the most frequent first."""
    found: dict[tuple[str, str, str], Finding] = {}
    for path in sorted(folder.iterdir()):
        for report in _split(path.read_text(errors="replace").splitlines()):
            kind, file, line, function = _place(report)
            finding = found.setdefault((kind, file, function), Finding(kind, file, function))
            finding.count += 1
            finding.lines.add(line)
            finding.example = finding.example or "\n".join(_shortened(report))
    return sorted(found.values(), key=lambda each: (-each.count, each.place))


def _shortened(report: list[str]) -> list[str]:
    """Return a report's first lines, without the frames of Python."""
    return [line for line in report[:80] if not _PYTHON.search(line)][:30]


def _split(lines: Iterable[str]) -> list[list[str]]:
    """Cut a file into reports."""
    reports: list[list[str]] = []
    for line in lines:
        if _ADDRESS.search(line) or _UNDEFINED.match(line):
            reports.append([])
        if reports:
            reports[-1].append(line)
    return reports


def _place(report: list[str]) -> tuple[str, str, int, str]:
    """Return (kind, file, line, function) of a report: the innermost place in our libraries, if any."""
    undefined = _UNDEFINED.match(report[0])
    address = _ADDRESS.search(report[0])
    kind = _NUMBERS.sub("N", undefined[3]) if undefined else str(address and address[1])
    frames = _frames(report)
    for function, where in frames:
        inside = _OURS.match(where)
        if inside:
            return kind, inside[1], int(inside[2]), short(function)
    if undefined:
        return kind, undefined[1], int(undefined[2]), short(frames[0][0]) if frames else "?"
    return kind, "?", 0, " < ".join(short(function or where) for function, where in frames[:4]) or "?"


def _frames(report: list[str]) -> list[tuple[str, str]]:
    """Return (function, place) of the first stack in a report, the innermost first."""
    frames = []
    for line in report[1:]:
        match = _FRAME.match(line)
        if match:
            frames.append((match[1] or "", match[2]))
        elif frames:
            break
    return frames


def short(function: str) -> str:
    """Return a C++ function's name without its arguments and templates."""
    depth, kept = 0, []
    for letter in function.replace("(anonymous namespace)::", ""):
        if letter in "<(":
            depth += 1
        elif letter in ">)":
            depth -= 1
        elif depth == 0:
            kept.append(letter)
    return "".join(kept).replace(" const", "").split(" ")[-1] or function
