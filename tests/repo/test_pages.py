"""The API pages are built from the docstrings without a warning, and references lead somewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from devtools import names, pages

ROOT = Path(__file__).resolve().parents[2]


def test_references_lead_somewhere() -> None:
    assert pages.lost_references() == []


def test_the_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "devtools", "pages", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    page = (tmp_path / "llama_ffi.html").read_text(encoding="utf-8")
    for public in names.public_names():
        if public.module.startswith("llama_ffi.") and "." not in public.name and public.kind != "module":
            assert f'id="{public.name}"' in page, public.name
    assert '<a href="#Context.cancel">' in page  # a reference within a class
    assert ":meth:`" not in page
    modules = {each.name for each in names.public_names() if each.kind == "module" and "." not in each.name}
    assert modules <= {file.stem for file in (tmp_path / "llama_ffi").glob("*.html")}


DOC = """Do it, see :meth:`Model.load`; ``.log`` says more.

C: llama_a

Arguments:
    x: one,
        or two.
    y: three.

Raises:
    ThisError, ThatError.

Threads: any."""

MARKDOWN = """Do it, see `Model.load`; *.log* says more.

**C:** llama_a

**Arguments:**

- **x**: one,
  or two.
- **y**: three.

**Raises:**

- **ThisError, ThatError.**

**Threads:** any."""


def test_our_docstrings_as_markdown() -> None:
    assert pages.markdown(DOC) == MARKDOWN
