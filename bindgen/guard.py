"""What the guard library is made from: its own small header, and the functions that it must wrap.

The guard stands behind the safe layer, so it wraps what the safe layer calls: the C functions whose
names appear in the package's sources, as an attribute (`lib.llama_decode`) or as a string (for
`getattr`).  The package is read as text; nothing of it is imported.
"""

from __future__ import annotations

import ast
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from .analyze import Bindings, analyze
from .config import Config, Header
from .emit.guard import emit_guard_calls
from .errors import BindgenError
from .ir import Function
from .models import LP64
from .parse import parse
from .preprocess import preprocess

GUARD = Config(headers=(Header("guard_api.h", "guard"),), module="llama_ffi._abi._guard")
"""The guard's own API: it depends on no version of llama.cpp."""

GENERATED = "calls.cpp"
"""Among the guard's sources, the file that is made for one llama.cpp: the pinned one's lies there."""

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


def guard_file() -> str:
    """Return the name of a guard library on this platform."""
    suffix = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
    return f"libllama_ffi_guard{suffix}"


def build_guard(
    bindings: Bindings, source: Path, package: Path, guard: Path, libraries: Mapping[str, Path], out: Path
) -> int:
    """Compile the guard for a llama.cpp of somebody's own into the folder `out`.

    `source` is the root of its headers, `package` the safe layer's sources, `guard` the folder with the
    guard's own, `libraries` the files to link with.  Return how many functions it guards.  Raises
    BindgenError when there is no C++ compiler, or it refuses.
    """
    functions = guarded_functions(bindings, package)
    homes = {function.name: bindings.library_of(function) for function in functions}
    calls = out / "guard_calls.cpp"
    calls.write_text(emit_guard_calls(functions, homes, weak=True), encoding="utf-8")
    linked = [libraries[key] for key in ("llama", "ggml", "ggml-base", "ggml-cpu") if key in libraries]
    command = [*_cplusplus_compiler(), "-std=c++17", "-O2", "-w", "-shared", "-fPIC"]
    command.append("-DLLAMA_FFI_PUBLIC_HEADERS_ONLY")
    command += ["-fvisibility=hidden", "-fvisibility-inlines-hidden", f"-I{guard}"]
    command += [f"-I{folder}" for folder in bindings.config.include_dirs(source)]
    if sys.platform.startswith("linux"):
        command.append("-Wl,--no-as-needed")  # a weak reference alone doesn't count as a need
    sources = [path for path in sorted(guard.glob("*.cpp")) if path.name != GENERATED]
    command += [*map(str, sources), str(calls), *map(str, linked)]
    command += [f"-Wl,-rpath,{folder}" for folder in sorted({str(path.parent) for path in linked})]
    try:
        done = subprocess.run([*command, "-o", str(out / guard_file())], capture_output=True, text=True)
    except OSError as error:
        raise BindgenError(f"the C++ compiler {command[0]} can't be run: {error.strerror}") from error
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line or "undefined" in line]
        raise BindgenError(
            "the C++ compiler can't build the guard: " + "; ".join(errors[:2] or ["no reason"])
        )
    return len(functions)


def _cplusplus_compiler() -> list[str]:
    chosen = shlex.split(os.environ.get("CXX", ""))
    if chosen:
        return chosen
    for name in ("c++", "g++", "clang++"):
        if path := shutil.which(name):
            return [path]
    raise BindgenError("no C++ compiler found: set CXX, or install g++ or clang++")


def _mentioned(tree: ast.AST, names: Collection[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in names:
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names:
            yield node.value
