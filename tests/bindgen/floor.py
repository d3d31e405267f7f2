"""What the pinned headers have above the floor, the headers of llama-cpp-python 0.3.16.

    python -m tests.bindgen.floor SOURCE > tests/unit/above_floor.json

SOURCE is a folder with the floor's headers. The slow tests get it by themselves and compare.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bindgen.analyze import Bindings
from bindgen.compare import compare
from bindgen.pipeline import find_source, load, load_present
from vendor.pin import IndexSource

ORIGIN = IndexSource(
    "llama-cpp-python",
    "0.3.16",
    "llama_cpp_python-0.3.16.tar.gz",
    50688636,
    "34ed0f9bd9431af045bb63d9324ae620ad0536653740e9bb163a2e1fcb973be6",
    "llama_cpp_python-0.3.16/vendor/llama.cpp/",
)
"""The source distribution that carries the floor's llama.cpp."""


def above_floor(floor: Bindings, pinned: Bindings) -> dict[str, list[str]]:
    """Return the C functions that are new or take other arguments, and the fields that are new or other."""
    changes = compare(floor, pinned, ("floor", "pinned")).changes
    functions = {change.name for change in changes if change.kind == "function added"}
    functions |= {c.name for c in changes if c.kind == "signature changed" and not c.abi_compatible}
    other = ("field inserted", "field appended", "field renamed", "field retyped")
    fields = {change.name.removeprefix("struct ") for change in changes if change.kind in other}
    return {"functions": sorted(functions), "fields": sorted(fields)}


if __name__ == "__main__":
    found = above_floor(load_present(Path(sys.argv[1])), load(find_source(None)))
    print(json.dumps(found, indent=1))
