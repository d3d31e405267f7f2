"""Open the back-end modules, once: each by its absolute path, in llama.cpp's order, the CPU last.

``ggml_backend_load`` says in a release build only that it failed. So each module is opened by us first, which
gives the loader's own words, and what llama.cpp logs while it starts is kept.

Back ends that ``LLAMA_FFI_BACKEND`` names are used or the start fails. Without it a plugin that can't be used
is noted, with what to do, and the others go on. Exactly one CPU module is loaded: the one that fits best.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .._lib import modules
from .._lib.load import Opened
from .._lib.modules import CPU, Module
from ..errors import BackendLoadError, LibraryLoadError, NativeAbortError
from . import logs

if TYPE_CHECKING:
    from .guard import Guard

REGISTERED = {"cuda": ("cuda",), "hip": ("rocm",), "metal": ("mtl", "metal")}
"""Module → how its back end calls itself, where that isn't the same word in other letters."""

_LINKED = ("ggml-cpu", "ggml-rpc")
"""Libraries whose headers we bind: in a build with modules their functions are in those."""

_kept: list[Any] = []
"""Handles of the opened modules: an unused one would be closed."""


class Outcome(NamedTuple):
    """What became of a module."""

    module: Module
    registry: int
    """address of the back end that it registered; 0 = it isn't loaded"""
    problem: str = ""
    """why it isn't"""
    cure: str = ""
    """what to do about that; "" if all is well: another one is used, or it is for another processor"""


class _Loader:
    def __init__(self, ffi: Any, lib: Any, guard: Guard | None, opened: Opened) -> None:
        self._ffi = ffi
        self._lib = lib
        self._opened = opened
        self._now = 0 if sys.platform == "win32" else ffi.RTLD_NOW | ffi.RTLD_LOCAL
        self._lazy = 0 if sys.platform == "win32" else ffi.RTLD_LAZY | ffi.RTLD_LOCAL
        self._ours = opened.set.manifest is not None
        self._guard = guard
        self.outcomes: list[Outcome] = []

    def try_module(self, module: Module) -> Outcome | None:
        """Open and register one module; None if the file is no module but a library that is linked in."""
        if module.problem:
            return Outcome(module, 0, module.problem, module.cure)
        if sys.platform == "win32":
            from .._lib import dll_folders

            dll_folders.name_for(module.name)
        try:
            handle = self._open_with(module)
        except OSError as error:
            return Outcome(module, 0, *self.words(module, error))
        if not self._has(handle, "ggml_backend_init"):
            if not self._ours:
                return None
            problem = "it is no back-end module: it has no ggml_backend_init"
            return Outcome(module, 0, problem, module.cure or _again(module))
        load = self._lib.ggml_backend_load
        if self._guard is not None:
            load = self._guard.wrap(self._ffi, "ggml_backend_load", load)
        with logs.capture() as lines:
            try:
                registry = load(os.fsencode(module.path))
            except NativeAbortError as error:
                _kept.append(handle)
                return Outcome(module, 0, str(error), _no_device(module))
        if registry == self._ffi.NULL:
            refusal = _refusal(lines)
            made_for_another = "incompatible" in refusal
            return Outcome(module, 0, refusal, _again(module) if made_for_another else _no_device(module))
        _kept.append(handle)
        key = f"ggml-{module.name}"
        if key in _LINKED:
            self._opened.adopt(key, module.path)
        return Outcome(module, int(self._ffi.cast("uintptr_t", registry)))

    def score(self, module: Module) -> int:
        """Return how well a variant of the CPU's back end fits this processor, 0 = it can't run.

        Raises:
            OSError: it can't be opened.
        """
        handle = self._open(module.path, self._lazy)
        try:
            return int(handle.load_function(self._ffi.typeof("int(*)(void)"), "ggml_backend_score")())
        except AttributeError:
            return 1  # built for one processor: it says nothing

    def count(self) -> int:
        return int(self._lib.ggml_backend_reg_count())

    def names(self) -> set[str]:
        """Return what the registered back ends call themselves, in small letters."""
        lib, string = self._lib, self._ffi.string
        return {
            string(lib.ggml_backend_reg_name(lib.ggml_backend_reg_get(index))).decode().lower()
            for index in range(self.count())
        }

    def has_devices(self, registry: int) -> bool:
        pointer = self._ffi.cast("ggml_backend_reg_t", registry)
        return bool(self._lib.ggml_backend_reg_dev_count(pointer))

    def _open_with(self, module: Module) -> Any:
        """Open a module; libraries that the loader misses are opened first, from where they may be.

        The loader looks beside the module and where the system says. pip puts NVIDIA's and Intel's libraries
        into this environment, and a toolkit's folder is known to what was built with it.
        """
        from .._lib import cures

        opened: set[Path] = set()
        waiting = [module.path]
        while True:
            try:
                handle = self._open(waiting[-1], self._now)
            except OSError as error:
                name = cures.missing(str(error))
                other = modules.elsewhere(name, module.look_in) if name else None
                if other is None or other in opened:
                    raise
                opened.add(other)
                waiting.append(other)
                continue
            if len(waiting) == 1:
                return handle
            _kept.append(handle)
            waiting.pop()

    def _open(self, path: Path, flags: int) -> Any:
        import _cffi_backend

        return _cffi_backend.load_library(str(path), flags)

    def _has(self, handle: Any, name: str) -> bool:
        try:
            handle.load_function(self._ffi.typeof("void *(*)(void)"), name)
        except AttributeError:
            return False
        return True

    def words(self, module: Module, error: OSError) -> tuple[str, str]:
        from .._lib import cures  # nobody needs it as long as everything loads

        words = str(error).removeprefix(f"cannot load library '{module.path}': ")
        tag = modules.tag_of(self._opened.set)
        other = modules.other_commit([cures.missing(words) or ""], tag)
        if other is not None:
            problem = f"it was linked against llama.cpp {other}, the library is {tag}"
            return problem, module.cure or _again(module)
        return words, cures.cure(module.path, words) or module.cure or _again(module)


def load_all(ffi: Any, lib: Any, guard: Guard | None, opened: Opened) -> tuple[Outcome, ...]:
    """Load the back ends for the opened library; afterwards a CPU back end is registered.

    Raises:
        BackendLoadError: one that LLAMA_FFI_BACKEND names can't be used.
        LibraryLoadError: there is no CPU back end.
    """
    wanted = modules.wanted()
    found = modules.find(opened.set)
    loader = _Loader(ffi, lib, guard, opened)
    done: dict[str, Path] = {}
    for module in found:
        if module.name == CPU or (wanted is not None and not any(map(module.is_called, wanted))):
            continue
        if module.name in done:
            loader.outcomes.append(Outcome(module, 0, f"{done[module.name]} is used instead"))
            continue
        outcome = loader.try_module(module)
        if outcome is not None:
            loader.outcomes.append(outcome)
            if outcome.registry:
                done[module.name] = module.path
    _load_cpu(loader, [module for module in found if module.name == CPU])
    if wanted is not None:
        _check(loader, wanted, found)
    for outcome in loader.outcomes:
        if outcome.cure and not outcome.registry:
            logs.warn(f"the back end {outcome.module.name} is not used: {describe(outcome)}")
    return tuple(loader.outcomes)


def describe(outcome: Outcome) -> str:
    """Return why a module isn't loaded, with its file and what to do."""
    path, problem = str(outcome.module.path), outcome.problem
    said = problem if problem.startswith(path) else f"{path}: {problem}"
    return f"{said}. {outcome.cure[:1].upper()}{outcome.cure[1:]}" if outcome.cure else said


def _load_cpu(loader: _Loader, variants: Sequence[Module]) -> None:
    if variants and CPU not in loader.names():
        for module, score in _by_score(loader, variants):
            if score == 0:
                loader.outcomes.append(Outcome(module, 0, "not for this processor"))
            elif CPU in loader.names():
                loader.outcomes.append(Outcome(module, 0, "another variant fits this processor better"))
            else:
                outcome = loader.try_module(module)
                if outcome is not None:
                    loader.outcomes.append(outcome)
    if loader.count() == 0 or (variants and CPU not in loader.names()):
        tried = "; ".join(describe(each) for each in loader.outcomes if each.module.name == CPU)
        folder = loader._opened.set.folder
        reason = f": {tried}" if tried else ": neither linked in nor as a module"
        raise LibraryLoadError(f"{folder} has no CPU back end that can be used{reason}")


def _by_score(loader: _Loader, variants: Sequence[Module]) -> list[tuple[Module, int]]:
    """Return the variants that can be opened, the best first; what can't be is an outcome already."""
    if len(variants) == 1:
        return [(variants[0], 1)]
    scores: list[tuple[Module, int]] = []
    for module in variants:
        try:
            score = 1 if module.problem else loader.score(module)
        except OSError as error:
            loader.outcomes.append(Outcome(module, 0, *loader.words(module, error)))
            continue
        if module.problem:
            loader.outcomes.append(Outcome(module, 0, module.problem, module.cure))
        else:
            scores.append((module, score))
    return sorted(scores, key=lambda each: -each[1])


def _check(loader: _Loader, wanted: Sequence[str], found: Sequence[Module]) -> None:
    """Raise if a back end that was asked for isn't there, or has nothing to compute on."""
    registered = loader.names()
    for name in wanted:
        if name == CPU or name in registered or registered & set(REGISTERED.get(name, ())):
            outcome = next((o for o in loader.outcomes if o.registry and o.module.is_called(name)), None)
            if outcome is None or name in (CPU, "rpc") or loader.has_devices(outcome.registry):
                continue
            cure = _no_device(outcome.module)
            raise BackendLoadError(
                f"{modules.VARIABLE} names {name!r}, which found no device ({outcome.module.path}). {cure}"
            )
        tried = [outcome for outcome in loader.outcomes if outcome.module.is_called(name)]
        if any(outcome.registry for outcome in tried):
            continue  # by the name of its distribution
        if tried:
            reasons = "; ".join(describe(outcome) for outcome in tried)
            raise BackendLoadError(f"{modules.VARIABLE} names {name!r}, which can't be used: {reasons}")
        installed = {module.name for module in found} | registered
        raise BackendLoadError(
            f"{modules.VARIABLE} names {name!r}, which isn't installed; there are: "
            f"{', '.join(sorted(installed))}. {how_to_get(name, loader._opened.set.found_via)}"
        )


def how_to_get(name: str, found_via: str) -> str:
    """Return how to get the back end ``name`` for a library that was found so."""
    if found_via != "bundled":
        return f"Next to a library of your own ({found_via}) only modules of its folder are taken"
    from .._lib import cures

    return cures.how_to_get(name)


def about_missing(name: str, loaded: Mapping[str, int], outcomes: Sequence[Outcome], found_via: str) -> str:
    """Return what may be why there is no device or back end ``name``, for an error; "" if nothing is known.

    ``loaded``: how many devices each loaded back end has, by its name.
    """
    from .._lib import cures

    back_end = cures.back_end_of(name)
    devices = {cures.OTHER_NAMES.get(each.lower(), each.lower()): count for each, count in loaded.items()}
    said = [
        f"The back end {each.module.name} is not loaded: {describe(each)}"
        for each in outcomes
        if each.cure and not each.registry and each.module.name != CPU
    ]
    if back_end in devices:
        if devices[back_end] == 0:
            said.append(f"The back end {back_end} finds no device. {without_device(back_end)}")
    elif back_end is not None and all(each.module.name != back_end for each in outcomes):
        said.append(f"The back end {back_end} isn't installed. {how_to_get(back_end, found_via)}")
    return "".join(f". {text.rstrip('. ')}" for text in said)


def how_to_get_again(name: str) -> str:
    """Return how to replace the back end ``name``, whose file is at fault."""
    from .._lib import cures

    return cures.how_to_get(name, again=True)


def _again(module: Module) -> str:
    """Return what helps where a module itself is at fault, or nothing is known."""
    from .._lib import cures

    if module.label or (module.name in cures.PLUGINS and module.found_via == "bundled"):
        return how_to_get_again(module.label or module.name)
    return f"What brought it ({module.found_via}) must be installed or built again, for this system"


def _refusal(lines: Sequence[str]) -> str:
    """Return what llama.cpp said about a module that it doesn't take."""
    said = [line for line in lines if "load_backend" in line or "fail" in line.lower() or "error" in line]
    texts = [line.partition(": ")[2] or line for line in said]
    return "; ".join(text.strip() for text in texts[-2:]) or "llama.cpp refuses it without a word"


def _no_device(module: Module) -> str:
    return without_device(module.name) or module.cure or _again(module)


def without_device(name: str) -> str:
    """Return what to do if the back end ``name`` finds no device, "" if that is usual."""
    from .._lib.cures import NO_DEVICE

    return NO_DEVICE.get(name, "")
