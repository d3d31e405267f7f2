"""What the generated ctypes module believes, and what it should, in words that suit ctypes.

ctypes knows sizes and signs, not C's names, so both sides are brought to the same short notation:
`i4`, `u8`, `f4`, `char*`, `void*` for every opaque pointer, `ptr(T)`, `fn(result;parameters)`.
"""

from __future__ import annotations

import ctypes
from typing import Any

from .addresses import BYTE, with_addresses
from .analyze import Bindings
from .emit.ctypes_module import emit_ctypes
from .ir import Array, FunctionType, Inline, Named, Pointer, Primitive, Tagged, Type
from .layout import Facts
from .models import LP64, MODELS, Number
from .scope import Scope

_LETTERS = {"int": "i", "char": "c", "bool": "b", "float": "f"}


def ctypes_view(bindings: Bindings) -> Facts:
    """Execute the generated module and return its sizes, offsets, types and constants."""
    module: dict[str, Any] = {"__name__": "ctypes_api"}
    exec(compile(emit_ctypes(bindings), "ctypes_api.py", "exec"), module)
    expected = ctypes_facts(bindings)
    names = {name.rpartition(" ")[2] for name, _ in bindings.named_records()}
    return {
        "structs": {
            name: _struct(module[name], names, expected["structs"][name]["fields"]) for name in names
        },
        "constants": {name: module[name] for name in expected["constants"]},
        "functions": {
            name: _call(result, [kind for _, kind in parameters], names)
            for name, (_, result, parameters, _) in module["_FUNCTIONS"].items()
        },
        "parameters": {name: [p for p, _ in f[2]] for name, f in module["_FUNCTIONS"].items()},
    }


def ctypes_facts(bindings: Bindings) -> Facts:
    """Return what `ctypes_view` must be, from the IR."""
    bindings = with_addresses(bindings)
    model = MODELS[LP64.name if ctypes.sizeof(ctypes.c_long) == 8 else "llp64"]
    notation = _Notation(bindings, model.name)
    structs = {}
    for name, record in bindings.named_records():
        layout = notation.scope.layout(record)
        structs[name.rpartition(" ")[2]] = {
            "size": layout.size,
            "align": layout.align,
            "fields": {n: [offset, size, notation.of(type)] for n, offset, size, type in layout.fields},
        }
    constants = {c.name: c.value for c in bindings.unit.constants}
    constants.update((m.name, m.value) for m in bindings.loose_members())
    constants.update((m.name, m.value) for _, enum in bindings.named_enums() for m in enum.members)
    functions = bindings.unit.functions
    return {
        "structs": structs,
        "constants": constants,
        "functions": {f.name: notation.call(f.type) for f in functions},
        "parameters": {f.name: [p.name or "" for p in f.type.params] for f in functions},
    }


class _Notation:
    """Writes IR types in the short notation."""

    def __init__(self, bindings: Bindings, model: str) -> None:
        self.scope = Scope.of(bindings.unit, MODELS[model])
        self._names = {name.rpartition(" ")[2] for name, _ in bindings.named_records()}
        self._inline = {t.type: t.name for t in bindings.unit.typedefs if isinstance(t.type, Inline)}

    def of(self, type: Type) -> str:
        """Return the notation of one type."""
        type = self.scope.resolve(type)
        if type == Primitive("void"):
            return "void"
        if type == BYTE:
            return "c1"
        if number := self.scope.number(type):
            return _number(number)
        if isinstance(type, Array):
            return f"{self.of(type.item)}[{type.length}]"
        if isinstance(type, Pointer):
            return self._pointer(self.scope.resolve(type.target))
        if isinstance(type, FunctionType):
            return self.call(type)
        if isinstance(type, Tagged):
            return type.tag
        return self._inline.get(type, "$") if isinstance(type, Inline) else "?"

    def call(self, type: FunctionType) -> str:
        """Return the notation of a function."""
        return f"fn({self.of(type.result)};{','.join(self.of(p.type) for p in type.params)})"

    def _pointer(self, target: Type) -> str:
        if isinstance(target, FunctionType):
            return self.call(target)
        if target == Primitive("char"):
            return "char*"
        opaque = isinstance(target, Tagged) and target.kind != "enum" and target.tag not in self._names
        if opaque or target in (Primitive("void"), Named("FILE")):
            return "void*"
        return f"ptr({self.of(target)})"


def _number(number: Number) -> str:
    letter = _LETTERS[number.kind]
    return f"{'u' if letter == 'i' and not number.signed else letter}{number.size}"


def _struct(cls: Any, names: set[str], fields: Facts) -> Facts:
    found = {}
    for path in fields:
        owner, offset = cls, 0
        for part in path.split("."):
            member = getattr(owner, part)
            offset += member.offset
            declared = _declared(owner, part)
            owner = declared
        found[path] = [offset, ctypes.sizeof(declared), _notation(declared, names)]
    return {"size": ctypes.sizeof(cls), "align": ctypes.alignment(cls), "fields": found}


def _declared(cls: Any, name: str) -> Any:
    """Return a member's ctypes type, looking into nameless members."""
    types = dict(cls._fields_)
    if name in types:
        return types[name]
    return next(_declared(types[key], name) for key in cls._anonymous_ if hasattr(types[key], name))


def _notation(kind: Any, names: set[str]) -> str:
    if kind is None:
        return "void"
    if issubclass(kind, (ctypes.Structure, ctypes.Union)):
        return kind.__name__ if kind.__name__ in names else "$"
    if issubclass(kind, ctypes.Array):
        return f"{_notation(kind._type_, names)}[{kind._length_}]"
    if issubclass(kind, ctypes._Pointer):
        return f"ptr({_notation(kind._type_, names)})"
    if hasattr(kind, "_restype_"):
        return _call(kind._restype_, kind._argtypes_, names)
    if kind in (ctypes.c_void_p, ctypes.c_char_p):
        return "void*" if kind is ctypes.c_void_p else "char*"
    letter = {"f": "f", "d": "f", "?": "b", "c": "c"}.get(kind._type_) or (
        "i" if kind._type_.islower() else "u"
    )
    return f"{letter}{ctypes.sizeof(kind)}"


def _call(result: Any, parameters: Any, names: set[str]) -> str:
    return f"fn({_notation(result, names)};{','.join(_notation(p, names) for p in parameters)})"
