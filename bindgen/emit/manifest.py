"""The manifest, small and imported at every start, and the layout facts, imported by checks only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..analyze import Bindings
from ..ir import Function
from ..layout import Facts, digest, facts
from ..models import LP64, MODELS
from .enums import quoted

_PROBE = '''

def probe(data_model: str) -> "dict[str, object]":
    """Return what the probe must print under a data model, as a dictionary."""
    import copy

    from . import layout

    view = copy.deepcopy(layout.FACTS)
    for path, value in layout.OTHER_MODELS.get(data_model, ()):
        place = view
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    return view
'''


def emit_manifest(bindings: Bindings) -> str:
    """Return the source of `manifest.py`."""
    unavailable = bindings.unavailable
    out = [
        '"""Which library exports which function, and the digests that a build must match."""',
        "",
        f'COMMIT = "{bindings.commit}"',
        f'HEADERS_SHA256 = "{bindings.headers_sha256}"',
        "LAYOUT_SHA256 = {",
        *(f'    "{name}": "{digest(facts(bindings, model))}",' for name, model in MODELS.items()),
        "}",
        "FUNCTIONS = {",
        *(
            f'    "{f.name}": "{bindings.library_of(f)}",'
            for f in sorted(bindings.unit.functions, key=lambda f: f.name)
            if f.name not in unavailable
        ),
        "}",
        "UNAVAILABLE: dict[str, str] = {",
        *(f'    "{name}": {quoted(why)},' for name, why in unavailable.items()),
        "}",
    ]
    return "\n".join(out) + "\n" + _PROBE


def emit_layout(bindings: Bindings) -> str:
    """Return the source of `layout.py`: what only a check or an error message needs."""
    view = facts(bindings, LP64)
    out = [
        '"""What a C compiler makes of the headers, in the form of `probe.json`, and the deprecations."""',
        "",
        "from typing import Any",
        "",
        "FACTS: dict[str, Any] = {",
        f'    "data_model": "{LP64.name}",',
    ]
    for section in ("structs", "enums", "constants", "functions", "typedefs"):
        out.append(f'    "{section}": {{')
        out += [line for name, value in sorted(view[section].items()) for line in _entry(name, value, 8)]
        out.append("    },")
    out += [
        "}",
        "# Where other data models differ: the path into FACTS, and the value there.",
        "OTHER_MODELS: dict[str, tuple[tuple[tuple[str, ...], Any], ...]] = {",
    ]
    for model in MODELS.values():
        if model is not LP64:
            changes = list(_changes(view, facts(bindings, model)))
            out += [f'    "{model.name}": (', *(f"        {change!r}," for change in changes), "    ),"]
    out += ["}", "DEPRECATED = {"]
    out += [
        f"    {quoted(f.name)}: {quoted(f.deprecated)},"
        for f in _sorted(bindings)
        if f.deprecated is not None
    ]
    out += ["}"]
    return "\n".join(out) + "\n"


def _entry(name: str, value: Any, indent: int) -> list[str]:
    pad = " " * indent
    if not isinstance(value, dict):
        return [f"{pad}{quoted(name)}: {value if isinstance(value, list) else quoted(value)},"]
    inner = [line for key, item in value.items() for line in _entry(key, item, indent + 4)]
    return [f"{pad}{quoted(name)}: {{", *inner, f"{pad}}},"]


def _changes(base: Facts, other: Facts, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in other.items():
        if isinstance(value, dict):
            yield from _changes(base[key], value, (*path, key))
        elif value != base[key]:
            yield (*path, key), value


def _sorted(bindings: Bindings) -> list[Function]:
    return sorted(bindings.unit.functions, key=lambda f: f.name)
