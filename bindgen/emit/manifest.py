"""The manifest, small and imported at every start, and the layout facts, imported by checks only."""

from __future__ import annotations

from ..analyze import Bindings
from ..ir import Function
from ..layout import digest, facts, signature
from ..models import LP64, MODELS
from .enums import quoted


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
    return "\n".join(out) + "\n"


def emit_layout(bindings: Bindings) -> str:
    """Return the source of `layout.py`: what only a check or an error message needs."""
    view = facts(bindings, LP64)
    out = [
        '"""Struct layouts (LP64, bytes), enum values, signatures and deprecations, for checks and messages."""',
        "",
        "LAYOUT = {",
    ]
    for name, struct in sorted(view["structs"].items()):
        out.append(f'    "{name}": (')
        out.append(f"        {struct['size']},")
        out.append(f"        {struct['align']},")
        out.append("        (")
        out += [f'            ("{field}", {offset}, {size}),' for field, (offset, size, _) in struct["fields"].items()]
        out += ["        ),", "    ),"]
    out += ["}", "ENUMS = {"]
    for name, enum in sorted(view["enums"].items()):
        out.append(f'    "{name}": {{')
        out += [f'        "{member}": {value},' for member, value in enum["members"].items()]
        out.append("    },")
    out += ["}", "SIGNATURES = {"]
    out += [f"    {quoted(f.name)}: {quoted(signature(f))}," for f in _sorted(bindings)]
    out += ["}", "DEPRECATED = {"]
    out += [f"    {quoted(f.name)}: {quoted(f.deprecated)}," for f in _sorted(bindings) if f.deprecated is not None]
    out += ["}"]
    return "\n".join(out) + "\n"


def _sorted(bindings: Bindings) -> list[Function]:
    return sorted(bindings.unit.functions, key=lambda f: f.name)
