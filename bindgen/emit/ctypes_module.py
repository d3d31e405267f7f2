"""The same declarations as a ctypes module.

For programs written against ctypes: handles to opaque structs are plain integers and NULL is None,
structs are `Structure`s, callback types are decorators, functions take the header's parameter names
as keywords.  Types exist at import; functions are made on first use from the libraries that
`load` was given.
"""

from __future__ import annotations

from ..addresses import BYTE, with_addresses
from ..analyze import Bindings
from ..ir import (
    Array,
    Field,
    Function,
    FunctionType,
    Inline,
    Named,
    Pointer,
    Primitive,
    Qualified,
    Record,
    Tagged,
    Type,
)
from ..scope import Scope
from .enums import constants, quoted

_HEAD = '''"""llama.cpp's C API for ctypes: opaque handles are int, NULL is None, structs are Structures."""

import ctypes
from ctypes import CFUNCTYPE, POINTER, Structure, Union
from typing import Any

_libraries: "dict[str, ctypes.CDLL]" = {}
'''

_TAIL = '''

def load(libraries: "dict[str, ctypes.CDLL]") -> None:
    """Set the opened libraries, by manifest key, that functions are looked up in; the dict is kept."""
    global _libraries
    _libraries = libraries


def _function(name: str) -> Any:
    """Make the function `name`, with types and keywords as in the header."""
    key, result, parameters, variadic = _FUNCTIONS[name]
    if key not in _libraries:
        raise AttributeError(f"{name}: the library {key!r} is not loaded")
    library = _libraries[key]
    types = [kind for _, kind in parameters]
    if variadic:
        function = getattr(library, name)
        function.restype, function.argtypes = result, types
        return function
    flags = tuple((1, keyword) if keyword else (1,) for keyword, _ in parameters)
    return CFUNCTYPE(result, *types)((name, library), flags)


def __getattr__(name: str) -> Any:
    if name == "_lib":
        return _libraries["llama"]
    if name not in _FUNCTIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, _function(name))


def __dir__() -> list[str]:
    return sorted({*globals(), *_FUNCTIONS})
'''

_NUMBERS = {
    ("bool", 1, False): "c_bool",
    ("char", 1, True): "c_char",
    ("float", 4, True): "c_float",
    ("float", 8, True): "c_double",
}


def emit_ctypes(bindings: Bindings) -> str:
    """Return the source of the ctypes module."""
    return "\n".join(_Ctypes(bindings).lines())


def ctypes_prototype(bindings: Bindings, function: Function) -> str:
    """Return how ctypes sees one function: its result and parameters."""
    writer = _Ctypes(bindings)
    params = [f"{p.name or '_'}: {writer.type(p.type)}" for p in function.type.params]
    params += ["..."] if function.type.variadic else []
    return f"{function.name}({', '.join(params)}) -> {writer.type(function.type.result)}"


class _Ctypes:
    """Writes classes first, their fields after, so that structs may point at each other."""

    def __init__(self, bindings: Bindings) -> None:
        self.bindings = bindings = with_addresses(bindings)
        self.scope: Scope = bindings.scope
        self._records = {name.rpartition(" ")[2]: record for name, record in bindings.named_records()}
        self._nameless: dict[Record, str] = {}

    def lines(self) -> list[str]:
        """Return all lines of the module."""
        fields = [line for name, record in self._records.items() for line in self._fields(name, record)]
        out = [_HEAD]
        for name, record in [*self._records.items(), *((n, r) for r, n in self._nameless.items())]:
            out += [
                "",
                f"class {name}({'Union' if record.kind == 'union' else 'Structure'}):",
                "    pass",
                "",
            ]
        out += self._typedefs()
        out += ["", *fields, ""]
        out += [f"{name}_p = POINTER({name})" for name in self._records]
        out += ["", *(f"{name} = {quoted(value)}" for name, value in constants(self.bindings))]
        out += [f"{m.name} = {m.value}" for _, enum in self.bindings.named_enums() for m in enum.members]
        out += ["", "_FUNCTIONS = {"]
        out += [line for f in self.bindings.unit.functions for line in self._function(f)]
        return [*out, "}", _TAIL]

    def type(self, type: Type) -> str:
        """Return the ctypes expression for a type."""
        name = self._alias(type)
        if name:
            return name
        resolved = self.scope.resolve(type)
        if resolved == Primitive("void"):
            return "None"
        if resolved == BYTE:
            return "ctypes.c_char"
        if number := self.scope.number(resolved):
            sign = "int" if number.signed else "uint"
            ctype = _NUMBERS.get((number.kind, number.size, number.signed)) or f"c_{sign}{number.size * 8}"
            return f"ctypes.{ctype}"
        if isinstance(resolved, Pointer):
            return self._pointer(resolved)
        if isinstance(resolved, Array):
            return f"{self.type(resolved.item)} * {resolved.length or 0}"
        if isinstance(resolved, FunctionType):
            return self._callback(resolved)
        if isinstance(resolved, Tagged):
            return resolved.tag
        assert isinstance(resolved, Inline) and isinstance(resolved.definition, Record)
        return self._nameless[resolved.definition]

    def _alias(self, type: Type) -> str | None:
        """Return the typedef's name for a type that this module has under that name."""
        while isinstance(type, Qualified):
            type = type.base
        if not isinstance(type, Named) or type.name not in self.scope.typedefs:
            return None
        target = self.scope.resolve(type)
        known = type.name in self._records or self._is_callback(target) or self.scope.number(target)
        return type.name if known else None

    def _pointer(self, pointer: Pointer) -> str:
        target = self.scope.resolve(pointer.target)
        if isinstance(target, FunctionType):
            return self._callback(target)
        if target == Primitive("char"):
            return "ctypes.c_char_p"
        if target in (Primitive("void"), Named("FILE")) or self._is_opaque(target):
            return "ctypes.c_void_p"
        return f"POINTER({self.type(pointer.target)})"

    def _callback(self, type: FunctionType) -> str:
        parts = (type.result, *(p.type for p in type.params))
        return f"CFUNCTYPE({', '.join(self.type(part) for part in parts)})"

    def _is_callback(self, type: Type) -> bool:
        return isinstance(type, Pointer) and isinstance(self.scope.resolve(type.target), FunctionType)

    def _is_opaque(self, type: Type) -> bool:
        if isinstance(type, Inline):
            return False
        return isinstance(type, Tagged) and type.kind != "enum" and type.tag not in self._records

    def _typedefs(self) -> list[str]:
        out = []
        for typedef in self.bindings.unit.typedefs:
            target = self.scope.resolve(typedef.type)
            if typedef.name in self._records or isinstance(target, FunctionType):
                continue
            if self.scope.number(target) or self._is_callback(target):
                out.append(f"{typedef.name} = {self.type(typedef.type)}")
            elif isinstance(target, Pointer):
                out.append(f"{typedef.name} = {self._pointer(target)}")
            elif isinstance(target, Tagged) and target.tag in self._records:
                out.append(f"{typedef.name} = {target.tag}")
        return out

    def _fields(self, name: str, record: Record) -> list[str]:
        """Return the statements that give a class its fields, those of nameless members first."""
        before: list[str] = []
        entries: list[str] = []
        anonymous: list[str] = []
        for i, member in enumerate(record.fields or ()):
            before += self._nested(f"_{name}_{member.name or i}", member)
            key = member.name or f"_anonymous_{i}"
            if member.name is None:
                anonymous.append(key)
            entries.append(f'    ("{key}", {self.type(member.type)}),')
        if anonymous:
            before.append(f"{name}._anonymous_ = {anonymous!r}")
        return [*before, f"{name}._fields_ = [", *entries, "]"]

    def _nested(self, name: str, member: Field) -> list[str]:
        """Name the nameless record that a member defines, and return the statements for its fields."""
        type = member.type
        while not isinstance(type, (Primitive, Named, Tagged, FunctionType, Inline)):
            type = (
                type.item
                if isinstance(type, Array)
                else type.base
                if isinstance(type, Qualified)
                else type.target
            )
        if not isinstance(type, Inline) or not isinstance(type.definition, Record):
            return []
        self._nameless[type.definition] = name
        return self._fields(name, type.definition)

    def _function(self, function: Function) -> list[str]:
        parameters = [f'("{p.name or ""}", {self.type(p.type)})' for p in function.type.params]
        joined = f"({', '.join(parameters)}{',' if len(parameters) == 1 else ''})"
        library = self.bindings.library_of(function)
        result = self.type(function.type.result)
        return [f'    "{function.name}": ("{library}", {result}, {joined}, {function.type.variadic}),']
