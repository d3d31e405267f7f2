"""Compile `loop.c` against the loaded library and make it callable.

The loop runs in this process, on this process's libllama and on the very context that the Python loop
uses: what differs between the two is the language, and nothing else.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import llama_ffi
from llama_ffi.raw import ffi

ROOT = Path(__file__).resolve().parent.parent
SOURCE = Path(__file__).with_name("loop.c")


def headers() -> list[str]:
    """Return the compiler's options for the headers of the pinned source."""
    command = [sys.executable, str(ROOT / "vendor" / "fetch.py"), "--print-path"]
    source = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    return [f"-I{source / 'include'}", f"-I{source / 'ggml' / 'include'}"]


class CLoop:
    """`bench_loop` of loop.c, linked to the libllama that this process has loaded.

    With `counting` it also has `count(name)`, for a process that runs under callgrind.
    """

    def __init__(self, counting: bool = False) -> None:
        paths = {key: str(path) for key, path in llama_ffi.library_paths().items()}
        with tempfile.TemporaryDirectory() as folder:
            built = Path(folder) / "loop.so"
            # Linked by file: the loader sees the same SONAME and takes the copy that is already loaded.
            link = [paths["llama"], f"-Wl,-rpath,{Path(paths['llama']).parent}"]
            compiler = os.environ.get("CC", "cc")
            command = [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", *headers(), str(SOURCE)]
            command += ["-DBENCH_CALLGRIND"] * counting
            subprocess.run([*command, "-o", str(built), *link], check=True)
            self._library = ctypes.CDLL(str(built))
        self._loop = self._library.bench_loop
        self._loop.restype = ctypes.c_double
        self._loop.argtypes = [
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_int32,
            ctypes.c_int32,
            ctypes.c_char_p,
            ctypes.c_int32,
            ctypes.c_void_p,
        ]

    def count(self, name: str) -> None:
        self._library.bench_count(name.encode())

    def __call__(self, ctx: Any, sampler: Any, prompt: list[int], n: int) -> tuple[float, bytes]:
        """Return the seconds that `n` tokens took after the prompt, and their text."""
        tokens = (ctypes.c_int32 * len(prompt))(*prompt)
        text = ctypes.create_string_buffer(64 * n)
        length = ctypes.c_int32()
        seconds = self._loop(
            address(ctx), address(sampler), tokens, len(prompt), n, text, len(text), ctypes.byref(length)
        )
        if seconds < 0:
            raise RuntimeError("the C loop failed")
        return seconds, text.raw[: length.value]


def address(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))
