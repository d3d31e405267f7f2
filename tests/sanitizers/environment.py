"""The build with sanitizers, and the environment in which Python can load it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SANITIZERS = "address,undefined"


def build() -> Path:
    """Return the folder with libllama, ggml and the guard under both sanitizers, built if need be."""
    from build_backends.build import build as build_
    from build_backends.settings import parse_settings

    return build_(parse_settings({"backend": "native", "cmake.define.LLAMA_FFI_SANITIZE": SANITIZERS}))


def runtimes(compiler: str = "cc") -> list[str]:
    """Return what must be in the process before everything else: the sanitizers' libraries.

    And libstdc++: AddressSanitizer looks for C++'s throw when it starts, and Python has none yet.
    """
    found = []
    for name in ("libasan.so", "libubsan.so", "libstdc++.so.6"):
        done = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True)
        path = os.path.realpath(done.stdout.strip())
        if not os.path.isfile(path):
            raise SystemExit(f"{compiler} has no {name}: the sanitizers of GCC are needed")
        found.append(path)
    return found


def variables(lib: Path | None, reports: Path, scratch: Path) -> dict[str, str]:
    """Return the environment for Python and its children; each process writes its reports into a folder."""
    helper = scratch / "report_path.so"
    source = Path(__file__).with_name("report_path.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", helper, source, "-lubsan"], check=True)
    address = {
        "detect_leaks": 0,  # CPython frees little at its end; tests/leaks and the fake library look for ours
        "halt_on_error": 0,
        "allocator_may_return_null": 1,
        "handle_segv": 0,  # tests of deaths look at the signal
        "handle_sigbus": 0,
        "handle_sigfpe": 0,
        "handle_abort": 0,
        "detect_odr_violation": 0,
        "log_path": reports / "asan",
    }
    undefined = {"print_stacktrace": 1, "halt_on_error": 0}
    found = {
        "LD_PRELOAD": " ".join([*runtimes(), str(helper)]),
        "ASAN_OPTIONS": ":".join(f"{name}={value}" for name, value in address.items()),
        "UBSAN_OPTIONS": ":".join(f"{name}={value}" for name, value in undefined.items()),
        "UBSAN_REPORT_PATH": str(reports / "ubsan"),
        "PYTHONMALLOC": "malloc",  # so that memory of Python's, cffi's too, has its red zones
        "GGML_NO_BACKTRACE": "1",
    }
    if lib is not None:
        found["LLAMA_FFI_LIB"] = str(lib)
    return found
