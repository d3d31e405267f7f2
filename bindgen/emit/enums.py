"""The enums and constants as a Python module, and its stub.

Creating an enum class costs Python about 50 microseconds a member, and no program uses all of
them: the module holds plain tuples and makes a class when it is first asked for.
"""

from __future__ import annotations

from ..analyze import Bindings
from ..naming import class_name, is_flags, member_names

_RUNTIME = '''

def __getattr__(name: str):
    """Make the enum class `name` on first use."""
    if name not in _SPECS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import enum

    kind, members = _SPECS[name][1:]
    created = getattr(enum, kind)(name, members, module=__name__)
    return globals().setdefault(name, created)


def __dir__():
    return sorted({*globals(), *_SPECS})


class _Classes(Mapping):
    """The enum class for each C enum, made on first use."""

    def __getitem__(self, c_name):
        name = _PYTHON_NAMES[c_name]
        return globals().get(name) or __getattr__(name)

    def __iter__(self):
        return iter(_PYTHON_NAMES)

    def __len__(self):
        return len(_PYTHON_NAMES)


_PYTHON_NAMES = {spec[0]: name for name, spec in _SPECS.items()}
CLASSES = _Classes()
'''


def emit_enums(bindings: Bindings) -> str:
    """Return the source of `enums.py`."""
    out = [
        '"""The C enums as IntEnum and IntFlag classes, made when first asked for, and the constants."""',
        "",
        "from collections.abc import Mapping",
        "",
        "_SPECS = {",
    ]
    for c_name, enum in bindings.named_enums():
        names = member_names(c_name, [m.name for m in enum.members])
        kind = "IntFlag" if is_flags(enum) else "IntEnum"
        out.append(f'    "{class_name(c_name)}": (')
        out.append(f'        "{c_name}",')
        out.append(f'        "{kind}",')
        out.append("        (")
        out += [f'            ("{names[m.name]}", {m.value}),' for m in enum.members]
        out += ["        ),", "    ),"]
    out += ["}", "", "CONSTANTS = {"]
    out += [f"    {quoted(name)}: {quoted(value)}," for name, value in constants(bindings)]
    out += ["}"]
    return "\n".join(out) + "\n" + _RUNTIME


def emit_enums_stub(bindings: Bindings) -> str:
    """Return the source of `enums.pyi`."""
    out = [
        "from collections.abc import Mapping",
        "from enum import IntEnum, IntFlag",
        "from typing import Final",
        "",
    ]
    for c_name, enum in bindings.named_enums():
        names = member_names(c_name, [m.name for m in enum.members])
        out.append(f"class {class_name(c_name)}({'IntFlag' if is_flags(enum) else 'IntEnum'}):")
        out += [f"    {names[m.name]} = {m.value}" for m in enum.members]
        out.append("")
    out.append("CLASSES: Final[Mapping[str, type[IntEnum] | type[IntFlag]]]")
    out.append("CONSTANTS: Final[Mapping[str, int | float | str]]")
    return "\n".join(out) + "\n"


def constants(bindings: Bindings) -> list[tuple[str, int | float | str]]:
    """Return the constants and the members of nameless enums, under their C names."""
    found = [(c.name, c.value) for c in bindings.unit.constants]
    return found + [(m.name, m.value) for m in bindings.loose_members()]


def quoted(value: int | float | str) -> str:
    """Return a Python literal, strings in double quotes."""
    if isinstance(value, str) and '"' not in value and "\\" not in value and value.isprintable():
        return f'"{value}"'
    return repr(value)
