"""What can be called: every public function, constructor, method and property, found by looking."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from types import MemberDescriptorType, ModuleType
from typing import Any

import llama_ffi as lf
from llama_ffi._abi import manifest

SPECIAL = (
    "__len__", "__iter__", "__next__", "__getitem__", "__setitem__", "__contains__", "__enter__", "__exit__",
)  # fmt: skip
NOT_CALLED = {
    "testing.architectures": "makes a model of each of 153 kinds: seconds",
    "rpc.serve": "goes on until Ctrl-C",
    "diagnose": "looks at the system and compiles; no argument",
    "log.LogFile": "log.to_file makes one",
}
"""Left out, each with its reason."""
ONCE = {"numa_init": "a process chooses once"}
"""Rarely called again where it has returned, each with its reason."""
NOT_MADE = {
    "IsolatedModel": "calls no C in this process: another one does, and takes half a second to start",
    "IsolatedGeneration": "the same",
}
"""Classes whose methods are left out, each with its reason."""
PRIVATE = {
    "pointer",
    "generation",
    "progress",
    "entry",
    "info",
    "enter",
    "fields",
    "shape",
    "active",
    "home",
    "process",
}
"""Classes whose constructor needs one of these are made by others of ours."""


WITHOUT_ARGUMENTS = {"PythonSampler"}
"""Classes without a constructor of their own that a program makes objects of."""


RAW = {"Sampler"}
"""Classes whose constructor takes over what raw code has made; nothing else of raw code is called."""


@dataclass(frozen=True)
class Call:
    """One thing that can be called."""

    name: str
    """as a user writes it behind ``llama_ffi.`` """
    kind: str
    """"function", "constructor", "classmethod", "method" or "property" """
    owner: str
    """name of the class whose object it needs; "" = none"""
    parameters: tuple[inspect.Parameter, ...]
    says_c: bool
    """its docstring names C functions"""
    raises: frozenset[str] = frozenset()
    """the exceptions that its docstring names"""

    @property
    def member(self) -> str:
        return self.name.rsplit(".", 1)[-1]


MODULES = ("chat", "gguf", "log", "rpc", "splits", "testing")
"""Public modules with names of their own."""
NOT_LOOKED_INTO = {
    "raw": "checks nothing: it is C",
    "errors": "exceptions only",
}
"""Public modules that aren't fuzzed, each with its reason."""


def _modules() -> list[tuple[str, ModuleType]]:
    return [("", lf), *((f"{name}.", getattr(lf, name)) for name in MODULES)]


def _says_c(value: Any) -> bool:
    behind = re.findall(
        r"(?:^\s*|\. )C: (.*(?:\n\s*(?:llama|ggml|gguf)_.*)*)", inspect.getdoc(value) or "", re.M
    )
    names = {name for each in behind for name in re.findall(r"\b(?:llama|ggml|gguf)_\w+", each)}
    return not names.isdisjoint(manifest.FUNCTIONS)


def _told(value: Any) -> tuple[bool, frozenset[str]]:
    _, _, raises = (inspect.getdoc(value) or "").partition("Raises:")
    return _says_c(value), frozenset(re.findall(r"\b\w+(?:Error|Iteration)\b", raises))


def _parameters(value: Any) -> tuple[inspect.Parameter, ...]:
    found = inspect.signature(value).parameters.values()
    return tuple(each for each in found if each.name != "self")


def calls() -> dict[str, Call]:
    """Return everything that is called, by name."""
    found: dict[str, Call] = {}
    seen: set[int] = set()
    for prefix, module in _modules():
        for name in getattr(module, "__all__", None) or vars(module):
            value = getattr(module, name)
            home = getattr(value, "__module__", None) or ""
            if name.startswith("_") or not home.startswith("llama_ffi") or id(value) in seen:
                continue
            seen.add(id(value))
            if inspect.isclass(value):
                if not issubclass(value, Exception) and prefix + name not in NOT_MADE:
                    found.update((each.name, each) for each in _of_class(prefix + name, value))
            elif inspect.isfunction(value) and prefix + name not in NOT_CALLED:
                full = prefix + name
                found[full] = Call(full, "function", "", _parameters(value), *_told(value))
    return found


def _of_class(name: str, cls: type) -> list[Call]:
    plain = dataclasses.is_dataclass(cls) or issubclass(cls, tuple)
    found = []
    made = [] if plain or name in WITHOUT_ARGUMENTS else list(_parameters(cls))
    private = {each.name for each in made if each.default is each.empty} & PRIVATE
    made = [each for each in made if name in RAW or each.name != "pointer"]
    if name in RAW:
        private, made = set(), [each for each in made if each.name == "pointer"]
    if (
        name not in NOT_CALLED
        and (cls.__init__ is not object.__init__ or name in WITHOUT_ARGUMENTS)
        and not plain
        and not private
        and not inspect.isabstract(cls)
    ):
        found.append(Call(name, "constructor", "", tuple(made), *_told(cls)))
    for key, value in inspect.getmembers_static(cls):
        full = f"{name}.{key}"
        if (key.startswith("_") and key not in SPECIAL) or full in NOT_CALLED:
            continue
        if plain and issubclass(cls, tuple) and key not in vars(cls):
            continue  # a tuple's own
        if isinstance(value, property | MemberDescriptorType):
            found.append(Call(full, "property", name, (), *_told(value)))
        elif isinstance(value, classmethod | staticmethod):
            bound = getattr(cls, key)
            found.append(Call(full, "classmethod", "", _parameters(bound), *_told(value.__func__)))
        elif inspect.isfunction(value):
            found.append(Call(full, "method", name, _parameters(value), *_told(value)))
    return found


def chosen(calls: Iterable[str], only: Collection[str]) -> list[str]:
    """Return the names of calls that a run stays with: those named, or those of a class or module named."""
    parts = ((name, {name, name.rpartition(".")[0], name.split(".")[0]}) for name in calls)
    return [name for name, own in parts if not only or own & set(only)]


def target(name: str) -> Any:
    """Return the function or class of that name."""
    value: Any = lf
    for part in name.split("."):
        value = getattr(value, part)
    return value
