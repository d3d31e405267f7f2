"""The stub checks real code: mypy accepts good programs and names each mistake in bad ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bindgen.analyze import Bindings
from bindgen.pipeline import ROOT

PROGRAMS = Path(__file__).parent / "programs"
pytest.importorskip("mypy", reason="mypy is not installed: pip install llama-ffi[dev]")


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, str]]:
    """mypy's error codes by program and line."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--follow-imports=skip"]
    command += ["--config-file=", "--cache-dir", str(tmp_path_factory.mktemp("mypy"))]
    # Only what the programs need is read, with the packages that lead there, not all of llama_ffi.
    command += ["--explicit-package-bases", str(PROGRAMS), "llama_ffi/__init__.py", "llama_ffi/raw.py"]
    command += [f"llama_ffi/_abi/{name}" for name in ("__init__.py", "c_api.pyi", "enums.pyi")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, dict[int, str]] = {}
    for line in done.stdout.splitlines():
        match = re.match(r"(.*?):(\d+): error: .*\[([\w-]+)\]$", line)
        if match:
            found.setdefault(Path(match.group(1)).name, {})[int(match.group(2))] = match.group(3)
    return found


def test_good_programs_pass(complaints: dict[str, dict[int, str]]) -> None:
    assert complaints.get("good.py") is None


def test_the_stubs_themselves_pass(complaints: dict[str, dict[int, str]]) -> None:
    assert complaints.get("c_api.pyi") is None
    assert complaints.get("enums.pyi") is None


def test_each_mistake_is_an_error_and_nothing_else_is(complaints: dict[str, dict[int, str]]) -> None:
    lines = (PROGRAMS / "bad.py").read_text(encoding="utf-8").splitlines()
    marks = {i: line.partition("# error: ")[2] for i, line in enumerate(lines, 1) if "# error: " in line}
    assert complaints["bad.py"] == marks
    assert len(marks) == 18


def test_every_function_is_in_the_stub(bindings: Bindings) -> None:
    stub = (ROOT / "llama_ffi/_abi/c_api.pyi").read_text(encoding="utf-8")
    methods = set(re.findall(r"^    def (\w+)\(", stub[stub.index("class Lib:") :], re.MULTILINE))
    assert methods == {f.name for f in bindings.unit.functions}
