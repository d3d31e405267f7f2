"""REPORT.md: how much is bound, and every thing that is not, with its reason and place."""

from __future__ import annotations

from collections import Counter

from .analyze import Bindings
from .ir import Declaration


def emit_report(bindings: Bindings) -> str:
    """Return the text of `REPORT.md`."""
    unit = bindings.unit
    out = [
        "# What is bound",
        "",
        f"llama.cpp commit `{bindings.commit or 'unknown'}`, headers `{bindings.headers_sha256[:16]}`.",
        "",
        "| header | functions | structs | enums | typedefs | constants |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    columns: list[tuple[Declaration, ...]] = [
        unit.functions,
        unit.records,
        unit.enums,
        unit.typedefs,
        unit.constants,
    ]
    counts = [Counter(d.location.file for d in column) for column in columns]
    for header in bindings.config.headers:
        out.append(f"| {header.path} | " + " | ".join(str(count[header.path]) for count in counts) + " |")
    out.append("| **all** | " + " | ".join(str(sum(count.values())) for count in counts) + " |")
    opaque = sum(1 for record in unit.records if record.fields is None)
    deprecated = [f for f in unit.functions if f.deprecated is not None]
    variadic = [f for f in unit.functions if f.type.variadic]
    out += [
        "",
        f"Of the structs {opaque} are opaque. {len(deprecated)} functions are deprecated.",
        "",
        "## Bound with a caveat",
        "",
        "Variadic functions: every argument behind the named ones must be a cdata object.",
        "",
        *(f"- `{f.name}` ({f.location})" for f in variadic),
        "",
        "## Declared, but in no library",
        "",
        *(f"- `{name}`: {why}" for name, why in bindings.unavailable.items()),
        "",
        "## Not bound",
        "",
        "| what | name | where | why |",
        "|---|---|---|---|",
        *(f"| {s.kind} | `{s.name}` | {s.location} | {_cell(s.reason)} |" for s in bindings.skipped),
        "",
        "## Deprecated",
        "",
        *(f"- `{f.name}` ({f.location})" for f in deprecated),
    ]
    return "\n".join(out) + "\n"


def _cell(text: str) -> str:
    short = text if len(text) <= 100 else text[:97] + "…"
    return short.replace("|", "\\|")
