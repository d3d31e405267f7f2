"""The guarded form of every C function that the safe layer calls: the same signature, inside the guard."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..ir import Function, Primitive
from ..spell import spell

_HEAD = """\
#include "guard.hpp"

{includes}

#if defined(__GNUC__)
#    pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#endif

namespace llama_ffi {{

namespace {{
"""

_LIBRARIES = frozenset({"llama", "ggml", "ggml-base", "ggml-cpu"})
"""What the guard is linked with."""


def emit_guard_calls(functions: Iterable[Function], library_of: dict[str, str], *, weak: bool = False) -> str:
    """Return the source of `calls.cpp` for `functions`; those of other libraries are passed over.

    `weak`: the library may lack some that its headers declare.  Nobody asks for the wrapper of one that
    isn't there, but without the pragma its absence would keep the guard from being loaded.
    """
    chosen = _wrapped(functions, library_of)
    headers = sorted({Path(function.location.file).name for function in chosen})
    out = [_HEAD.format(includes="\n".join(f'#include "{header}"' for header in headers))]
    if weak:
        pragmas = [f"#pragma weak {function.name}" for function in chosen]
        out[0] = out[0].replace("namespace llama_ffi", "\n".join(pragmas) + "\n\nnamespace llama_ffi", 1)
    out += [_wrapper(function) for function in chosen]
    out.append("} // namespace\n\nconst GuardedFunction guarded_functions[] = {")
    out += [f'    {{ "{f.name}", reinterpret_cast<void *>(guarded_{f.name}) }},' for f in chosen]
    out.append(f"}};\n\nconst unsigned guarded_function_count = {len(chosen)};\n\n}} // namespace llama_ffi")
    return "\n".join(out) + "\n"


def emit_guarded_names(functions: Iterable[Function], library_of: dict[str, str]) -> str:
    """Return the Python line that names them, so that a guard built from an older list is noticed."""
    names = "".join(f'    "{function.name}",\n' for function in _wrapped(functions, library_of))
    return f"\nGUARDED = (\n{names})\n"


def _wrapped(functions: Iterable[Function], library_of: dict[str, str]) -> list[Function]:
    return [function for function in functions if library_of[function.name] in _LIBRARIES]


def _wrapper(function: Function) -> str:
    params = [] if _takes_nothing(function) else function.type.params
    declared = ", ".join(spell(param.type, f"a{i}") for i, param in enumerate(params))
    passed = ", ".join(f"a{i}" for i in range(len(params)))
    head = spell(function.type.result, f"guarded_{function.name}({declared or 'void'})")
    call = f"[&] {{ return {function.name}({passed}); }}"
    return f'{head} {{\n    return guarded("{function.name}", {call});\n}}\n'


def _takes_nothing(function: Function) -> bool:
    return [param.type for param in function.type.params] == [Primitive("void")]
