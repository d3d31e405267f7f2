"""Prove that the library matches the bindings, before anything is passed by value.

A struct whose fields moved is not an error that C reports: it is memory that changes silently. So a
library is used only if its layout is known to be the bindings' own. The build stored what the compiler
saw (``probe.json``) and, beside it, the digest of that and of the headers: when the digests are ours
there is nothing left to compare. When they aren't, the two views are compared name by name, and the
first differences go into the error.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import AbiMismatchError
from .search import LibrarySet

_SHOWN = 6
"""Differences that a message lists; more would hide the first one."""


def data_model() -> str:
    """Return "lp64" or "llp64": what C's ``long`` is on this platform."""
    if sys.platform == "win32":
        return "llp64"
    return "lp64" if struct.calcsize("P") == 8 else "ilp32"


def verify(libraries: LibrarySet, built: Mapping[str, Any], manifest: Any) -> str:
    """Compare the build manifest ``built`` of a library with the bindings' ``manifest`` module.

    Returns:
        how it was verified, for ``llama-ffi info``.

    Raises:
        AbiMismatchError: names the structs, fields, constants or enum members that differ.
    """
    same_layout = built.get("probe_sha256") == manifest.LAYOUT_SHA256.get(data_model())
    if same_layout and built.get("headers_sha256") == manifest.HEADERS_SHA256:
        return "build manifest: headers and the compiler's layout are equal"
    found = _read_probe(libraries, built)
    differences = compare(_expected(manifest), found)
    if differences:
        more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise AbiMismatchError(
            f"{libraries.files['llama']} (llama.cpp {str(built.get('commit'))[:12]}, found via "
            f"{libraries.found_via}) doesn't match the bindings (llama.cpp {manifest.COMMIT[:12]}): "
            f"{'; '.join(differences[:_SHOWN])}{more}. "
            f"Use a library of the same version, or make bindings for this one with `llama-ffi bind`"
        )
    return "build manifest: other headers, equal layout in everything the bindings use"


def _read_probe(libraries: LibrarySet, built: Mapping[str, Any]) -> Mapping[str, Any]:
    import hashlib

    path = libraries.folder / "probe.json"
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != built.get("probe_sha256"):
            raise ValueError("its SHA-256 is not the one in manifest.json")
        found = json.loads(data)
        if not isinstance(found, dict):
            raise ValueError("it is not an object")
        return found
    except (OSError, ValueError) as error:
        raise AbiMismatchError(
            f"the compiler's layout {path} can't be used ({error}), and the headers of this library differ "
            f"from the bindings'; build or install it again"
        ) from error


def _expected(manifest: Any) -> Mapping[str, Any]:
    layout: Mapping[str, Any] = manifest.probe(data_model())
    return layout


def compare(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return how ``found`` differs from ``expected`` (both in the probe's form), one sentence each.

    What only the library has is no difference: the bindings don't use it.
    """
    differences: list[str] = []
    for section in sorted(expected):
        _compare(section, expected[section], found.get(section, {}), differences)
    return differences


def _compare(name: str, expected: Any, found: Any, differences: list[str]) -> None:
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in expected:
            if key not in found:
                differences.append(f"{name} {key} is missing in the library's headers")
            else:
                _compare(f"{name} {key}", expected[key], found[key], differences)
    elif expected != found and found is None:
        differences.append(f"{name} has another type in the library, in the bindings it is {expected}")
    elif expected != found:
        differences.append(f"{name} is {found} in the library, {expected} in the bindings")
