"""Compile the fake libllama and put a build manifest beside it that the verification accepts.

The C sources are compiled against the pinned headers, so a function that the fake gets wrong is an error
of the compiler; and the manifest may claim the bindings' own digests, because it was made from the same
headers.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from llama_ffi._abi import manifest
from llama_ffi._lib.verify import data_model

SOURCES = Path(__file__).resolve().parent / "c"
ROOT = SOURCES.parents[2]
FLAGS = ("-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread")


def headers() -> list[str]:
    """Return the compiler's options for the folders of the pinned headers."""
    command = [sys.executable, str(ROOT / "vendor" / "fetch.py"), "--print-path"]
    source = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return [f"-I{source}/include", f"-I{source}/ggml/include"]


def build(folder: Path) -> Path:
    """Compile the library into ``folder`` and return what ``LLAMA_FFI_LIB`` shall be.

    One file stands for all three libraries that are required: the loader doesn't mind.
    """
    name = "libfake.so"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    sources = sorted(str(each) for each in SOURCES.glob("*.c"))
    subprocess.run([*compiler, *FLAGS, *headers(), "-o", str(folder / name), *sources, "-lm"], check=True)
    content = {
        "format": 1,
        "commit": manifest.COMMIT,
        "llama_version": "fake",
        "backend": "fake",
        "headers_sha256": manifest.HEADERS_SHA256,
        "probe_sha256": manifest.LAYOUT_SHA256[data_model()],
        "libraries": {"ggml-base": name, "ggml": name, "llama": name},
        "modules": {},
    }
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    print(build(target))
