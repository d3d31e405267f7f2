"""What programs written against ctypes hold as plain addresses.

To C a `ggml_tensor *` is a pointer to a struct that anybody may read.  To a program that gets one in a
callback it is a handle: it compares it, hands it on, and casts it if it wants to look inside.  The same
holds for a few members and parameters that programs fill with any address.  And a `char *` to bytes that
aren't text must not become a `c_char_p`, which ends at the first zero.  The policy is `Config.handles`,
`addresses` and `buffers`; here it is carried out on the IR, so that the emitter and the facts it is
compared with cannot disagree.
"""

from __future__ import annotations

from dataclasses import replace

from .analyze import Bindings
from .ir import (
    Array,
    Declaration,
    Function,
    FunctionType,
    Inline,
    Param,
    Pointer,
    Primitive,
    Qualified,
    Record,
    Tagged,
    Type,
    Typedef,
)
from .scope import Scope

BYTE = Primitive("byte")
"""A `char` that is a byte of a buffer."""

_ADDRESS = Pointer(Primitive("void"))


def with_addresses(bindings: Bindings) -> Bindings:
    """Return the bindings with `void *` for every pointer that the policy makes an address."""
    loosener = _Loosener(bindings)
    declarations = tuple(loosener.declaration(each) for each in bindings.unit.declarations)
    unit = replace(bindings.unit, declarations=declarations)
    return replace(bindings, unit=unit, scope=Scope.of(unit, bindings.scope.model))


class _Loosener:
    def __init__(self, bindings: Bindings) -> None:
        self._scope = bindings.scope
        self._handles = bindings.config.handles
        self._addresses = bindings.config.addresses
        self._buffers = bindings.config.buffers

    def declaration(self, item: Declaration) -> Declaration:
        if isinstance(item, Record):
            return self._record(item, item.tag or "")
        if isinstance(item, Function):
            return replace(item, type=self._function(item.type, item.name))
        if isinstance(item, Typedef):
            return replace(item, type=self._type(item.type, item.name))
        return item

    def _record(self, record: Record, name: str) -> Record:
        if record.fields is None:
            return record
        fields = tuple(replace(f, type=self._member(f.type, f"{name}.{f.name}")) for f in record.fields)
        return replace(record, fields=fields)

    def _function(self, type: FunctionType, name: str) -> FunctionType:
        params = tuple(Param(p.name, self._member(p.type, f"{name}.{p.name}")) for p in type.params)
        return replace(type, result=self._type(type.result), params=params)

    def _member(self, type: Type, path: str) -> Type:
        if path in self._buffers:
            return self._bytes(type)
        return _ADDRESS if path in self._addresses else self._type(type)

    def _bytes(self, type: Type) -> Type:
        """Return a pointer to text, or to such a pointer, as one to bytes."""
        type = self._scope.resolve(type)
        return Pointer(self._bytes(type.target)) if isinstance(type, Pointer) else BYTE

    def _type(self, type: Type, name: str = "") -> Type:
        if isinstance(type, Pointer):
            target = self._scope.resolve(type.target)
            if isinstance(target, Tagged) and target.tag in self._handles:
                return _ADDRESS
            return Pointer(self._type(type.target))
        if isinstance(type, Qualified):
            return replace(type, base=self._type(type.base, name))
        if isinstance(type, Array):
            return replace(type, item=self._type(type.item))
        if isinstance(type, FunctionType):
            return self._function(type, name)
        if isinstance(type, Inline) and isinstance(type.definition, Record):
            return Inline(self._record(type.definition, name))
        return type
