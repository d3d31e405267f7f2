"""What the guard library is made from: its own small header, and the functions that it must wrap.

The guard stands behind the safe layer, so it wraps what the safe layer calls: the C functions whose
names appear in the package's sources, as an attribute (`lib.llama_decode`) or as a string (for
`getattr`).  The package is read as text; nothing of it is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

from .analyze import Bindings, analyze
from .config import Config, Header
from .ir import Function
from .models import LP64
from .parse import parse
from .preprocess import preprocess

GUARD = Config(headers=(Header("guard_api.h", "guard"),), module="llama_ffi._abi._guard")
"""The guard's own API: it depends on no version of llama.cpp."""

_NOT_SAFE = ("_abi", "compat", "_bindgen", "_build")


def load_guard(root: Path) -> Bindings:
    """Return the bindings of the guard's own header in the repository at `root`."""
    folder = root / "build_backends" / "native" / "guard"
    preprocessed = preprocess(folder, [header.path for header in GUARD.headers], [folder])
    return analyze(parse(preprocessed, LP64), GUARD, "", "")


def guarded_functions(bindings: Bindings, package: Path) -> list[Function]:
    """Return the functions of `bindings` that the safe layer in `package` calls, by name."""
    functions = {f.name: f for f in bindings.unit.functions if not f.type.variadic}
    called: set[str] = set()
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] not in _NOT_SAFE:
            called.update(_mentioned(ast.parse(path.read_text(encoding="utf-8")), functions))
    return [functions[name] for name in sorted(called - bindings.unavailable.keys())]


def _mentioned(tree: ast.AST, names: Collection[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in names:
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names:
            yield node.value
