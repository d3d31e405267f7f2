"""What an installed llama-cpp-python uses and the library in use hasn't, found by reading its source.

Its declarations (``llama_cpp.py``) say what it expects of each function and struct; its other modules say
what of that it uses. Nothing of it is imported: an import would open its own library.
"""

from __future__ import annotations

import ast
import ctypes
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import LibraryNotFoundError
from ._names import CHANGED
from ._wrapper import VERSION

_DECLARATIONS = ("llama_cpp.py", "mtmd_cpp.py", "llava_cpp.py")
_PREFIXES = ("llama_", "LLAMA_", "ggml_", "GGML_", "gguf_", "mtmd_", "MTMD_")
_MODULE = re.compile(r"_?(llama_cpp|llama_cpp_lib|mtmd_cpp)")
_STRUCTS = re.compile(r"params|batch|candidates|override|data")
"""What variables are called in which llama-cpp-python keeps structs."""


class VersionWarning(UserWarning):
    """The installed llama-cpp-python uses something that the library in use hasn't."""


class Difference(NamedTuple):
    """One thing that llama-cpp-python uses and that isn't there, or is another, in the library in use."""

    name: str
    """a function, a constant, or "struct.member\""""
    what: str
    """what is the matter with it"""
    where: str
    """the first place of use: file and line"""

    def __str__(self) -> str:
        return f"{self.name} ({self.where}): {self.what}"


def differences(folder: Path | str | None = None) -> list[Difference]:
    """Return what a llama-cpp-python uses and the library in use hasn't.

    Arguments:
        folder: its package folder ``llama_cpp``; None = the installed one.

    Returns:
        an empty list if nothing is missing.

    Raises:
        LibraryNotFoundError: there is no llama-cpp-python.

    Threads: any; the first call loads the library.
    """
    if folder is None:
        from ._install import installed_package

        spec = installed_package()
        if spec is None or spec.origin is None:
            raise LibraryNotFoundError("llama-cpp-python isn't installed: there is nothing to compare with")
        folder = Path(spec.origin).parent
    folder = Path(folder)
    if not (folder / "llama_cpp.py").is_file():
        raise LibraryNotFoundError(f"{folder} is no folder of llama-cpp-python: it has no llama_cpp.py")
    expected = _Expected(folder)
    found: dict[str, Difference] = {}
    for path in sorted(folder.rglob("*.py")):
        if path.name in _DECLARATIONS and path.parent == folder:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name, line in _used(tree, expected.members):
            if name not in found and (what := expected.difference(name)):
                full = expected.full_name(name)
                found[name] = Difference(full, what, f"{path.relative_to(folder)}:{line}")
    return list(found.values())


def version_of(folder: Path) -> str:
    """Return the version that a package folder states, or "unknown"."""
    text = (folder / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r"""^__version__\s*=\s*["']([^"']+)""", text, re.MULTILINE)
    return match.group(1) if match else "unknown"


def prepare(folder: Path) -> None:
    """Meet the installed version: give it the old form of functions that it knows, warn of what it misses.

    For the version that our bindings were made for there is nothing to do.
    """
    version = version_of(folder)
    if version == VERSION:
        return
    expected = _Expected(folder)
    for (name, count), old in CHANGED.items():
        if expected.takes(name) == count:
            setattr(llama_cpp_module(), name, old)
    found = differences(folder)
    if found:
        listed = "\n".join(f"  {each}" for each in found)
        warnings.warn(
            f"llama-cpp-python {version} runs on llama_ffi's library (made for {VERSION}), which differs in "
            f"what it uses:\n{listed}",
            VersionWarning,
            stacklevel=2,
        )


def llama_cpp_module() -> Any:
    """Return the declarations to compare with; importing them loads the library."""
    from . import llama_cpp

    return llama_cpp


def _used(tree: ast.AST, members: set[str]) -> Iterator[tuple[str, int]]:
    """Yield the names that a module takes from the declarations, and members that only old structs have."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            base = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if _MODULE.fullmatch(base) and node.attr.startswith(_PREFIXES):
                yield node.attr, node.lineno
            elif node.attr in members and _STRUCTS.search(base):
                yield f".{node.attr}", node.lineno
        elif isinstance(node, ast.ImportFrom) and _MODULE.fullmatch((node.module or "").rpartition(".")[2]):
            for alias in node.names:
                if alias.name.startswith(_PREFIXES):
                    yield alias.name, node.lineno


class _Expected:
    """The declarations of a llama-cpp-python, compared with ours on demand."""

    def __init__(self, folder: Path) -> None:
        self._functions: dict[str, tuple[list[ast.expr], ast.expr]] = {}
        self._names: set[str] = {path.stem for path in folder.iterdir()}
        self.members: set[str] = set()
        self._structs: dict[str, str] = {}
        for name in _DECLARATIONS[:2]:
            if (folder / name).is_file():
                self._read(ast.parse((folder / name).read_text(encoding="utf-8")))

    def difference(self, name: str) -> str | None:
        """Return what is the matter with a name, or None."""
        if name.startswith("."):
            return "the struct has no such member (any more): what is set there has no effect"
        if name in self._names:
            return None  # one of the package's modules
        ours = self._find(name)
        if ours is None:
            return "it doesn't exist (any more)"
        if name in self._functions:
            return self._signature(name, ours)
        return None

    def full_name(self, name: str) -> str:
        """Return a name as it is told: a member with its struct."""
        return f"{self._structs[name[1:]]}{name}" if name.startswith(".") else name

    def takes(self, name: str) -> int | None:
        """Return how many arguments the declarations give to a function, or None if they haven't got it."""
        return len(self._functions[name][0]) if name in self._functions else None

    def _find(self, name: str) -> Any:
        if name.startswith(("mtmd_", "MTMD_")):
            from . import mtmd_cpp

            return getattr(mtmd_cpp, name, None)
        return getattr(llama_cpp_module(), name, None)

    def _read(self, tree: ast.Module) -> None:
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and len(decorator.args) >= 3:
                        types, result = decorator.args[1:3]
                        if isinstance(types, ast.List):
                            self._functions[node.name] = (types.elts, result)
            elif isinstance(node, ast.ClassDef):
                self._members(node)

    def _members(self, node: ast.ClassDef) -> None:
        ours = self._find(node.name)
        for item in node.body:
            if not isinstance(item, ast.Assign) or ast.unparse(item.targets[0]) != "_fields_":
                continue
            for member in getattr(item.value, "elts", []):
                name = ast.literal_eval(member.elts[0])
                if ours is not None and not hasattr(ours, name):
                    self.members.add(name)
                    self._structs.setdefault(name, node.name)

    def _signature(self, name: str, ours: Any) -> str | None:
        types, result = self._functions[name]
        now = getattr(ours, "argtypes", None)
        if now is None:
            return None  # Python code that takes what the old function took
        if len(now) != len(types):
            if (name, len(types)) in CHANGED:
                return None
            return f"it takes {len(now)} arguments, not {len(types)}"
        for index, (mine, theirs) in enumerate(zip(now, types, strict=True)):
            if (problem := self._other_kind(mine, theirs)) is not None:
                return f"its argument {index + 1} is {problem}"
        if (problem := self._other_kind(ours.restype, result)) is not None:
            return f"its result is {problem}"
        return None

    def _other_kind(self, mine: Any, theirs: ast.expr) -> str | None:
        from . import mtmd_cpp

        ours = llama_cpp_module()
        names = {**vars(ours), **vars(mtmd_cpp), "llama_cpp": ours}
        try:
            other = eval(compile(ast.Expression(theirs), "declaration", "eval"), {"ctypes": ctypes, **names})
        except (NameError, AttributeError, TypeError):
            return None  # a type that only their module knows
        a, b = _kind(mine), _kind(other)
        return None if a == b else f"{a}, not {b}"


def _kind(kind: Any) -> str:
    """Return what a ctypes type is to the caller: addresses of all sorts are one kind."""
    if kind is None:
        return "nothing"
    if issubclass(kind, (ctypes.Structure, ctypes.Union)):
        return str(kind.__name__)
    if issubclass(kind, ctypes._SimpleCData) and kind not in (ctypes.c_void_p, ctypes.c_char_p):
        code = kind._type_
        return "a float" if code in "fd" else "a bool" if code == "?" else f"{ctypes.sizeof(kind)} bytes wide"
    return "an address"
