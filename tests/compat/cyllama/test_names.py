"""Every public name of cyllama's low-level module is here, or docs/cyllama.md says why not."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

import llama_ffi.compat.cyllama as cy

pytestmark = pytest.mark.native  # constants are those of the library

ROOT = Path(__file__).resolve().parents[3]
RECORDED = json.loads(Path(__file__).with_name("names.json").read_text(encoding="utf-8"))
NAMES: dict[str, list[str]] = RECORDED["names"]


def documented() -> set[str]:
    text = (ROOT / "docs/cyllama.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def members(cls: type) -> set[str]:
    found = set(dir(cls))
    for each in cls.__mro__:
        found |= set(inspect.get_annotations(each))
    return found


def test_what_is_absent_is_what_the_page_lists() -> None:
    absent = {name for name in NAMES if not hasattr(cy, name)}
    assert absent == documented()
    assert len(NAMES) > 80 and len(absent) < len(NAMES) / 2


@pytest.mark.parametrize("name", [name for name, found in NAMES.items() if found and hasattr(cy, name)])
def test_classes_have_all_members(name: str) -> None:
    assert set(NAMES[name]) - members(getattr(cy, name)) == set()


def test_the_page_names_the_release() -> None:
    assert RECORDED["version"] in (ROOT / "docs/cyllama.md").read_text(encoding="utf-8")


def test_all_is_true() -> None:
    assert len(set(cy.__all__)) == len(cy.__all__)
    assert all(hasattr(cy, name) for name in cy.__all__)


def test_constants_come_from_the_library() -> None:
    assert (cy.LLAMA_POOLING_TYPE_MEAN, cy.LLAMA_ROPE_TYPE_NEOX, cy.GGML_LOG_LEVEL_ERROR) == (1, 2, 4)
    for wrong in ("LLAMA_NO_SUCH", "llama_decode", "ggml_time_ms"):
        with pytest.raises(AttributeError, match=wrong):
            getattr(cy, wrong)
