"""What is known about the active binding beyond that it works: for those who diagnose it."""

from __future__ import annotations

from .binding import Binding


def by_manifest(active: Binding) -> bool:
    """Tell whether the library was verified by its build manifest, which leaves nothing open."""
    return active.info.libraries.manifest is not None


def look_alikes(active: Binding) -> list[tuple[str, str, str]]:
    """Return (struct, field, field): neighbours whose exchange the verification could not have seen."""
    if by_manifest(active):
        return []
    from .._lib.foreign import indistinguishable

    return indistinguishable(active.ffi, defaults_known=active.other is None)


def missing_functions(active: Binding) -> list[str]:
    """Return the C functions that the bindings declare and the library lacks."""
    raw = active.raw
    return [name for name in sorted(active.manifest.FUNCTIONS) if not raw.has(name)]


def missing_features(active: Binding) -> dict[str, list[str]]:
    """Return the features of the safe layer that can't be used → the functions and fields they lack."""
    from . import features

    if active.other is not None:
        return features.missing(active.other.lacks_need)
    return features.missing(lambda need: "." not in need and not active.raw.has(need))


def library_version(active: Binding) -> str:
    """Return in words which llama.cpp the library is."""
    return active.raw.version()


def made_for(active: Binding) -> str:
    """Return in words which llama.cpp the bindings were made for."""
    return active.raw.made_for
