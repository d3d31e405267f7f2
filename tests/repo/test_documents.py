"""The documents say what is so: links lead somewhere, variables and commands are those of the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from build_backends.version import package_version

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/*.md", "examples/*/*.md", "benchmarks/*.md")
    for path in sorted(ROOT.glob(pattern))
]
CODE = ("llama_ffi", "bindgen", "build_backends", "vendor")
# Definitions of our own cmake project: they look alike and are not read from the environment.
CMAKE = {"LLAMA_FFI_RPATH", "LLAMA_FFI_SOURCE_DIR", "LLAMA_FFI_TAG"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), target


def test_every_document_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for document in (ROOT / "docs").rglob("*.md"):
        assert f"({document.relative_to(ROOT).as_posix()})" in readme, document


def test_every_environment_variable_is_documented() -> None:
    read = set()
    for folder in (*CODE, "tests"):
        for file in (ROOT / folder).rglob("*.py"):
            found = re.findall(r"[\"'](LLAMA_(?:FFI|CPP)_[A-Z_]+)[\"']", file.read_text(encoding="utf-8"))
            read |= set(found)
    documented = set(
        re.findall(
            r"^\| `(LLAMA_\w+)`", (ROOT / "docs/environment.md").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    assert documented == read - CMAKE


def test_the_map_names_what_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"^\| `([\w/]+/)`", text, re.MULTILINE):
        assert (ROOT / name).is_dir(), name


def test_ci_runs_what_the_readme_promises() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "LLAMA_FFI_EXPECT_NO_SKIPS=1" in ci
    assert "pip install . " in readme
    assert 'pip" install -q .' in ci
    assert "pip install -e '.[test]' && .venv/bin/pytest -n 2\n" in readme
    assert "python -m pytest -n 2 " in ci
    assert 'llama-ffi generate "Once upon a time"' in readme
    assert 'llama-ffi generate "Once upon a time"' in ci
    assert subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")]).returncode == 0


def test_the_command_is_the_module() -> None:
    """`llama-ffi`, the script that pip makes, and `python -m llama_ffi` run the same function."""
    assert '\nllama-ffi = "llama_ffi.cli:main"\n' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    module = (ROOT / "llama_ffi" / "__main__.py").read_text(encoding="utf-8")
    assert "from .cli import main" in module


def test_one_version() -> None:
    declared = package_version()  # what hatchling is told
    program = "import llama_ffi; print(llama_ffi.__version__)"
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert printed == declared
    assert f"## [{declared}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_only_the_pin_names_the_version_of_llama_cpp() -> None:
    """A bump is one file: the commit's full hash stands in PIN.toml and in generated files, nowhere else."""
    (commit,) = re.findall(r'"([0-9a-f]{40})"', (ROOT / "vendor" / "PIN.toml").read_text(encoding="utf-8"))[
        :1
    ]
    tracked = subprocess.run(
        ["git", "grep", "-lI", commit], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    assert [f for f in tracked if not f.startswith(("vendor/PIN.toml", "llama_ffi/_abi/"))] == []
