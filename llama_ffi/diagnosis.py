"""What is installed, what runs, what doesn't, and what to do about it: the facts behind ``llama-ffi doctor``.

Each topic is one function that yields findings; a new topic is a new function in :data:`TOPICS`. What goes
wrong in a topic is its finding.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ._core import back_ends, binding, child_python, proof
from ._core.isolate import how
from .backend_files import BackendModule, backend_modules, no_device
from .backends import Device, devices
from .errors import (
    AbiMismatchError,
    BackendLoadError,
    BindingsNotFoundError,
    ForeignGgmlError,
    LibraryLoadError,
    LibraryNotFoundError,
    LlamaError,
    UnsupportedError,
)

OK, NOTE, BAD = "ok", "note", "bad"
"""What a finding's status can be: as it should be; worth knowing; broken."""

CURES: dict[type[LlamaError], str] = {
    LibraryNotFoundError: "correct or unset LLAMA_FFI_LIB; if it isn't set, install a wheel that carries the "
    "library, or run `pip install .` in a checkout",
    BackendLoadError: "unset LLAMA_FFI_BACKEND, or do what the message says",
    LibraryLoadError: "reinstall, or let LLAMA_FFI_LIB name a libllama that this system can load",
    ForeignGgmlError: "import llama_ffi before the other package, or run the two in separate processes",
    BindingsNotFoundError: "unset LLAMA_FFI_BINDINGS, or make the bindings again with `llama-ffi bind`",
    AbiMismatchError: "unset LLAMA_FFI_LIB, or make bindings for this library: "
    "`llama-ffi bind --include DIR --lib PATH --name mine`, then LLAMA_FFI_BINDINGS=mine",
}
"""What to do about an error of loading; the first class that fits."""


_CUDA_13_DRIVER = 580
"""The first driver that runs programs built with CUDA 13."""

_SECONDS = 300.0
"""How long another process may take to load the library; drivers of GPUs are slow to start."""


class Finding(NamedTuple):
    """One thing that :func:`diagnose` found."""

    topic: str
    """what it is about: "library", "guard", "functions" …"""
    status: str
    """"ok", "note" or "bad" """
    text: str
    """one sentence or fact"""
    cure: str = ""
    """what to do, "" if nothing needs to be done"""
    details: tuple[str, ...] = ()
    """further lines, for those who want to know all"""


def diagnose() -> list[Finding]:
    """Look at the installation, the library, its bindings, and whether a model runs.

    The library is first loaded in a process of its own, so that one which ends the process is a finding too.

    Returns:
        the findings, in the order in which one thing depends on another.

    Threads: any; loads the library.
    """
    findings: list[Finding] = []
    for topic in TOPICS:
        try:
            findings.extend(topic())
        except Exception as error:
            name = topic.__name__.lstrip("_").replace("_", " ")
            findings.append(Finding(name, BAD, f"{type(error).__name__}: {error}", _cure(error)))
        if findings and findings[-1].topic == "loading" and findings[-1].status == BAD:
            break  # everything below needs the library
    return findings


def _installation() -> Iterator[Finding]:
    from . import __version__

    system = f"{platform.system()} {platform.machine()}"
    yield Finding(
        "versions",
        OK,
        f"llama-ffi {__version__}, {platform.python_implementation()} {platform.python_version()}, {system}",
    )
    chosen = {name: value for name, value in sorted(os.environ.items()) if name.startswith("LLAMA_")}
    if chosen:
        text = ", ".join(f"{name}={value}" for name, value in chosen.items())
        yield Finding("environment", NOTE, text)


def _loading() -> Iterator[Finding]:
    """Let another process load the library: one that ends it, or never comes back, is a finding, too."""
    code = "\ntry:\n import llama_ffi; llama_ffi.library_info()\nfinally:\n print('alive')"
    fits = (
        "LLAMA_FFI_LIB or LLAMA_FFI_BINDINGS name something that doesn't fit this machine or each other; "
        "unset them, or build the library here"
    )
    try:
        command = child_python.command(code, "doctor")
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS
        )
    except UnsupportedError as error:
        yield Finding("loading", NOTE, f"not tried in a process of its own: {error}")
        done = None
    except subprocess.TimeoutExpired:
        text = f"loading the library wasn't done after {_SECONDS:g} seconds"
        yield Finding(
            "loading", BAD, text, f"a device's driver may hang: try LLAMA_FFI_BACKEND=cpu; else {fits}"
        )
        return
    if done is not None and "alive" not in done.stdout:
        yield Finding("loading", BAD, f"loading the library ends the process ({how(done.returncode)})", fits)
        return
    binding.active()


def _library() -> Iterator[Finding]:
    active = binding.active()
    info = active.info
    files = tuple(f"{key}: {path}" for key, path in info.libraries.files.items())
    where = f"{info.libraries.files['llama']} (found via {info.found_via})"
    yield Finding("library", OK, f"{proof.library_version(active)}: {where}", details=files)
    yield Finding("bindings", OK, f"{info.bindings}: for {proof.made_for(active)}")


def _verification() -> Iterator[Finding]:
    active = binding.active()
    if proof.by_manifest(active):
        yield Finding("verified", OK, active.info.verified_by)
        return
    pairs = tuple(f"{struct}: {left} and {right}" for struct, left, right in proof.look_alikes(active))
    yield Finding(
        "verified",
        NOTE,
        f"{active.info.verified_by}. If two of a pair were exchanged in this library, nothing would show it",
        "`llama-ffi bind --check` with the headers that this library was built from leaves nothing open",
        pairs,
    )


def _guard() -> Iterator[Finding]:
    active = binding.active()
    if active.guard is not None:
        yield Finding("guard", OK, "failed assertions of llama.cpp become errors")
    elif os.environ.get("LLAMA_FFI_GUARD") == "0":
        yield Finding("guard", NOTE, "switched off by LLAMA_FFI_GUARD=0: a failed assertion ends the process")
    else:
        yield Finding(
            "guard",
            NOTE,
            "none for this library: a failed assertion of llama.cpp ends the process",
            "`llama-ffi bind` compiles one, where there is a C++ compiler",
        )


def _functions() -> Iterator[Finding]:
    active = binding.active()
    missing = proof.missing_functions(active)
    count = len(active.manifest.FUNCTIONS)
    if not missing:
        yield Finding("functions", OK, f"all {count} of the headers are in the libraries")
    else:
        yield Finding(
            "functions",
            NOTE,
            f"{len(missing)} of {count} are not in the libraries; using one raises MissingFunctionError",
            "use a library and headers of the same version",
            tuple(missing),
        )
    features = proof.missing_features(active)
    if features:
        yield Finding(
            "features",
            NOTE,
            f"{len(features)} can't be used with this llama.cpp",
            "use a newer one",
            tuple(f"{feature}: needs {', '.join(needs)}" for feature, needs in features.items()),
        )


def _back_ends() -> Iterator[Finding]:
    modules = backend_modules()
    linked = [module for module in modules if module.found_via == "linked in"]
    if linked:
        files = tuple(f"{module.name}: {module.path}" for module in linked)
        yield Finding("back ends", OK, f"{', '.join(each.name for each in linked)}: linked in", details=files)
    for module in modules:
        if module not in linked and (module.loaded or module.cure):
            others = (each for each in modules if each.name == module.name and not each.loaded)
            unused = tuple(f"{each.path.name}: {each.problem}" for each in others if not each.cure)
            yield _back_end(module, unused if module.loaded else ())


def _back_end(module: BackendModule, unused: tuple[str, ...]) -> Finding:
    topic, what = "back end", f"{module.name}: {module.path} (found via {module.found_via})"
    if not module.loaded:
        said = module.problem.removeprefix(f"{module.path}: ")
        return Finding(topic, BAD, f"{what} is not used: {said}", module.cure)
    if module.sha256 and module.sha256 != _digest(module.path):
        text = f"{what} isn't what was built: its SHA-256 differs from its manifest's"
        return Finding(topic, BAD, text, back_ends.how_to_get_again(module.name))
    if not module.devices and no_device(module.name):
        return Finding(topic, NOTE, f"{what} finds no device", no_device(module.name), unused)
    names = f", with {', '.join(module.devices)}" if module.devices else ""
    return Finding(topic, OK, f"{what}{names}", details=unused)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _hardware(root: str = "/") -> Iterator[Finding]:
    """Look for GPUs that no back end uses, by what their drivers show (on Linux)."""
    used = {device.backend.lower() for device in devices() if device.type in ("GPU", "IGPU")}
    if used:
        return
    driver = _first_line(os.path.join(root, "proc/driver/nvidia/version"))
    if driver is not None:
        version = re.search(r"\b(\d{3})\.\d+", driver)
        extra = "cuda12" if version and int(version[1]) < _CUDA_13_DRIVER else "cuda13"
        text = f"an NVIDIA GPU (driver {version[0] if version else 'unknown'}) that no back end uses"
        yield Finding(
            "hardware", NOTE, text, f'`pip install "llama-ffi[{extra}]"`, or `llama-ffi build {extra}`'
        )
        return
    try:
        nodes = sorted(os.listdir(os.path.join(root, "dev/dri")))
    except OSError:
        nodes = []
    render = [node for node in nodes if node.startswith("renderD")]
    if render:
        text = f"a GPU (/dev/dri/{render[0]}) that no back end uses"
        rocm = (
            "; for AMD's ROCm: `llama-ffi build hip`" if os.path.exists(os.path.join(root, "dev/kfd")) else ""
        )
        cure = f'`pip install "llama-ffi[vulkan]"`, or `llama-ffi build vulkan`{rocm}'
        yield Finding("hardware", NOTE, text, cure)


def _first_line(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return None


def _devices() -> Iterator[Finding]:
    found = devices()
    names = ", ".join(f"{each.name} ({each.description})" for each in found)
    details = tuple(_device(each) for each in found)
    yield Finding("devices", OK if found else BAD, names or "none: not even the CPU can compute", "", details)


def _device(device: Device) -> str:
    free, total = (f"{size / 2**30:,.1f} GiB" for size in device.memory)
    return f"{device.name}: {device.type} of {device.backend}, {free} of {total} free"


def _model() -> Iterator[Finding]:
    from .generation import generate

    pieces = list(generate("Once upon a time", max_tokens=4, temp=0.0))
    if not pieces:
        yield Finding("model", BAD, "the model that ships generates nothing", "reinstall the package")
    yield Finding("model", OK, f"the model that ships goes on with {''.join(pieces)!r}")


def _cure(error: Exception) -> str:
    return next((cure for kind, cure in CURES.items() if isinstance(error, kind)), "")


TOPICS: list[Callable[[], Iterator[Finding]]] = [
    _installation,
    _loading,
    _library,
    _verification,
    _guard,
    _functions,
    _back_ends,
    _devices,
    _hardware,
    _model,
]
"""What is looked at, in this order."""
