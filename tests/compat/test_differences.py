"""Another version of llama-cpp-python: what it uses and we lack is named, what was renamed still works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llama_ffi.compat import differences
from llama_ffi.errors import LibraryNotFoundError
from tests.compat.conftest import Run

pytestmark = pytest.mark.native
Package = Callable[..., Path]

DECLARATIONS = """
class llama_model_params(ctypes.Structure):
    _fields_ = [("n_gpu_layers", ctypes.c_int32), ("use_mmap", ctypes.c_bool), ("use_magic", ctypes.c_bool)]

@ctypes_function("llama_vanished", [llama_context_p_ctypes], None)
def llama_vanished(ctx, /): ...

@ctypes_function("llama_n_ctx", [llama_context_p_ctypes, ctypes.c_int32], ctypes.c_uint32)
def llama_n_ctx(ctx, other, /): ...

@ctypes_function("llama_n_batch", [ctypes.c_float], ctypes.c_uint32)
def llama_n_batch(ctx, /): ...

@ctypes_function("llama_time_us", [], ctypes.c_int32)
def llama_time_us(): ...

@ctypes_function("llama_n_ubatch", [llama_context_p_ctypes], ctypes.c_uint32)
def llama_n_ubatch(ctx, /): ...

@ctypes_function("llama_sampler_init_penalties", [c_int32, c_float, c_float, c_float], llama_sampler_p_ctypes)
def llama_sampler_init_penalties(last_n, repeat, freq, present, /): ...
"""
CODE = """
def use(params, ctx):
    params.use_mmap = False
    params.use_magic = True
    llama_cpp.llama_vanished(ctx)
    llama_cpp.llama_n_ctx(ctx, 1)
    llama_cpp.llama_n_batch(1.0)
    llama_cpp.llama_n_ubatch(ctx)
    llama_cpp.llama_time_us()
    llama_cpp.llama_kv_self_seq_rm(ctx, 0, -1, -1)
    llama_cpp.LLAMA_GONE
    llama_cpp.llama_sampler_init_penalties(64, 1.1, 0.0, 0.0)
"""
EXPECTED = {
    "llama_model_params.use_magic": "no such member",
    "llama_vanished": "doesn't exist",
    "llama_n_ctx": "takes 1 arguments, not 2",
    "llama_n_batch": "argument 1 is an address, not a float",
    "llama_time_us": "result is 8 bytes wide, not 4 bytes wide",
    "LLAMA_GONE": "doesn't exist",
}


def test_each_difference_has_its_name(package: Package) -> None:
    site = package("0.2.0", DECLARATIONS, CODE)
    found = {d.name: d for d in differences(site / "llama_cpp")}
    assert set(found) == set(EXPECTED)
    for name, words in EXPECTED.items():
        assert words in found[name].what, name
        assert found[name].where.startswith("llama.py:")


def test_nothing_differs_for_code_that_uses_what_is_there(package: Package) -> None:
    site = package("0.9.0", code="llama_cpp.llama_decode\nllama_cpp.LLAMA_POOLING_TYPE_MEAN\n")
    assert differences(site / "llama_cpp") == []


def test_the_import_of_another_version_warns_once_by_name(python: Run, package: Package) -> None:
    program = "import llama_ffi.compat as c; c.install(); import llama_cpp, llama_cpp"
    done = python("-c", program, path=(package("0.2.0", DECLARATIONS, CODE),))
    assert done.stderr.count("VersionWarning: llama-cpp-python 0.2.0 runs on") == 1
    for name in EXPECTED:
        assert done.stderr.count(f"  {name} (llama.py:") == 1
    ours = package("0.3.36", DECLARATIONS, CODE)
    assert python("-W", "error", "-c", program, path=(ours,)).stderr == ""


def test_check_lists_them(python: Run, package: Package) -> None:
    done = python("-m", "llama_ffi.compat", "check", path=(package("0.2.0", DECLARATIONS, CODE),), ok=False)
    assert done.returncode == 1
    assert f"{len(EXPECTED)} differences" in done.stdout and "llama-cpp-python 0.2.0 in" in done.stdout
    clean = python("-m", "llama_ffi.compat", "check", path=(package("0.9.9"),))
    assert "0 differences" in clean.stdout
    absent = python("-m", "llama_ffi.compat", "check", ok=False)
    assert absent.returncode == 1 and absent.stderr.startswith("error: llama-cpp-python isn't installed")


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(LibraryNotFoundError, match=r"no llama_cpp\.py"):
        differences(tmp_path)


def test_old_forms_are_given_to_versions_that_know_them(python: Run, package: Package) -> None:
    program = """
import llama_ffi.compat as c; c.install()
import llama_cpp
sampler = llama_cpp.llama_sampler_init_penalties(64, 1.5, 0.0, 0.0)
assert llama_cpp.llama_sampler_name(sampler) == b"penalties"
llama_cpp.llama_sampler_free(sampler)
"""
    python("-W", "ignore", "-c", program, path=(package("0.2.0", DECLARATIONS, CODE),))
