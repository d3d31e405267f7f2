"""Run the C preprocessor and make its output standard C.

The compiler only expands macros and conditions: it runs without its own predefined macros
(`-undef`) and with our `fake_libc`, so that the result is the same on every machine.  What is left
that pycparser does not know, attributes above all, becomes `#pragma bindgen …` lines behind the
declaration concerned: nothing that changes a layout or a calling convention is lost silently.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .config import HARMLESS_ATTRIBUTES
from .errors import BindgenError
from .ir import Location

FAKE_LIBC = Path(__file__).resolve().parent / "fake_libc"

# What a header may ask about its compiler: GNU C11 on 64 bits, and which platform this is; nothing else of
# the machine's own.  The pinned headers do not ask for the platform, so they give the same everywhere.
_PREDEFINED = (
    "-undef",
    "-std=c11",
    "-D__GNUC__=4",
    "-D__LP64__=1",
    "-D__SIZEOF_POINTER__=8",
    "-D__CHAR_BIT__=8",
)
_PLATFORMS = {
    "linux": ("-D__linux__=1", "-D__unix__=1"),
    "darwin": ("-D__APPLE__=1", "-D__MACH__=1"),
    "win32": ("-D_WIN32=1", "-D_WIN64=1"),
}
_COMPILERS = ("cc", "gcc", "clang")
_VALUE_MARK = "__bindgen_value__"

_TOKEN = re.compile(
    r'(?P<directive>^[ \t]*\#[^\n]*\n?)|(?P<string>"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\')'
    r"|(?P<word>[A-Za-z_]\w*)|(?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)|(?P<newline>\n)|(?P<space>[^\S\n]+)|(?P<other>.)",
    re.MULTILINE,
)
_LINE_MARK = re.compile(r'#\s*(?:line\s+)?(\d+)\s+"((?:\\.|[^"\\])*)"')
_COMPLAINT = re.compile(r"(.*?):(\d+):(?:\d+:)? *(?:fatal )?error: *(.*)")
_DEFINE = re.compile(r"#\s*define\s+(\w+)(\([^)]*\))?[ \t]*(.*)")
_UNDEF = re.compile(r"#\s*undef\s+(\w+)")
_RENAMED = {
    "__inline": "inline",
    "__inline__": "inline",
    "__restrict": "restrict",
    "__restrict__": "restrict",
    "__const": "const",
    "__const__": "const",
    "__volatile__": "volatile",
    "__signed__": "signed",
    "__alignof__": "_Alignof",
    "__extension__": "",
    "__builtin_offsetof": "offsetof",
}
_ATTRIBUTE_WORDS = frozenset({"__attribute__", "__attribute", "__declspec", "__asm__", "__asm", "asm"})


@dataclass(frozen=True)
class Macro:
    """A macro that one of the bound headers defines; `params` is None for an object-like one."""

    name: str
    params: str | None
    body: str
    location: Location


@dataclass(frozen=True)
class Preprocessed:
    """Standard C, the macros defined on the way, and what each object-like one expands to at the end."""

    text: str
    macros: tuple[Macro, ...]
    expansions: dict[str, str]


def find_compiler() -> list[str]:
    """Return the command of a C compiler: `CC`, else cc, gcc or clang.

    Raises BindgenError when there is none.
    """
    chosen = shlex.split(os.environ.get("CC", ""))
    if chosen:
        return chosen
    for name in _COMPILERS:
        if path := shutil.which(name):
            return [path]
    raise BindgenError("no C compiler found: set CC, or install one of " + ", ".join(_COMPILERS))


def preprocess(source: Path, headers: Sequence[str], include_dirs: Iterable[Path]) -> Preprocessed:
    """Preprocess `headers` (paths below `source`) as one translation unit."""
    source = source.resolve()
    umbrella = "".join(f'#include "{(source / header).as_posix()}"\n' for header in headers)
    flags = [f"-I{directory}" for directory in include_dirs]
    cleaner = _Cleaner(source)
    text = cleaner.clean(_run(umbrella, [*flags, "-dD"], source))
    names = [m.name for m in cleaner.macros.values() if m.params is None and m.body]
    values = "".join(f'{_VALUE_MARK} "{name}" {name}\n' for name in names)
    expanded = _run(umbrella + values, [*flags, "-P"], source)
    expansions = {}
    for piece in expanded.split(_VALUE_MARK)[1:]:
        name, _, expansion = piece.strip().partition(" ")
        expansions[name.strip('"')] = " ".join(expansion.split())
    return Preprocessed(text, tuple(cleaner.macros.values()), expansions)


def _run(text: str, flags: Sequence[str], source: Path) -> str:
    command = [
        *find_compiler(),
        "-E",
        *_PREDEFINED,
        *_PLATFORMS.get(sys.platform, ()),
        "-nostdinc",
        *flags,
        f"-I{FAKE_LIBC}",
        "-x",
        "c",
        "-",
    ]
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8")
    except OSError as error:
        raise BindgenError(f"cannot run the C preprocessor {command[0]!r}: {error}") from error
    if done.returncode:
        raise _complaint(done.stderr, source)
    return done.stdout


def _complaint(stderr: str, source: Path) -> BindgenError:
    """Return the compiler's first error, at its place in the header."""
    lines = stderr.splitlines()
    first = next((line for line in lines if "error" in line), lines[-1] if lines else "no message")
    match = _COMPLAINT.match(first.replace(f"{source}{os.sep}", ""))
    if match is None:
        return BindgenError(f"the C preprocessor says: {first}")
    return BindgenError(
        f"the C preprocessor says: {match.group(3)}", Location(match.group(1), int(match.group(2)))
    )


@dataclass
class _Pending:
    """An attribute waiting for the end of its declaration at brace depth `depth`."""

    text: str
    depth: int


class _Cleaner:
    """One pass over the preprocessor's output, token by token."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.macros: dict[str, Macro] = {}
        self._file = ""
        self._line = 0
        self._out: list[str] = []
        self._pending: list[_Pending] = []
        self._bodies: list[bool] = []  # for each open brace: does it open a function's body?

    def clean(self, text: str) -> str:
        """Return `text` as standard C, and collect the macros."""
        tokens = [(m.lastgroup or "", m.group()) for m in _TOKEN.finditer(text)]
        position, parens, previous = 0, 0, ""
        while position < len(tokens):
            kind, token = tokens[position]
            position += 1
            if kind == "directive":
                self._directive(token)
                continue
            if kind == "word" and token in _ATTRIBUTE_WORDS:
                position, argument = self._balanced(tokens, position)
                self._attribute(token, argument)
                continue
            if kind == "newline":
                self._line += 1
            elif kind == "word":
                token = _RENAMED.get(token, token)
            self._out.append(token)
            if token in "()" and kind == "other":
                parens += 1 if token == "(" else -1
            elif token == "{":
                self._bodies.append(previous == ")")
            elif token == "}":
                if self._bodies and self._bodies.pop():
                    self._flush()
            elif token == ";" and parens == 0:
                self._flush()
            if kind not in ("space", "newline"):
                previous = token
        return "".join(self._out)

    def _balanced(self, tokens: Sequence[tuple[str, str]], position: int) -> tuple[int, str]:
        """Return the position behind the parenthesised group that follows, and its text."""
        depth, text = 0, []
        while position < len(tokens):
            kind, token = tokens[position]
            if depth == 0 and kind not in ("space", "newline") and token != "(":
                break
            position += 1
            if kind == "newline":
                self._line += 1
                self._out.append(token)
                continue
            depth += {"(": 1, ")": -1}.get(token, 0) if kind == "other" else 0
            text.append(token)
            if depth == 0 and token == ")":
                break
        return position, "".join(text).strip()

    def _attribute(self, word: str, argument: str) -> None:
        inner = argument.strip()
        while inner.startswith("(") and inner.endswith(")"):
            inner = inner[1:-1].strip()
        if "asm" in word:
            self._pending.append(_Pending(f"attribute asm {inner}", len(self._bodies)))
            return
        for part in _split(inner):
            name = part.partition("(")[0].strip().strip("_")
            if name == "deprecated":
                hint = "".join(m.group() for m in _TOKEN.finditer(part) if m.lastgroup == "string")
                self._pending.append(_Pending(f"deprecated {hint or chr(34) * 2}", len(self._bodies)))
            elif name and name not in HARMLESS_ATTRIBUTES:
                self._pending.append(_Pending(f"attribute {part.strip()}", len(self._bodies)))

    def _flush(self) -> None:
        """Write the attributes of the declaration that ends here as pragmas behind it."""
        depth = len(self._bodies)
        ready = [p for p in self._pending if p.depth >= depth]
        if not ready:
            return
        self._pending = [p for p in self._pending if p.depth < depth]
        for pending in ready:
            self._out.append(f"\n#pragma bindgen {pending.text}")
        self._out.append(f'\n# {self._line} "{self._file}"\n')

    def _directive(self, line: str) -> None:
        stripped = line.strip()
        if mark := _LINE_MARK.match(stripped):
            self._file, self._line = self._relative(mark.group(2)), int(mark.group(1))
            self._out.append(f'# {self._line} "{self._file}"\n')
            return
        if define := _DEFINE.match(stripped):
            name, params, body = define.groups()
            if not self._file.startswith("<"):
                self.macros[name] = Macro(name, params, body.strip(), Location(self._file, self._line))
        elif undef := _UNDEF.match(stripped):
            self.macros.pop(undef.group(1), None)
        elif stripped.lstrip("# \t").startswith("pragma"):
            self._out.append(stripped)
        self._out.append("\n")
        self._line += 1

    def _relative(self, file: str) -> str:
        """Return the path below the source root; anything outside it is marked as foreign by `<`."""
        try:
            return Path(file).resolve().relative_to(self.source).as_posix()
        except ValueError:
            return f"<{Path(file).name.strip('<>')}>"


def _split(text: str) -> list[str]:
    """Split at the commas outside parentheses and strings."""
    parts, depth = [""], 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        if match.lastgroup == "other":
            depth += {"(": 1, ")": -1}.get(token, 0)
            if token == "," and depth == 0:
                parts.append("")
                continue
        parts[-1] += token
    return [part for part in parts if part.strip()]
