"""A llama.cpp that isn't the pinned one: what the safe layer, written for the pinned one, finds there.

Each function is looked at when it is first used. It must be there with the pinned signature, or have a
stand-in in :mod:`.older`; else using it raises and everything else works. A field that the struct lacks has
its default: setting it to anything else raises. Nothing of this is imported on the pinned bindings.
"""

from __future__ import annotations

from typing import Any

from .._abi import layout
from .._abi import manifest as pinned
from .._abi._ffi import ffi as pinned_ffi
from .._lib.foreign import DEFAULTS
from ..errors import MissingFieldError, MissingFunctionError
from . import features, older
from .functions import Functions


class OtherFunctions:
    """The functions of another llama.cpp for the safe layer; attributes are C names."""

    def __init__(self, ffi: Any, functions: Any, raw: Functions) -> None:
        self._ffi = ffi
        self._functions = functions
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = self._find(name)
        setattr(self, name, value)
        return value

    def lacks(self, name: str) -> str | None:
        """Return why the safe layer can't call the C function ``name`` as it is, or None if it can."""
        if name in pinned.UNAVAILABLE or name not in pinned.FUNCTIONS:
            return None  # a constant, or nothing of ours
        if not self._raw.has(name):
            return f"{name} is not in {self._raw.library_of(name)}"
        theirs = self._ffi.typeof(getattr(self._raw, name))
        ours = _pinned_type(name)
        if _form(self._ffi, theirs) == _form(pinned_ffi, ours):
            return None
        return f"{name} is {_plain(theirs)} in {self._raw.library_of(name)}, not {_plain(ours)}"

    def lacks_field(self, struct: str, name: str) -> bool:
        """Tell whether ``struct`` isn't there, or has no field of this name and type."""
        theirs = _field(self._ffi, struct, name)
        ours = _field(pinned_ffi, struct, name)
        if theirs is None or ours is None:
            return theirs is None  # an older field, in the words of a stand-in
        return bool(_form(self._ffi, theirs.type) != _form(pinned_ffi, ours.type))

    def lacks_need(self, need: str) -> bool:
        """Tell whether a need of a feature is missing: a function, or a field as ``struct.field``."""
        struct, dot, field = need.partition(".")
        return self.lacks_field(struct, field) if dot else self.lacks(need) is not None

    def _find(self, name: str) -> Any:
        why = self.lacks(name)
        if why is None:
            return getattr(self._functions, name)
        stand_in = older.FUNCTIONS.get(name)
        if stand_in is not None and all(self._is(*need) for need in stand_in.needs.items()):
            return stand_in.make(self._ffi, self._functions)
        raise MissingFunctionError(f"{features.used_by(name)}{why}; {self.versions()}")

    def versions(self) -> str:
        """Return the half of a sentence that says which library is used and what the safe layer expects."""
        return (
            f"this library is {self._raw.version()} (found via {self._raw.found_via()}), the safe layer is "
            f"written for llama.cpp {pinned.COMMIT[:12]}"
        )

    def _is(self, name: str, c_type: str) -> bool:
        if not self._raw.has(name):
            return False
        found = self._ffi.typeof(getattr(self._raw, name))
        return bool(_form(self._ffi, found) == _form(self._ffi, self._ffi.typeof(c_type)))


class Fields:
    """A struct of parameters, some of whose fields this llama.cpp may lack; ``[0]`` is the struct itself."""

    __slots__ = ("_functions", "_pointer", "_said", "_struct")

    def __init__(self, pointer: Any, struct: str, functions: OtherFunctions) -> None:
        for name, value in (("_pointer", pointer), ("_struct", struct), ("_functions", functions)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_said", {})

    def __getitem__(self, index: int) -> Any:
        return self._pointer[index]

    def __getattr__(self, name: str) -> Any:
        if name in self._said or not self._has(name):
            return self._said.get(name, self._default(name))
        return getattr(self._pointer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        missing = self._missing(name)
        if not missing:
            setattr(self._pointer, name, value)
        elif value != self._default(name):
            self._say(name, value, missing)

    def _say(self, name: str, value: Any, missing: list[str]) -> None:
        words = older.FIELDS.get(f"{self._struct}.{name}", {}).get(getattr(value, "name", ""), {})
        if not words or not all(self._has(field) for field in words):
            field = f"{self._struct}.{name}"
            raise MissingFieldError(
                f"{features.used_by(field)}{field} can't be set to {getattr(value, 'name', value)}: "
                f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in "
                f"{self._functions._raw.library_of('llama_decode')}; {self._functions.versions()}"
            )
        for field, older_value in words.items():
            setattr(self._pointer, field, older_value)
        self._said[name] = value

    def _missing(self, name: str) -> list[str]:
        """Return what setting the field needs and this llama.cpp lacks."""
        field = f"{self._struct}.{name}"
        needs = {field, *(need for feature in features.needing(field) for need in features.FEATURES[feature])}
        return [need for need in sorted(needs) if self._functions.lacks_need(need)]

    def _has(self, name: str) -> bool:
        return not self._functions.lacks_field(self._struct, name)

    def _default(self, name: str) -> Any:
        return DEFAULTS.get(f"struct {self._struct}", ("", {}))[1].get(name, 0)


def _field(ffi: Any, struct: str, name: str) -> Any:
    try:
        return dict(ffi.typeof(f"struct {struct}").fields).get(name)
    except ffi.error:
        return None


def _pinned_type(name: str) -> Any:
    # the first parenthesis opens the parameters: no function of ours returns a pointer to a function
    return pinned_ffi.typeof(layout.FACTS["functions"][name].replace("(", "(*)(", 1))


def _form(ffi: Any, c_type: Any) -> Any:
    """Return what matters to a caller, so that two bindings can be compared: kinds and sizes, not names."""
    if c_type.kind == "function":
        return _form(ffi, c_type.result), tuple(_form(ffi, arg) for arg in c_type.args), c_type.ellipsis
    if c_type.kind == "enum" or (c_type.kind == "primitive" and c_type.cname not in _NOT_INTEGERS):
        return "integer", ffi.sizeof(c_type)
    return c_type.cname


_NOT_INTEGERS = frozenset({"float", "double", "_Bool", "char"})


def _plain(c_type: Any) -> str:
    return str(c_type.cname).replace("(*)", "")
