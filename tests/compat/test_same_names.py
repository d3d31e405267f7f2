"""Our modules against llama-cpp-python 0.3.36's own: every exported name, every signature, every member."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llama_ffi import library_info
from llama_ffi.compat.llama_cpp import LEFT_OUT
from tests.compat import upstream
from tests.compat.conftest import ROOT

pytestmark = [pytest.mark.native, pytest.mark.index]

ADAPTERS = (
    "llama_adapter_get_alora_invocation_tokens",
    "llama_adapter_get_alora_n_invocation_tokens",
    "llama_adapter_lora_free",
    "llama_adapter_lora_init",
    "llama_adapter_lora_init_from_file_ptr",
    "llama_adapter_meta_count",
    "llama_adapter_meta_key_by_index",
    "llama_adapter_meta_val_str",
    "llama_adapter_meta_val_str_by_index",
    "llama_set_adapters_lora",
)
"""Here an adapter is an integer like every other handle, there a pointer to one."""


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Any:
    upstream.require(*upstream.NEEDS)
    folder = tmp_path_factory.mktemp("lib")
    for file in library_info().libraries.folder.glob("*.so"):
        (folder / file.name).symlink_to(file)
    for key in ("llama", "mtmd"):
        (folder / f"lib{key}.so").symlink_to(library_info().libraries.files[key])
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LLAMA_FFI_LIB": str(library_info().libraries.folder),
        "LLAMA_CPP_LIB_PATH": str(folder),
        "MTMD_CPP_LIB": str(folder),
    }
    program = Path(__file__).parent / "programs" / "compare.py"
    command = [sys.executable, str(program), str(upstream.python_code() / "site")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_exported_name_is_here(comparison: Any) -> None:
    assert len(comparison["exported"]) == 547
    missing = set(comparison["exported"]) - set(comparison["ours"])
    assert {name for name in missing if not name.startswith(tuple(LEFT_OUT))} == set()
    assert len(missing) == 36


def test_every_signature_and_member_is_the_same(comparison: Any) -> None:
    differs = {n: d for n, d in comparison["llama"].items() if not n.startswith(tuple(LEFT_OUT))}
    assert set(differs) == set(ADAPTERS), differs
    assert comparison["mtmd"] == {}
