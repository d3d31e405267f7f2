"""The declarations as cffi's parser wants them: plain C with every value already evaluated."""

from __future__ import annotations

from ..analyze import Bindings
from ..ir import Constant, Declaration, Enum, Function, Record, Typedef, Variable
from ..spell import body, parameters, spell


def emit_cdef(bindings: Bindings) -> str:
    """Return the text for `ffi.cdef`, in the order of the headers."""
    lines = [line for d in bindings.unit.declarations if (line := declaration(d))]
    return "\n".join(lines) + "\n"


def declaration(item: Declaration) -> str:
    """Return one declaration; empty for a constant that C's type system has no integer for."""
    if isinstance(item, (Record, Enum)):
        return f"{body(item)};"
    if isinstance(item, Typedef):
        return f"typedef {spell(item.type, item.name)};"
    if isinstance(item, Function):
        return f"{spell(item.type.result, f'{item.name}({parameters(item.type)})')};"
    if isinstance(item, Variable):
        return f"extern {spell(item.type, item.name)};"
    assert isinstance(item, Constant)
    return f"#define {item.name} {item.value}" if isinstance(item.value, int) else ""
