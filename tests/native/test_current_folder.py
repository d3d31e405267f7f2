"""Nothing in the current folder is ever loaded, whatever its name promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.native

HOSTILE = """
#include <stdio.h>
__attribute__((constructor)) static void run(void) {
    FILE * file = fopen("I-WAS-HERE", "w");
    if (file) fclose(file);
}
int ggml_backend_score(void) { return 1000000; }
void * ggml_backend_init(void) { return 0; }
"""

PROGRAM = """
import llama_ffi as lf
lf.devices()
lf.raw.lib.llama_supports_gpu_offload()
lf.raw.lib.llama_supports_rpc()
lf.raw.lib.llama_backend_init()
print(lf.available_backends())
"""

NAMES = [
    "libggml-cpu-zz.so",
    "libggml-cuda.so",
    "libllama.so",
    "libggml.so",
    "libggml-base.so",
    "libggml-rpc.so",
]


def test_hostile_libraries_in_the_current_folder_are_not_opened(tmp_path: Path) -> None:
    source = tmp_path / "hostile.c"
    source.write_text(HOSTILE)
    for name in NAMES:
        command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", str(source), "-o", str(tmp_path / name)]
        subprocess.run(command, check=True)
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "CPU" in done.stdout
    assert not (tmp_path / "I-WAS-HERE").exists()


def test_the_trap_works(tmp_path: Path) -> None:
    """The same library does leave its mark when it is opened."""
    source, library = tmp_path / "hostile.c", tmp_path / NAMES[0]
    source.write_text(HOSTILE)
    subprocess.run(
        [os.environ.get("CC", "cc"), "-shared", "-fPIC", str(source), "-o", str(library)], check=True
    )
    code = f"import ctypes; ctypes.CDLL({str(library)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "I-WAS-HERE").exists()
