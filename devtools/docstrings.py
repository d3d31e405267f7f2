"""What every public docstring must say, and what is missing where.

The rules are those of CONTRIBUTING.md: an imperative first line; a `C:` line where C is called; every
argument named; what is returned, of an array shape, dtype and whose memory it is; what is raised; a
sentence on threads where there is a C object. A docstring that points to another one (``:meth:`decode```)
may leave to it what that one says.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterator

from bindgen.config import LLAMA_CPP
from bindgen.ir import Inline, Record, Typedef
from bindgen.pipeline import find_source, load

from . import coverage, names
from .names import Public

_SECTIONS = ("C:", "Arguments:", "Returns:", "Raises:", "Threads:")
_CALLABLE = ("function", "method")

# First words of a sentence about the thing, where an order is wanted.
_NOT_IMPERATIVE = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "it",
        "its",
        "these",
        "that",
        "here",
        "there",
        "whether",
        "returns",
        "gets",
        "sets",
        "makes",
    ]
)
_SHAPE = re.compile(r"\([^()]*\)|[a-z0-9_]+-d|scalar")
_DTYPE = re.compile(r"\b(float(16|32|64)|u?int(8|16|32|64)|bool|dtype)\b")
_OWNER = re.compile(r"\b(copy|copies|copied|borrowed|owned|memory map)\b", re.IGNORECASE)
_ARRAY = re.compile(r"\b(NDArray|ndarray|memmap|memoryview)\b")


@functools.cache
def c_declarations() -> frozenset[str]:
    """Return the names of all functions, structs, enums and typedefs of the headers."""
    unit = load(find_source(None), LLAMA_CPP).unit
    found = {f.name for f in unit.functions} | {t.name for t in unit.typedefs}
    found |= {record.tag for record in unit.records if record.tag}
    found |= {enum.tag for enum in unit.enums if enum.tag}
    for item in unit.declarations:
        definition = (
            item.type.definition if isinstance(item, Typedef) and isinstance(item.type, Inline) else item
        )
        if isinstance(definition, Record):
            found |= {f.name for f in definition.fields or () if f.name}
    return frozenset(found)


@functools.cache
def c_functions() -> frozenset[str]:
    """Return the names of all C functions of the headers."""
    return frozenset(f.name for f in load(find_source(None), LLAMA_CPP).unit.functions)


def check(public: Public) -> Iterator[str]:
    """Yield what is wrong with the docstring of one public name."""
    if not (public.doc or "").strip():
        yield "has no docstring"
        return
    for rule in _RULES:
        yield from rule(public)


def check_all() -> list[str]:
    """Return `file:line: name: problem` for everything that is wrong in the package."""
    return [
        f"{public.place}: {public.name} {problem}"
        for public in names.public_names()
        for problem in check(public)
    ]


# --- the rules -------------------------------------------------------------------------------------


def _first_line(public: Public) -> Iterator[str]:
    first = (public.doc or "").strip().split("\n\n")[0].split("\n")[0]
    if public.kind == "attribute":
        return
    if not first[0].isupper() and not first.startswith(("``", "llama.cpp", "libllama")):
        yield f"begins with a small letter: {first!r}"
    word = first.split()[0].strip(".,:`'").lower()
    if public.kind in _CALLABLE and (
        word in _NOT_IMPERATIVE or (word.endswith(("ing", "ed")) and word not in _VERBS)
    ):
        yield f"doesn't begin with what it does, as an order: {first!r}"
    paragraph = (public.doc or "").strip().split("\n\n")[0].rstrip()
    ends_in_c = re.search(r"\. C: [\w*,\s]+$", paragraph)
    if not paragraph.endswith((".", ":", "?", "…")) and not ends_in_c:
        yield f"has a first sentence without its end: {paragraph!r}"


_VERBS = frozenset(["feed", "bring", "need", "embed", "add", "read"])


def _c_line(public: Public) -> Iterator[str]:
    doc = public.doc or ""
    named = coverage.c_names(doc)
    for name in named:
        if name.startswith(("llama_", "ggml_", "gguf_", "mtmd_")) and name not in c_declarations():
            yield f"names {name} behind C:, which no header declares"
    if public.kind in (*_CALLABLE, "property") and not named and not _delegates(doc):
        called = sorted(_c_calls(public.node))
        if called:
            yield f"calls {', '.join(called)} and has no C: line"


def _arguments(public: Public) -> Iterator[str]:
    text = _with_references(public)
    for name in _parameters(public):
        families = [each for each in re.findall(r"\b(\w+_)\*", text) if name.startswith(each)]
        if not families and not re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text):
            yield f"doesn't say what the argument {name} is"


def _returns(public: Public) -> Iterator[str]:
    node = public.node
    if (
        public.kind not in (*_CALLABLE, "property")
        or not isinstance(node, ast.FunctionDef)
        or node.returns is None
    ):
        return
    annotation = ast.unparse(node.returns)
    text = _with_references(public)
    if _ARRAY.search(annotation):
        said = text.partition("Returns:")[2] or text
        for what, pattern in (
            ("shape", _SHAPE),
            ("dtype", _DTYPE),
            ("memory: copy, borrowed or owned", _OWNER),
        ):
            if not pattern.search(said):
                yield f"returns an array and doesn't say its {what}"
    elif public.kind in _CALLABLE and annotation not in ("None", "Self", "NoReturn"):
        if "Returns:" in text or re.search(r"\b([Rr]eturn(s|ing)?|Yield|Whether)\b", public.doc or ""):
            return
        if "classmethod" in map(ast.unparse, node.decorator_list):
            return  # another way to make one, which its first line says
        yield f"doesn't say what it returns ({annotation})"


def _raises(public: Public) -> Iterator[str]:
    if public.kind not in _CALLABLE and public.kind != "class":
        return
    text = _with_references(public)
    for name in sorted(_raised(public)):
        if name not in text and not any(base in text for base in _bases(name)):
            yield f"raises {name} and doesn't say so"


def _threads(public: Public) -> Iterator[str]:
    if public.kind in _CALLABLE and "Threads:" not in _with_references(public):
        if _c_calls(public.node) and "Threads:" not in _class_doc(public):
            yield "calls C and says nothing about threads"
    elif public.kind == "class" and "_handle" in _slots(public.node) and "Threads:" not in (public.doc or ""):
        yield "owns a C object and says nothing about threads"


_RULES: tuple[Callable[[Public], Iterator[str]], ...] = (
    _first_line,
    _c_line,
    _arguments,
    _returns,
    _raises,
    _threads,
)


# --- what they look at -----------------------------------------------------------------------------


def _init(public: Public) -> ast.FunctionDef | None:
    """Return the `__init__` of a class."""
    body = public.node.body if isinstance(public.node, ast.ClassDef) else []
    return next(
        (item for item in body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None
    )


def _function(public: Public) -> ast.FunctionDef | None:
    if public.kind == "class":
        return _init(public)
    return public.node if isinstance(public.node, ast.FunctionDef) else None


def _parameters(public: Public) -> list[str]:
    node = _function(public)
    if node is None or public.kind in ("property", "attribute") or "Made by " in _init_doc(public):
        return []  # what isn't called by users
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    every += [each for each in (node.args.vararg, node.args.kwarg) if each is not None]
    return [each.arg for each in every if each.arg not in ("self", "cls") and not each.arg.startswith("_")]


def _c_calls(node: ast.AST | None) -> set[str]:
    if not isinstance(node, ast.FunctionDef):
        return set()
    return {
        child.attr
        for child in ast.walk(node)
        if isinstance(child, ast.Attribute) and child.attr in c_functions()
    }


def _raised(public: Public) -> set[str]:
    node = _function(public)
    found = set()
    for child in ast.walk(node) if node is not None else ():
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
            name = ast.unparse(child.exc.func).split(".")[-1]
            if name.endswith("Error") and name != "ArgumentTypeError":  # which any call may raise
                found.add(name)
    return found


def _bases(name: str) -> list[str]:
    from llama_ffi import errors

    cls = getattr(errors, name, None)
    return [] if cls is None else [base.__name__ for base in cls.__mro__ if base is not Exception][1:-2]


def _slots(node: ast.AST | None) -> str:
    for item in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == "__slots__":
            return ast.unparse(item.value)
    return ""


def _class_doc(public: Public) -> str:
    owner = public.name.rpartition(".")[0]
    return next((each.doc or "" for each in names.public_names() if each.name == owner), "")


_REFERENCE = re.compile(r":(?:meth|class|func|attr|mod):`~?(?:llama_ffi\.)?([\w.]+)`")


def _delegates(doc: str) -> bool:
    return bool(_REFERENCE.search(doc))


def _with_references(public: Public) -> str:
    """Return the docstring and what it leans on: its class's, and those that it points to with theirs.

    What the arguments of several methods have in common is told once, in the docstring of the class.
    """
    text = "\n".join([public.doc or "", _init_doc(public), _class_doc(public)])
    owner = public.name.rpartition(".")[0]
    wanted = {t for target in _REFERENCE.findall(text) for t in (target, f"{owner}.{target}")}
    others = [f"{each.doc}\n{_class_doc(each)}" for each in names.public_names() if each.name in wanted]
    return "\n".join([text, *others])


def _init_doc(public: Public) -> str:
    init = _init(public)
    return "" if init is None else ast.get_docstring(init) or ""
