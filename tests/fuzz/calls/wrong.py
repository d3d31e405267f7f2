"""Wrong values: what a parameter gets that is not what a program would give it.

Three sorts: anything at all (WILD), for parameters that take memory or time only what no machine would try to
honour (BOUNDED), and what is just outside of the right range (NEAR).
"""

from __future__ import annotations

import random
from typing import Any

WILD: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    7,
    63,
    64,
    65,
    255,
    256,
    257,
    4096,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32,
    2**63,
    -(2**63),
    2**64,
    10**30,
    0.5,
    -0.0,
    1e38,
    1e300,
    {"float": "nan"},
    {"float": "inf"},
    {"float": "-inf"},
    "",
    "a",
    "\x00",
    "root",
    "é" * 40,
    {"text": "surrogate"},
    {"text": "long"},
    {"bytes": ""},
    {"bytes": "ff00fe"},
    [],
    [0],
    [-1],
    [1, 2, 3],
    [2**40],
    ["a"],
    [None],
    [[1], [2]],
    {"tuple": [1, 2]},
    {"dict": [[1, 2]]},
    {"dict": []},
    {"object": ""},
    {"array": ["int32", [1, 2]]},
    {"array": ["float64", [0.5, 1.0]]},
    {"array": ["int32", []]},
    {"array": ["object", [1, 2]]},
    {"array": ["float32", [[1.0, 2.0]]]},
    {"function": "none"},
    {"type": "int"},
    {"function": "raises"},
    {"path": "missing/file"},
    {"path": "noise.gguf"},
    {"path": "."},
    {"file": "noise.gguf"},
    {"slice": [0, 2]},
    {"range": 5},
    {"set": [1, 2]},
    {"iterator": [1, 2, 3]},
    {"array": ["bool", [True, False]]},
]
"""What no parameter expects, and what many do."""

BOUNDED = {
    "n_ctx": [-1, 1, 2**32, 2**64, 0.5, None, "a", 3, 257],
    "n_batch": [-1, 0, 1, 2**32, 2**64, 0.5, None, "a", 3],
    "n_ubatch": [-1, 0, 1, 2**32, 0.5, "a", 3],
    "n_threads": [-1, 0, 2**31, 2**64, 0.5, "a", 3],
    "n_threads_batch": [-1, 0, 2**31, 0.5, "a", 3],
    "capacity": [-1, 0, 2**31, 2**64, 0.5, None, "a", 5000],
    "n_seq_max": [-1, 0, 3, 256, 257, 2**31, 0.5, "a"],
    "max_tokens": [-2, 0, 2.5, "a"],
    "max_windows": [-1, 2**70, 0.5, "a"],
    "epochs": [-1, 0, 0.5, "a"],
    "isolate": [False, "a", -1, {"float": "nan"}],
    "n_vocab": [-1, 0, 1, 2**31, 2**64, 0.5, "a"],
    "penalty_last_n": [-2, 0, 2**31, 2**64, 0.5, "a", 1000],
    "allowed_length": [-1, 2**31, 0.5],
    "mmap": [True, False],
    "bindings": [None, "nothing", 1],
    "library": [None, "nothing", 1],
    "strategy": ["disabled", "nothing", -1, None],
    "kind": ["llama", "nothing", 3, None],
    "messages": [None, [], [1], "a", [{"dict": []}], [{"dict": [["role", 1]]}]],
}
"""Wrong values for what takes memory or time: as wrong, but none that a machine would try to honour."""

NEAR = {
    "d": [0, -1, 2**31],
    "token": [-1, 410, 2157, 10**6, 2**31 - 1],
    "seq_id": [-1, 2, 255, 256, 300, 2**31],
    "seq_id_dst": [-1, 2, 256],
    "seq_id_src": [-1, 2, 256],
    "i": [-2, 1, 64, 2**31, -(2**31)],
    "index": [-1, 2, 2**31],
    "delta": [2**31 - 1, -(2**31)],
    "pos": [-1, 2**31 - 1, 2**31],
    "grammar": ["root ::= (", 'r ::= "x"', "root ::= root", "root ::= [^", 'root ::= "a"{1,99999999}'],
}
"""Values just outside, or far outside, of what is right: half of the wild ones."""


def wild(random_: random.Random, slots: list[str]) -> Any:
    """Return anything, objects of the run included."""
    if slots and random_.random() < 0.25:
        return {"slot": random_.choice(slots)}
    return random_.choice(WILD)
