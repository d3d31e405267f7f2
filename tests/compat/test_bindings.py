"""The drop-in on bindings that `llama-ffi bind` made: the declarations are those of the user's headers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llama_ffi import library_info, tiny_model_path
from tests.compat.conftest import ROOT, Run
from vendor.fetch import fetch

pytestmark = pytest.mark.model

PROGRAM = f"""
from llama_ffi.compat import llama_cpp as low
assert low._api.__file__.startswith(FOLDER), low._api.__file__
model = low.llama_model_load_from_file({str(tiny_model_path())!r}.encode(), low.llama_model_default_params())
print(low.llama_model_n_embd(model), low.llama_model_kv_override.value.offset)
low.llama_model_free(model)
"""


def test_they_come_from_the_headers_of_the_user(tmp_path: Path, python: Run) -> None:
    source = fetch(progress=False)
    made = tmp_path / "mine"
    command = [sys.executable, "-m", "llama_ffi", "bind", "--lib", str(library_info().libraries.folder)]
    command += [f"--include={source / each}" for each in ("include", "ggml/include", "tools/mtmd")]
    command += ["--name", str(made)]
    bound = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, cwd=tmp_path
    )
    assert bound.returncode == 0, bound.stderr
    environment = {"LLAMA_FFI_BINDINGS": str(made)}
    program = f"FOLDER = {str(made)!r}\n{PROGRAM}"
    embd, offset = python("-c", program, env=environment).stdout.split()
    assert int(embd) > 0 and int(offset) > 0

    (made / "ctypes_api.py").unlink()
    refused = python("-c", program, env=environment, ok=False)
    assert "AbiMismatchError: the bindings 'mine' have no declarations for ctypes" in refused.stderr
