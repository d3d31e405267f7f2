"""Back ends that were built for the tests.

`LLAMA_FFI_TEST_BUILDS` names a folder that holds what `python -m build_backends.build NAME --out FOLDER/NAME`
has made; without it what lies in the cache is taken.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import llama_ffi as lf
from vendor.cache import cache_folder

VARIABLE = "LLAMA_FFI_TEST_BUILDS"

LLVMPIPE = {"GGML_VK_VISIBLE_DEVICES": "0", "GGML_VK_DISABLE_F16": "1", "GGML_VK_DISABLE_COOPMAT": "1"}
"""Upstream's own settings for a Vulkan device that is the processor: it isn't taken by itself."""


def tag() -> str:
    return lf.library_info().commit[:9]


def built(name: str) -> Path:
    """Return the folder of a built back end, or skip the test by the back end's name."""
    named = os.environ.get(VARIABLE)
    folder = Path(named, name) if named else cache_folder() / "backends" / f"{name}-{tag()}"
    if not (folder / "manifest.json").is_file():
        pytest.skip(
            f"the back end {name!r} isn't built: python -m build_backends.build {name}; or set {VARIABLE}"
        )
    return folder


def beside_core(folder: Path, name: str, scratch: Path) -> dict[str, str]:
    """Return the environment in which the plugin in `folder`, and no other, goes with our library."""
    place = scratch / "backends" / f"{name}-{tag()}"
    place.parent.mkdir(parents=True)
    place.symlink_to(folder)
    module = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["backend"]
    return {"LLAMA_FFI_CACHE": str(scratch), "LLAMA_FFI_BACKEND": module}
