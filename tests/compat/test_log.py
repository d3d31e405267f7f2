"""The drop-in's llama_log_set: the program gets the pieces, llama_ffi keeps its log and its errors' lines."""

from __future__ import annotations

import pytest

from tests.compat.conftest import Run

pytestmark = pytest.mark.native

SET = """
import ctypes, logging, sys
import llama_ffi
from llama_ffi.compat import llama_cpp as low

pieces = []

@low.llama_log_callback
def log(level, text, user_data):
    pieces.append((level, text, user_data))

def fail():
    assert low.llama_model_load_from_file(b"/nowhere.gguf", low.llama_model_default_params()) is None
"""


def test_the_program_and_llama_ffi_both_get_it(python: Run) -> None:
    program = """
logging.basicConfig(level="ERROR", stream=sys.stdout, format="%(message)s")
low.llama_log_set(log, ctypes.c_void_p(7))
fail()
assert any(level == low.GGML_LOG_LEVEL_ERROR and b"/nowhere.gguf" in text for level, text, _ in pieces)
assert {data for _, _, data in pieces} == {7}
try:
    llama_ffi.Model.load(__file__ if "__file__" in globals() else sys.executable)
except llama_ffi.errors.ModelLoadError as error:
    print("error with", len(error.log) > 0 or "a pre-check")
"""
    said = python("-c", SET + program)
    assert "/nowhere.gguf" in said.stdout and "error with" in said.stdout
    assert said.stderr == ""


def test_quiet_until_asked_and_null_is_stderr(python: Run) -> None:
    said = python("-c", SET + "fail()\nprint('quiet')\nlow.llama_log_set(None, None)\nfail()")
    assert said.stdout == "quiet\n"
    assert said.stderr.count("/nowhere.gguf") >= 1
    assert python("-c", SET + "fail()").stderr == ""


def test_what_was_set_can_be_asked_for_and_put_back(python: Run) -> None:
    program = """
def get():
    callback, data = low.llama_log_callback(), ctypes.c_void_p()
    low.llama_log_get(ctypes.byref(callback), ctypes.byref(data))
    return callback, data

assert not get()[0] and get()[1].value is None
low.llama_log_set(log, None)
callback, data = get()
low.llama_log_set(None, None)
low.llama_log_set(callback, data)
fail()
assert pieces
try:
    low.llama_log_set(lambda *_: None, None)
except TypeError as error:
    print(error)
"""
    said = python("-c", SET + program)
    assert said.stdout == "expected a llama_log_callback or None, not function\n"
    assert said.stderr == ""
