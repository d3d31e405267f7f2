"""Compare llama-cpp-python's own declarations with ours, name by name; print what differs as JSON.

Arguments: the package folder with its Python code. LLAMA_CPP_LIB_PATH and MTMD_CPP_LIB name a folder with a
libllama.so and a libmtmd.so, so that its own modules can be imported.
"""

from __future__ import annotations

import ctypes
import json
import sys
import types
from typing import Any

sys.path.insert(0, sys.argv[1])

import llama_cpp.llama_cpp as their_llama
import llama_cpp.mtmd_cpp as their_mtmd

from llama_ffi.compat import llama_cpp as our_llama
from llama_ffi.compat import mtmd_cpp as our_mtmd


def exported(module: str) -> list[str]:
    names: dict[str, Any] = {}
    exec(f"from {module} import *", names)
    names.pop("__builtins__")
    return sorted(names)


def kind(t: Any) -> str:
    """Return what Python sees of a ctypes type: widths and signs, structs by name, addresses all alike."""
    if t is None:
        return "None"
    if t is ctypes._Pointer:
        return "pointers"
    if isinstance(t, type(ctypes.POINTER(ctypes.c_int))):
        return f"{kind(t._type_)}*"
    if hasattr(t, "_restype_") and hasattr(t, "_argtypes_"):
        return f"{kind(t._restype_)}({','.join(map(kind, t._argtypes_))})"
    if isinstance(t, type(ctypes.c_int * 1)):
        return f"{kind(t._type_)}[{t._length_}]"
    if isinstance(t, type) and issubclass(t, (ctypes.Structure, ctypes.Union)):
        return t.__name__
    if isinstance(t, type(ctypes.c_int)):
        return f"int{ctypes.sizeof(t)}" if t._type_ in "iIlLhHbBqQ" else t._type_
    return f"a {type(t).__name__}"


def of_function(function: Any) -> str:
    return f"{kind(function.restype)}({','.join(map(kind, function.argtypes))})"


def compare(theirs: Any, ours: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in exported(theirs.__name__):
        a, b = getattr(theirs, name), getattr(ours, name, None)
        if b is None:
            if a is not None:
                found[name] = ["absent"]
        elif isinstance(a, ctypes._CFuncPtr) and isinstance(b, ctypes._CFuncPtr):
            if of_function(a) != of_function(b):
                found[name] = [of_function(a), of_function(b)]
        elif isinstance(a, (ctypes._CFuncPtr, types.FunctionType)):
            if not callable(b):
                found[name] = ["not callable"]
        elif isinstance(a, type) and issubclass(a, (ctypes.Structure, ctypes.Union)) and a is not b:
            mine = {n: kind(t) for n, t in b._fields_}
            for member, t in a._fields_:
                if not hasattr(b, member):
                    found[f"{name}.{member}"] = ["absent"]
                elif mine.get(member, kind(t)) != kind(t):
                    found[f"{name}.{member}"] = [kind(t), mine[member]]
        elif isinstance(a, type(ctypes.c_int)) or hasattr(a, "_restype_"):
            if kind(a) != kind(b):
                found[name] = [kind(a), kind(b)]
        elif isinstance(a, (int, float, str, bytes)) and a != b:
            found[name] = [repr(a), repr(b)]
    return found


print(
    json.dumps(
        {
            "exported": exported("llama_cpp.llama_cpp"),
            "ours": exported("llama_ffi.compat.llama_cpp"),
            "llama": compare(their_llama, our_llama),
            "mtmd": compare(their_mtmd, our_mtmd),
        }
    )
)
