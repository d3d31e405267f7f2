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
    own = {name: c for name, c in records.items() if " " in name or c.cname == name}
    with tempfile.TemporaryDirectory(prefix="bindgen-") as folder:
        symbols = [f.name for f in bindings.unit.functions] + [v.name for v in bindings.unit.variables]
        lib = ffi.dlopen(str(_empty_library(symbols, Path(folder))))
        functions = {
            f.name: _plain(ffi.typeof(getattr(lib, f.name)).cname, "(*)") for f in bindings.unit.functions
        }
        numbers = {name: getattr(lib, name) for name in dir(lib) if name not in symbols}
        enums = {name: ffi.typeof(bindings.spell_enum(name)) for name, _ in bindings.named_enums()}
        members = {member for enum in enums.values() for member in enum.relements}
        return {
            "data_model": LP64.name if ffi.sizeof("long") == 8 else "llp64",
            "structs": {name: _record(ffi, name, ctype) for name, ctype in own.items()},
            "enums": {n: {"size": ffi.sizeof(c), "members": dict(c.relements)} for n, c in enums.items()},
            "constants": {name: value for name, value in numbers.items() if name not in members},
            "functions": functions,
            "typedefs": {n: ffi.sizeof(n) for n in typedefs if _has_size(ffi, n)},
        }


def plain_facts(bindings: Bindings, view: Facts) -> Facts:
    """Return our own facts in cffi's words, without what cffi has no place for (text and floats)."""
    scope = bindings.scope
    expected = facts(bindings, MODELS[view["data_model"]])
    for name, record in bindings.named_records():
        for member, _, _, type in Scope.of(bindings.unit).layout(record).fields:
            expected["structs"][name]["fields"][member][2] = plain_type(scope, type)
    expected["functions"] = {f.name: plain_type(scope, f.type) for f in bindings.unit.functions}
    expected["constants"] = {n: v for n, v in expected["constants"].items() if isinstance(v, int)}
    return expected


def check(bindings: Bindings, source: Path, runner: Sequence[str] = ()) -> tuple[int, list[str]]:
    """Compare compiler, cffi, ctypes and our own facts; return how many names, and the differences.

    With a `runner` the compiler builds for another machine, where this Python can't look at its work.
    """
    compiled = compiler_view(bindings, source, runner)
    found = [f"compiler: {d}" for d in differences(facts(bindings, MODELS[compiled["data_model"]]), compiled)]
    if runner:
        return count_names(compiled), found
    live = cffi_view(bindings)
    found += [f"cffi: {d}" for d in differences(plain_facts(bindings, live), live)]
    found += [f"ctypes: {d}" for d in differences(ctypes_facts(bindings), ctypes_view(bindings))]
    return count_names(compiled), found


def count_names(view: Facts) -> int:
    """Return how many names a view states facts about."""
    nested = sum(len(s["fields"]) for s in view["structs"].values())
    nested += sum(len(e["members"]) for e in view["enums"].values())
    return nested + sum(len(v) for v in view.values() if isinstance(v, dict))


def plain_type(scope: Scope, type: Type) -> str:
    """Return a type as cffi names it, without spaces."""
    return _plain(spell(_strip(scope, type)))


def _strip(scope: Scope, type: Type) -> Type:
    """Resolve typedefs, and drop qualifiers and parameter names."""
    if isinstance(type, Qualified):
        return _strip(scope, type.base)
    if isinstance(type, Named) and type.name in scope.typedefs:
        target = scope.typedefs[type.name]
        return type if isinstance(target, Inline) else _strip(scope, target)
    if isinstance(type, Pointer):
        return Pointer(_strip(scope, type.target))
    if isinstance(type, Array):
        return Array(_strip(scope, type.item), type.length)
    if isinstance(type, FunctionType):
        params = tuple(Param(None, _strip(scope, p.type)) for p in type.params)
        return FunctionType(_strip(scope, type.result), params, type.variadic)
    if isinstance(type, Inline):
        return Named("$")
    return Primitive("_Bool") if type == Primitive("bool") else type


def _plain(cname: str, without: str = "") -> str:
    """Return cffi's name of a type in the form of `plain_type`."""
    name = cname.replace(without, "", 1) if without else cname
    name = _NAMELESS.sub("$", name)
    return name.replace(" ", "").replace("(void)", "()")


def _record(ffi: Any, name: str, ctype: Any) -> Facts:
    return {
        "size": ffi.sizeof(ctype),
        "align": ffi.alignof(ctype),
        "fields": {member: list(rest) for member, *rest in _members(ffi, ctype, "", 0)},
    }


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
