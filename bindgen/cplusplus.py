"""Find what a header declares for C++ only, so that the report can say so.

Such blocks never reach the parser: the preprocessor drops them.  This looks at the text itself for
the names that `#ifdef __cplusplus` hides; it reports, it does not bind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .ir import Location, Skipped

_COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"', re.DOTALL)
_OPENS = re.compile(r"\s*#\s*(ifdef|ifndef|if)\b(.*)")
_CPLUSPLUS_IF = re.compile(r"\s*(?:__cplusplus\b|defined\s*\(?\s*__cplusplus\b)")
_NAME = re.compile(r"([A-Za-z_]\w*)\s*\(")
_WORD = re.compile(r"(namespace|class|struct)\s+(\w+)")


def cplusplus_only(source: Path, path: str) -> list[Skipped]:
    """Return the names that the header `path` below `source` declares for C++ only."""
    text = (source / path).read_text(encoding="utf-8")
    blanked = _COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
    hidden = "".join(line if cpp else "\n" for line, cpp in _lines(blanked))
    found = []
    for name, offset in _declared(hidden):
        line = hidden.count("\n", 0, offset) + 1
        found.append(Skipped("C++", name, "for C++ only, under #ifdef __cplusplus", Location(path, line)))
    return found


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each line, and whether only a C++ compiler would see it."""
    stack: list[bool | None] = []  # True: C++ branch, False: C branch, None: another condition
    for line in text.splitlines(keepends=True):
        directive = line.lstrip().startswith("#")
        if opens := _OPENS.match(line):
            about_cpp = _CPLUSPLUS_IF.match(opens.group(2)) is not None
            stack.append((opens.group(1) != "ifndef") if about_cpp else None)
        elif re.match(r"\s*#\s*(else|elif)\b", line) and stack:
            stack[-1] = None if stack[-1] is None else not stack[-1]
        elif re.match(r"\s*#\s*endif\b", line) and stack:
            stack.pop()
        yield line, True in stack and not directive


def _declared(text: str) -> Iterator[tuple[str, int]]:
    """Yield name and offset of each declaration outside braces; `extern "C"` braces do not count."""
    depth, start = 0, 0
    for match in re.finditer(r"[;{}]", text):
        token = match.group()
        statement = text[start : match.start()]
        if depth == 0 and token in ";{" and (name := _name_of(statement)):
            yield name, start + len(statement) - len(statement.lstrip())
        if token == "{" and statement.split() != ["extern"]:
            depth += 1
        elif token == "}":
            depth = max(depth - 1, 0)
        start = match.end()


def _name_of(statement: str) -> str | None:
    if word := _WORD.match(statement.lstrip()):
        return f"{word.group(1)} {word.group(2)}"
    call = _NAME.search(statement)
    return call.group(1) if call and call.group(1) != "static_assert" else None
