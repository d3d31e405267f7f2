"""What importing costs: `import llama_ffi` opens no library and pulls in nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ["numpy", "cffi", "pycparser", "logging", "llama_ffi._abi", "llama_ffi._lib", "asyncio", "ctypes"]


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_is_light() -> None:
    loaded = run("import sys, llama_ffi; print(*sys.modules)").split()
    assert [name for name in HEAVY if name in loaded] == []
    assert "llama_ffi" in loaded


def test_import_opens_no_library() -> None:
    maps = run("import llama_ffi\ntry: print(open('/proc/self/maps').read())\nexcept OSError: pass")
    assert "ggml" not in maps


@pytest.mark.native
def test_loading_the_library_needs_neither_generator_nor_numpy() -> None:
    loaded = run("import sys, llama_ffi; llama_ffi.raw.lib.llama_n_ctx; print(*sys.modules)").split()
    assert [name for name in ("numpy", "cffi", "pycparser", "logging", "ctypes") if name in loaded] == []
    assert "_cffi_backend" in loaded


def test_every_public_name_has_a_home() -> None:
    code = "import llama_ffi; print(sorted(n for n in llama_ffi.__all__ if not hasattr(llama_ffi, n)))"
    assert run(code).strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    code = "import llama_ffi\ntry: llama_ffi.nothing\nexcept AttributeError as error: print(error)"
    assert run(code).strip() == "module 'llama_ffi' has no attribute 'nothing'"
