"""The manifest's word on which library exports which function, checked on the built libraries."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

import pytest

from llama_ffi._abi.manifest import FUNCTIONS, UNAVAILABLE

pytestmark = pytest.mark.native
NATIVE = Path(__file__).resolve().parents[2] / "llama_ffi" / "_native"


@pytest.fixture(scope="module")
def symbols() -> dict[str, set[str]]:
    """The functions that each library defines itself: what `dlsym` finds in none of its dependencies."""
    manifest = json.loads((NATIVE / "manifest.json").read_text(encoding="utf-8"))
    found: dict[str, set[str]] = {}
    for key, file in manifest["libraries"].items():
        library = ctypes.CDLL(str(NATIVE / file))
        home = str((NATIVE / file).resolve())
        names = (*FUNCTIONS, *UNAVAILABLE)
        found[key] = {name for name in names if _defined_in(library, name) == home}
    return found


def _defined_in(library: ctypes.CDLL, name: str) -> str | None:
    """Return the file that a function found through `library` lies in."""
    try:
        address = ctypes.cast(getattr(library, name), ctypes.c_void_p)
    except AttributeError:
        return None
    info = _DlInfo()
    assert ctypes.CDLL(None).dladdr(address, ctypes.byref(info))
    return str(Path(info.file.decode()).resolve())


class _DlInfo(ctypes.Structure):
    _fields_ = [
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    ]


def test_every_function_is_in_its_library(symbols: dict[str, set[str]]) -> None:
    misplaced = {name: key for name, key in FUNCTIONS.items() if name not in symbols[key]}
    assert misplaced == {}


def test_unavailable_functions_are_in_none(symbols: dict[str, set[str]]) -> None:
    for name in UNAVAILABLE:
        assert not any(name in names for names in symbols.values()), name
