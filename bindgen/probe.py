"""Ask the judges: what a C compiler, and what cffi, make of the same declarations.

`compiler_view` compiles and runs the generated probe against the real headers; `cffi_view` asks the
generated module itself, through a library of empty symbols, so that no llama.cpp has to be built.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .analyze import Bindings
from .ctypes_view import ctypes_facts, ctypes_view
from .emit.ffi_module import emit_ffi_module
from .emit.probe import emit_probe
from .errors import BindgenError
from .ir import Array, FunctionType, Inline, Named, Param, Pointer, Primitive, Qualified, Type
from .layout import Facts, differences, facts
from .models import LP64, MODELS
from .preprocess import find_compiler
from .scope import Scope
from .spell import spell

_NAMELESS = re.compile(r"(?:struct |union |enum )?\$\d+")  # how cffi calls what C gives no name


def compiler_view(bindings: Bindings, source: Path, runner: Sequence[str] = ()) -> Facts:
    """Compile the probe against the headers below `source`, run it, and return what it prints.

    `runner` is a command to run it under, for a cross compiler.  Raises BindgenError if the compiler
    does not accept the probe: then a name that we declare does not exist, or is something else.
    """
    includes = [f"-I{directory}" for directory in bindings.config.include_dirs(source)]
    with tempfile.TemporaryDirectory(prefix="bindgen-") as folder:
        text, program = Path(folder, "probe.c"), Path(folder, "probe")
        text.write_text(emit_probe(bindings), encoding="utf-8")
        _compile([*includes, str(text), "-o", str(program)])
        done = subprocess.run([*runner, str(program)], capture_output=True, text=True)
    if done.returncode:
        raise BindgenError(f"the probe ended with status {done.returncode}: {done.stderr.strip()}")
    view: Facts = json.loads(done.stdout)
    return view


def cffi_view(bindings: Bindings) -> Facts:
    """Return what the generated cffi module believes, in the form of `layout.facts`.

    Types are in cffi's own words: typedefs resolved, no `const`; compare with `plain_facts`.
    """
    namespace: dict[str, Any] = {}
    exec(compile(emit_ffi_module(bindings), "_ffi.py", "exec"), namespace)
    ffi = namespace["ffi"]
    typedefs, structs, unions = ffi.list_types()
    names = [f"struct {n}" for n in structs] + [f"union {n}" for n in unions] + typedefs
    complete = {n: ffi.typeof(n) for n in names if _has_size(ffi, n)}
    records = {n: c for n, c in complete.items() if c.kind in ("struct", "union")}


def _members(ffi: Any, ctype: Any, prefix: str, base: int) -> Iterable[tuple[str, int, int, str]]:
    for name, member in ctype.fields:
        offset = base + member.offset
        if name:
            yield prefix + name, offset, ffi.sizeof(member.type), _plain(member.type.cname)
        if member.type.kind in ("struct", "union") and "$" in member.type.cname:
            yield from _members(ffi, member.type, f"{prefix}{name}." if name else prefix, offset)


def _has_size(ffi: Any, name: str) -> bool:
    """Return whether a type is complete; cffi 2.0 aborts when asked for the fields of one that is not."""
    try:
        ffi.sizeof(name)
    except (ffi.error, ValueError):
        return False
    return True


def _empty_library(symbols: Iterable[str], folder: Path) -> Path:
    """Build a shared library that has all `symbols` and nothing behind them."""
    text, library = folder / "empty.c", folder / "empty.so"
    text.write_text("".join(f"char {symbol};\n" for symbol in symbols) or "char nothing;\n", encoding="utf-8")
    _compile(["-shared", "-fPIC", "-fno-builtin", str(text), "-o", str(library)])
    return library


def _compile(arguments: Sequence[str]) -> None:
    done = subprocess.run([*find_compiler(), "-std=c11", "-w", *arguments], capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        raise BindgenError(
            "the C compiler rejects the probe: " + "\n".join(errors[:10] or [done.stderr.strip()])
        )
