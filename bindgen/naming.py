"""How C enums are called in Python: `enum llama_pooling_type` is `PoolingType`, its members `MEAN` …

The rule is mechanical so that nobody has to look a name up: drop `llama_`, camel-case the rest,
and cut from the members what they all begin with.
"""

from __future__ import annotations

import keyword
from collections.abc import Sequence

from .ir import Enum


def class_name(enum: str) -> str:
    """Return the Python class for the C enum `enum`."""
    words = enum.removeprefix("llama_").split("_")
    if words[-1:] == ["t"]:
        words = words[:-1]
    return "".join(word.capitalize() for word in words)


def member_names(enum: str, members: Sequence[str]) -> dict[str, str]:
    """Return the Python name of every member, by its C name, in the given order."""
    prefix = f"{enum.upper()}_"
    if not all(member.startswith(prefix) for member in members):
        prefix = _common_prefix(members) if len(members) > 1 else ""
    return {member: safe(member.removeprefix(prefix)) for member in members}


def _common_prefix(names: Sequence[str]) -> str:
    """Return what all names begin with, up to and including an underscore."""
    first, last = min(names), max(names)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[: first.rfind("_", 0, length) + 1]


def is_flags(enum: Enum) -> bool:
    """Return whether the members are bits to be combined.

    C does not say; a shift in an initialiser does, or "flag" in the name over single bits.
    """
    if any("<<" in (m.text or "") for m in enum.members):
        return all(m.value >= 0 for m in enum.members)
    single = all(m.value & (m.value - 1) == 0 for m in enum.members if m.value >= 0)
    return single and "flag" in (enum.tag or "") and all(m.value >= 0 for m in enum.members)


def safe(name: str) -> str:
    """Return `name` as a Python identifier."""
    if not name or name[0].isdigit() or keyword.iskeyword(name) or name in ("mro", "name", "value"):
        return f"_{name}"
    return name
