"""The public names of cyllama's low-level module, as it says itself.

`python names.py`, where cyllama can be imported, prints them as JSON: functions and constants, and of
each class its members. names.json is what it printed for the release named there.
"""

from __future__ import annotations

import importlib
import json
import types
import typing
from collections import abc


def names() -> dict[str, object]:
    module = importlib.import_module("cyllama.llama.llama_cpp")
    found: dict[str, list[str]] = {}
    for name in sorted(vars(module)):
        value = getattr(module, name)
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        if getattr(typing, name, None) is not None or getattr(abc, name, None) is not None:
            continue  # what it imports
        if isinstance(value, type):
            if value.__module__ == module.__name__:
                found[name] = sorted(each for each in vars(value) if not each.startswith("_"))
        else:
            found[name] = []
    return {"version": importlib.import_module("cyllama").__version__, "names": found}


if __name__ == "__main__":
    print(json.dumps(names(), indent=0))
