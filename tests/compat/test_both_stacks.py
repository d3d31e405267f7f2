"""An unmodified llama-cpp-python with its own native build, llama_ffi, and torch in one process.

    pytest -m slow tests/compat/test_both_stacks.py

compiles llama-cpp-python once (minutes; it stays in the cache). The orders with torch need it:
``pip install torch``.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llama_ffi import library_info, tiny_model_path
from tests.compat import upstream
from tests.compat.conftest import ROOT

PROGRAM = Path(__file__).parent / "programs" / "both_stacks.py"
STACKS = ("llama_ffi", "llama_cpp", "torch")
ORDERS = [*itertools.permutations(STACKS[:2]), *itertools.permutations(STACKS)]


def run(*order: str) -> Any:
    site = upstream.with_native_build() / "site"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    command = [sys.executable, str(PROGRAM), str(tiny_model_path()), *order]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.index
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_all_of_them_work(order: tuple[str, ...]) -> None:
    upstream.require(*upstream.NEEDS)
    if "torch" in order and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is missing: pip install torch")
    result = run(*order)
    assert result["alone"] == result["together"]
    assert result["alone"]["llama_ffi"] == result["alone"]["llama_cpp"] != ""
    assert set(result["homes"]) == {"llama_ffi", "llama_cpp"}
    for file in result["homes"]["llama_ffi"]:
        assert Path(file).parent == library_info().libraries.folder.resolve()
    for file in result["homes"]["llama_cpp"]:
        assert "llama_cpp/lib" in file


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.index
def test_each_alone_writes_the_same() -> None:
    alone = {name: run(name)["alone"][name] for name in ("llama_ffi", "llama_cpp")}
    assert alone["llama_ffi"] == alone["llama_cpp"] == run("llama_ffi", "llama_cpp")["alone"]["llama_ffi"]


@pytest.mark.native
@pytest.mark.parametrize("module", ["llama_cpp", "mtmd_cpp"])
def test_a_global_ggml_is_refused_by_name(tmp_path: Path, module: str) -> None:
    """Another build's libraries, opened so that everybody sees their symbols, before ours."""
    files = library_info().libraries.files
    for path in files.values():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    other = tmp_path / files["ggml"].name
    program = f"""
import ctypes
ctypes.CDLL({str(other)!r}, mode=ctypes.RTLD_GLOBAL)
from llama_ffi.errors import ForeignGgmlError
try:
    from llama_ffi.compat import {module}
except ForeignGgmlError as error:
    print(error)
try:
    import llama_ffi.compat as c
    c.install()
    import llama_cpp.{module}
except ForeignGgmlError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith(f"another ggml is loaded with its symbols global, from {other}")
