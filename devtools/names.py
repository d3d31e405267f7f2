"""The public names of the package: what they are, where they are written, what their docstring says.

Public is what ``llama_ffi.__all__`` lists; of a module in it, what that module's own ``__all__`` lists, or
without one every name defined in it that doesn't begin with an underscore; of a class, its methods,
properties and documented attributes, those from base classes of ours included.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import llama_ffi

PACKAGE = Path(llama_ffi.__file__).resolve().parent
ROOT = PACKAGE.parent

Node = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Public:
    """One public name."""

    name: str
    """how a user writes it behind ``llama_ffi.``: "Model.load", "log.to_file" """
    kind: str
    """"module", "class", "function", "method", "property" or "attribute" """
    module: str
    """the module that it is written in, "llama_ffi.model" for example"""
    qualname: str
    """its name there: "Model.load" """
    doc: str | None
    node: ast.AST | None
    """its definition; None for what is made at run time"""

    @property
    def place(self) -> str:
        """Return file and line."""
        line = getattr(self.node, "lineno", 1)
        return f"{Path(*self.module.split('.'))}.py:{line}"


@dataclass(frozen=True)
class Definition:
    """A class, function or documented attribute, as it stands in a file."""

    node: ast.AST
    doc: str | None


@functools.cache
def tree(module: str) -> ast.Module:
    """Return the syntax tree of a module of the package."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


@functools.cache
def definitions(module: str) -> dict[str, Definition]:
    """Return what a module defines, by qualified name; attributes of classes where they have a docstring."""
    found: dict[str, Definition] = {}

    def walk(body: list[ast.stmt], prefix: str) -> None:
        for index, item in enumerate(body):
            if isinstance(item, Node):
                found[prefix + item.name] = Definition(item, ast.get_docstring(item))
                if isinstance(item, ast.ClassDef):
                    walk(item.body, f"{prefix}{item.name}.")
            elif isinstance(item, ast.If | ast.Try):
                walk(item.body, prefix)
            elif isinstance(item, ast.Assign | ast.AnnAssign):
                target = item.targets[0] if isinstance(item, ast.Assign) else item.target
                text = _string(body[index + 1]) if index + 1 < len(body) else None
                if isinstance(target, ast.Name) and text is not None:
                    found[prefix + target.id] = Definition(item, inspect.cleandoc(text))

    walk(tree(module).body, "")
    return found


def _string(item: ast.stmt) -> str | None:
    if (
        isinstance(item, ast.Expr)
        and isinstance(item.value, ast.Constant)
        and isinstance(item.value.value, str)
    ):
        return item.value.value
    return None


def public_names() -> list[Public]:
    """Return all public names, in the order of ``__all__`` and of their definition."""
    return list(_public_names())


@functools.cache
def _public_names() -> tuple[Public, ...]:
    return tuple(_names_of_package())


def _names_of_package() -> Iterator[Public]:
    for name in llama_ffi.__all__:
        value = getattr(llama_ffi, name)
        if isinstance(value, ModuleType):
            yield from _module(name, value)
        else:
            yield from _object(name, value)


def _module(name: str, module: ModuleType) -> Iterator[Public]:
    yield Public(name, "module", module.__name__, "", inspect.getdoc(module), tree(module.__name__))
    names = getattr(module, "__all__", None)
    if names is None:
        names = [key for key in definitions(module.__name__) if "." not in key and not key.startswith("_")]
    for each in names:
        if name == "raw" and each in ("ffi", "lib"):
            continue  # C's own names: the stubs and `python -m bindgen explain` tell about them
        value = getattr(module, each)
        if isinstance(value, ModuleType):
            yield from _module(f"{name}.{each}", value)
        else:
            yield from _object(f"{name}.{each}", value)


def _object(name: str, value: Any) -> Iterator[Public]:
    module = getattr(value, "__module__", None)
    if not isinstance(module, str) or not module.startswith("llama_ffi"):
        return  # a constant, or not ours
    home = definitions(module)
    qualname = value.__qualname__
    node = home[qualname].node if qualname in home else None
    if not inspect.isclass(value):
        yield Public(name, "function", module, qualname, inspect.getdoc(value), node)
        return
    yield Public(name, "class", module, qualname, value.__doc__, node)
    if not issubclass(value, BaseException):
        yield from _members(name, value)


def _members(name: str, value: type) -> Iterator[Public]:
    seen: set[str] = set()
    for cls in value.__mro__:
        if not cls.__module__.startswith("llama_ffi"):
            continue
        for key, found in definitions(cls.__module__).items():
            owner, _, member = key.rpartition(".")
            if owner != cls.__qualname__ or member.startswith("_") or member in seen:
                continue
            seen.add(member)
            kind = "attribute"
            if isinstance(found.node, ast.FunctionDef):
                decorators = {ast.unparse(each).split("(")[0] for each in found.node.decorator_list}
                kind = (
                    "property"
                    if decorators & {"property", "cached_property", "functools.cached_property"}
                    else "method"
                )
            elif isinstance(found.node, ast.ClassDef):
                kind = "class"
            yield Public(f"{name}.{member}", kind, cls.__module__, key, found.doc, found.node)


def modules() -> list[str]:
    """Return the package's modules that are written by hand and are no user of the public API."""
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[1] not in ("_abi", "compat", "_bindgen", "_build", "_native", "__main__"):
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names
