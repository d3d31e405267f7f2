"""Write types back as C.

`spell` keeps typedef names and qualifiers; it is what goes into the cdef and the probe.
"""

from __future__ import annotations

from .ir import (
    Array,
    Enum,
    Field,
    FunctionType,
    Inline,
    Named,
    Param,
    Pointer,
    Primitive,
    Qualified,
    Record,
    Tagged,
    Type,
)


def spell(type: Type, declarator: str = "") -> str:
    """Return the C declaration of `declarator` with `type`; an abstract one when it is empty."""
    if isinstance(type, (Primitive, Named)):
        return _join(type.name, declarator)
    if isinstance(type, Tagged):
        return _join(f"{type.kind} {type.tag}", declarator)
    if isinstance(type, Inline):
        return _join(body(type.definition), declarator)
    if isinstance(type, Qualified):
        words = " ".join(type.quals)
        if isinstance(type.base, Pointer):
            return spell(type.base.target, _group(f"*{_join(words, declarator)}", type.base.target))
        return f"{words} {spell(type.base, declarator)}"
    if isinstance(type, Pointer):
        return spell(type.target, _group(f"*{declarator}", type.target))
    if isinstance(type, Array):
        length = "" if type.length is None else str(type.length)
        return spell(type.item, f"{declarator}[{length}]")
    return spell(type.result, f"{declarator}({parameters(type)})")


def parameters(type: FunctionType) -> str:
    """Return what stands between a function's parentheses."""
    params = [_parameter(p) for p in type.params]
    if type.variadic:
        params.append("...")
    return ", ".join(params) or "void"


def body(definition: Record | Enum) -> str:
    """Return the definition of a struct, union or enum without the final semicolon."""
    if isinstance(definition, Enum):
        head = _join("enum", definition.tag or "")
        members = ", ".join(f"{m.name} = {m.value}" for m in definition.members)
        return f"{head} {{ {members} }}"
    head = _join(definition.kind, definition.tag or "")
    if definition.fields is None:
        return head
    return f"{head} {{ {' '.join(field(f) for f in definition.fields)} }}"


def field(field: Field) -> str:
    """Return one member of a record, with its semicolon."""
    bits = "" if field.bits is None else f" : {field.bits}"
    return f"{spell(field.type, field.name or '')}{bits};"


def _parameter(param: Param) -> str:
    return spell(param.type, param.name or "")


def _group(declarator: str, target: Type) -> str:
    return f"({declarator})" if isinstance(target, (Array, FunctionType)) else declarator


def _join(left: str, right: str) -> str:
    if not left or not right:
        return left or right
    return f"{left}{right}" if right.startswith("[") and left.endswith("]") else f"{left} {right}"
