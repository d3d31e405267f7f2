"""API pages from the docstrings, with pdoc: `python -m devtools pages OUT`.

Our docstrings use Sphinx's roles for references and headings of their own; both are turned into the Markdown
that pdoc reads. References that lead nowhere are found by :func:`lost_references`.
"""

from __future__ import annotations

import re
import sys
import types
import typing
from pathlib import Path

import llama_ffi

from . import names

_ROLE = re.compile(r":(meth|class|func|attr|mod|data):`~?([\w.]+)`")
_SECTION = re.compile(r"^(Arguments|Returns|Raises|Threads):[ \t]*(.*)$", re.MULTILINE)
_ITEM = re.compile(r"^ {4}(?! )(.+?)(: .*)?$", re.MULTILINE)


def markdown(doc: str) -> str:
    """Return a docstring, without indentation, as Markdown; pdoc makes links of names in backticks."""
    text = re.sub(r"``(\.\w+)``", r"*\1*", _ROLE.sub(r"`\2`", doc)).replace("``", "`")
    text = re.sub(r"(^|\s)C: ", r"\1**C:** ", text)
    return "\n\n".join(_part(part) for part in re.split(r"\n\s*\n", text))


def _part(part: str) -> str:
    section = _SECTION.match(part)
    if section is None:
        return part
    body = part[section.end() :].strip("\n")
    head = f"**{section[1]}:** {section[2]}".rstrip()
    if section[1] in ("Arguments", "Raises"):
        body = _ITEM.sub(r"- **\1**\2", body)
        body = re.sub(r"^ {8,}", "  ", body, flags=re.MULTILINE)
        return f"{head}\n\n{body}"
    return f"{head}\n{re.sub(r'^ +', '', body, flags=re.MULTILINE)}".rstrip()


def lost_references() -> list[str]:
    """Return `name: target` for every reference of a public docstring that leads nowhere public."""
    public = {each.name for each in names.public_names()}
    lost = []
    for each in names.public_names():
        parts = each.name.split(".")
        for _, target in _ROLE.findall(each.doc or ""):
            near = {".".join([*parts[:count], target]) for count in range(len(parts) + 1)}
            bare = target.removeprefix("llama_ffi.")
            if not (near | {bare}) & public and target not in sys.stdlib_module_names:
                lost.append(f"{each.name}: {target}")
    return lost


def build(folder: Path) -> list[Path]:
    """Write the pages into ``folder`` and return them."""
    import pdoc
    from pdoc import render

    _make_hints_resolvable()
    render.configure(docformat="markdown", show_source=False, footer_text="llama_ffi")
    render.env.filters["to_markdown"] = markdown
    pdoc.pdoc("llama_ffi", output_directory=folder)  # and the modules that its `__all__` names
    return sorted(folder.rglob("*.html"))


def _make_hints_resolvable() -> None:
    """Put the names that only type checkers import where pdoc looks for them; for this process."""
    import numpy as np
    from numpy.typing import NDArray

    known = {each: getattr(llama_ffi, each) for each in llama_ffi.__all__}
    known |= {"np": np, "NDArray": NDArray}
    for name, module in list(sys.modules.items()):
        if name.startswith("llama_ffi."):
            for key, value in known.items():
                module.__dict__.setdefault(key, value)
    for public in names.public_names():
        if public.kind == "class":
            cls = getattr(sys.modules[public.module], public.qualname.split(".")[0])
            if hasattr(cls, "_fields") and isinstance(
                cls.__new__, types.FunctionType
            ):  # a NamedTuple keeps strings
                cls.__new__.__annotations__ = typing.get_type_hints(cls)
