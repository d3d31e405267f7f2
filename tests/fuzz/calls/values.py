"""Arguments: written down as JSON, so that a list of calls can be run again.

A plain JSON value is itself; what JSON can't say is a dictionary with one key, its kind.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np

import llama_ffi as lf
from tests.fuzz.calls.odd import ODD

Described = Any

RAW: list[Any] = []
"""What raw code must keep."""
LOOK: list[Any] = []
"""What the function "look" does with the tensors that it is shown."""


class OwnError(Exception):
    """What a callback of the program raises."""


class AType:
    """A class where an object belongs. Called back as a function it raises what is the program's own."""

    def __init__(self, *args: Any) -> None:
        if args:
            raise OwnError("from a class")


def value(described: Described, slots: dict[str, Any], folder: Path) -> Any:
    """Return what a description stands for.

    Raises:
        KeyError: it names an object that doesn't exist (its call was left out).
    """
    if isinstance(described, list):
        return [value(each, slots, folder) for each in described]
    if not isinstance(described, dict):
        return described
    ((kind, what),) = described.items()
    match kind:
        case "slot":
            return slots[what]
        case "float":
            return float(what)
        case "bytes":
            return bytes.fromhex(what)
        case "text":
            return {"surrogate": "a\ud800b", "long": "once upon a time " * 2000}[what]
        case "path":
            return folder / what
        case "file":
            return io.BytesIO((folder / what).read_bytes())
        case "content":
            return (folder / what).read_bytes()
        case "array":
            return np.array(what[1], dtype=what[0])
        case "normal":
            return np.random.default_rng(what[0]).standard_normal(what[1:], np.float32)
        case "tuple":
            return tuple(value(each, slots, folder) for each in what)
        case "set":
            return set(what)
        case "range":
            return range(what)
        case "slice":
            return slice(*what)
        case "iterator":
            return iter(what)
        case "dict":
            return {value(key, slots, folder): value(each, slots, folder) for key, each in what}
        case "libraries":
            return lf.library_paths()["llama"].parent
        case "raw":
            return _raw_sampler(what)
        case "type":
            return AType
        case "function":
            return _function(what, slots)
        case "object":
            return object()
        case "odd":
            return ODD[what](folder)
    raise ValueError(f"no such description: {kind}")


def _raw_sampler(what: str) -> Any:
    """Return what raw code has made: the constructor of samplers takes such a pointer over."""
    ffi, lib = lf.raw.ffi, lf.raw.lib
    if what == "NULL":
        return lib.llama_sampler_init_grammar(ffi.NULL, b"root ::= (", b"root")
    if what == "greedy":
        return lib.llama_sampler_init_greedy()
    RAW.append((ffi.new("struct llama_sampler_i *"), ffi.new("int *")))
    return lib.llama_sampler_init(*RAW[-1])


def _function(what: str, slots: dict[str, Any]) -> Any:
    def raises(*_args: Any, **_kwargs: Any) -> Any:
        raise OwnError("from a callback")

    def back(*_args: Any, **_kwargs: Any) -> Any:
        """Call what is in use from inside."""
        for each in list(slots.values())[-6:]:
            for name in ("reset", "cancel", "close"):
                if hasattr(each, name) and type(each).__name__ != "Model":
                    try:
                        getattr(each, name)()
                    except Exception:
                        pass
        return True

    return {
        "look": lambda tensor: [each(tensor) for each in LOOK[-1:]] and None,
        "none": lambda *_args, **_kwargs: None,
        "true": lambda *_args, **_kwargs: True,
        "rate": lambda *_args: 1e-4,
        "nan": lambda *_args: math.nan,
        "raises": raises,
        "back": back,
    }[what]
