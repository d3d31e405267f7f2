"""Where back ends come from: the modules that were found, which of them run, and why the others don't."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ._core import back_ends, binding
from .backends import Backend


@dataclass(frozen=True)
class BackendModule:
    """A back end that was found: in the library, beside it, installed as a plugin, or built here."""

    name: str
    """"cpu", "cuda", "vulkan" """
    path: Path
    """its file; the folder of a plugin that has none"""
    found_via: str
    """"linked in", "bundled", "llama-ffi build", the distribution and its version, or the variable that names
    the library"""
    loaded: bool
    """whether it runs"""
    devices: tuple[str, ...]
    """names of its devices"""
    problem: str
    """why it isn't loaded, in the loader's own words; "" if it is"""
    cure: str
    """what to do about it; "" if nothing needs to be done"""
    sha256: str
    """what its manifest says its file's digest is; "" if it doesn't"""


def backend_modules() -> list[BackendModule]:
    """Return every back end that was found, in the order in which they were tried; first what is linked in.

    Like C's ggml_backend_load_all

    Of two modules of one back end, and of the CPU's variants, one is loaded; the others need no cure.

    Returns:
        a copy; what was found when the library was loaded.

    Threads: any; the first call loads the library.
    """
    active = binding.active()
    by_address = {int(active.ffi.cast("uintptr_t", each.ptr)): each for each in Backend.all()}
    tried = []
    for outcome in active.info.modules:
        module = outcome.module
        backend = by_address.pop(outcome.registry, None)
        names = () if backend is None else tuple(device.name for device in backend.devices)
        loaded = bool(outcome.registry)
        cure = "" if loaded else outcome.cure
        tried.append(
            BackendModule(
                *(module.name, module.path, module.found_via, loaded, names),
                *(outcome.problem, cure, module.sha256),
            )
        )
    folder = active.info.libraries.folder
    linked = [
        BackendModule(
            *(backend.name.lower(), backend.module or folder, "linked in", True),
            *(tuple(device.name for device in backend.devices), "", "", ""),
        )
        for backend in by_address.values()
    ]
    return linked + tried


def no_device(name: str) -> str:
    """Return what to do if the back end ``name`` is loaded and has no device, "" if that is usual."""
    return back_ends.without_device(name)
