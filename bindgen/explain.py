"""`bindgen explain NAME`: everything known about one C name, in one place.

Upstream's comments are read from the source tree at the time of asking; they are not stored here.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from pathlib import Path

from .analyze import Bindings
from .emit.cdef import declaration
from .emit.ctypes_module import ctypes_prototype
from .emit.stubs import stub_line
from .errors import BindgenError
from .ir import Constant, Declaration, Enum, Enumerator, Function, Location, Record, Typedef, Variable
from .layout import facts
from .models import LP64
from .naming import class_name, member_names
from .spell import spell

_COMMENT_LINE = re.compile(r"\s*(//|/\*|\*)")
_COMMENT_MARKS = re.compile(r"^\s*(//+|/\*+|\*/|\*)?\s?|\s*\*/\s*$")


def explain(bindings: Bindings, source: Path, package: Path, name: str) -> str:
    """Return declaration, comment, library and the forms in cffi, ctypes and Python of a C name.

    Raises BindgenError for a name that the headers do not declare, with similar ones.
    """
    for item in bindings.unit.declarations:
        if isinstance(item, Enum):
            for member in item.members:
                if member.name == name:
                    return "\n".join(_member(item, member, source))
        if name in _names(item):
            return "\n".join(_declaration(bindings, item, source, package))
    for skipped in bindings.skipped:
        if skipped.name == name:
            return f"{name} ({skipped.kind}, {skipped.location}) is not bound: {skipped.reason}"
    raise BindgenError(f"no header declares {name!r}{_similar(bindings, name)}")


def _names(item: Declaration) -> tuple[str, ...]:
    if isinstance(item, (Record, Enum)):
        kind = item.kind if isinstance(item, Record) else "enum"
        return (item.tag, f"{kind} {item.tag}") if item.tag else ()
    return (item.name,)


def _similar(bindings: Bindings, name: str) -> str:
    known = [n for item in bindings.unit.declarations for n in _names(item)[:1]]
    close = difflib.get_close_matches(name, known, n=3)
    return f"; similar: {', '.join(close)}" if close else ""


def _declaration(bindings: Bindings, item: Declaration, source: Path, package: Path) -> Iterator[str]:
    yield f"{_names(item)[-1]}  ({item.location})"
    yield ""
    yield f"C       {_c_form(item)}"
    if isinstance(item, Function):
        yield from _function(bindings, item)
    elif isinstance(item, Record):
        yield from _record(bindings, item)
    elif isinstance(item, Enum) and item.tag:
        yield f"Python  enums.{class_name(item.tag)}"
    elif isinstance(item, Constant):
        yield f"value   {item.value!r}"
    wrappers = list(_wrappers(package, _names(item)[0]))
    if wrappers:
        yield f"wraps   {', '.join(wrappers)}"
    yield from _comment(source, item.location)


def _c_form(item: Declaration) -> str:
    if isinstance(item, Constant):
        return (
            f"#define {item.name} {item.text}" if item.text != "static const" else f"static const {item.name}"
        )
    if isinstance(item, Record) and item.fields is not None:
        lines = [f"    {spell(f.type, f.name or '')};" for f in item.fields]
        return "\n".join([f"{item.kind} {item.tag} {{", *lines, "};"])
    if isinstance(item, Enum):
        lines = [f"    {m.name} = {m.value}," for m in item.members]
        return "\n".join([f"enum {item.tag} {{", *lines, "};"])
    assert isinstance(item, (Function, Typedef, Variable, Record))
    return declaration(item)


def _function(bindings: Bindings, item: Function) -> Iterator[str]:
    if item.deprecated is not None:
        yield f"        deprecated: {item.deprecated or 'no hint'}"
    yield f"cffi    {stub_line(bindings, item)}"
    yield f"ctypes  {ctypes_prototype(bindings, item)}"
    why_not = bindings.unavailable.get(item.name)
    yield f"library {bindings.library_of(item)}" + (f", but not available: {why_not}" if why_not else "")


def _record(bindings: Bindings, item: Record) -> Iterator[str]:
    layout = facts(bindings, LP64)["structs"].get(f"{item.kind} {item.tag}")
    if layout is None:
        yield "        opaque: only pointers to it exist"
        return
    yield f"layout  {layout['size']} bytes, aligned to {layout['align']} (LP64)"
    for field, (offset, size, type) in layout["fields"].items():
        yield f"        {offset:5} +{size:<4} {field}: {type}"


def _member(enum: Enum, member: Enumerator, source: Path) -> Iterator[str]:
    yield f"{member.name} = {member.value}  ({member.location})"
    if member.text is not None:
        yield f"C       {member.name} = {member.text}"
    if enum.tag is not None:
        names = member_names(enum.tag, [m.name for m in enum.members])
        yield f"of      enum {enum.tag}"
        yield f"Python  enums.{class_name(enum.tag)}.{names[member.name]}"
    yield from _comment(source, member.location)


def _comment(source: Path, location: Location) -> Iterator[str]:
    """Yield upstream's comment above a declaration, and behind it on the same line."""
    lines = (source / location.file).read_text(encoding="utf-8").splitlines()
    first = location.line - 1
    while first > 0 and not _ends_declaration(lines[first - 1]):
        first -= 1
    above = first
    while above > 0 and _COMMENT_LINE.match(lines[above - 1]):
        above -= 1
    text = [_COMMENT_MARKS.sub("", line) for line in lines[above:first]]
    _, mark, behind = lines[location.line - 1].partition("//")
    text += [behind.strip()] if mark else []
    if any(text):
        yield ""
        yield from (f"  {line}".rstrip() for line in text)


def _ends_declaration(line: str) -> bool:
    code = line.partition("//")[0].strip()
    return not code or code[-1] in ";{}," or code.startswith("#") or _COMMENT_LINE.match(line) is not None


def _wrappers(package: Path, name: str) -> Iterator[str]:
    """Yield the public Python objects whose docstring has a `C:` line with `name`."""
    word = re.compile(rf"\bC: .*\b{re.escape(name)}\b")
    for path in sorted(package.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for owner, text in _documented(tree, f"llama_ffi.{path.stem}"):
            if word.search(text):
                yield owner


def _documented(tree: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield every class, function and attribute with the docstring in or behind it."""
    before: ast.stmt | None = None
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield f"{prefix}.{node.name}", ast.get_docstring(node) or ""
        if isinstance(node, ast.ClassDef):
            yield from _documented(node, f"{prefix}.{node.name}")
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and before is not None:
            targets = before.targets if isinstance(before, ast.Assign) else [getattr(before, "target", None)]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            yield from ((f"{prefix}.{target}", str(node.value.value)) for target in names)
        before = node
