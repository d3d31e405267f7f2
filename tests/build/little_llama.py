"""A llama.cpp of a few lines, so that fetching and building can be tried whole in seconds."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from vendor import tree

CMAKE_LISTS = """\
set(LLAMA_VERSION 9.9.9)
add_library(ggml-base SHARED ggml/base.c)
add_library(ggml-cpu SHARED ggml/cpu.c)
target_link_libraries(ggml-cpu PUBLIC ggml-base)
set(GGML_AVAILABLE_BACKENDS ggml-cpu CACHE INTERNAL "")
if(GGML_BACKEND_DL)
  add_library(ggml-rpc MODULE ggml/cpu.c)
  target_link_libraries(ggml-rpc PRIVATE ggml-base)
  set(GGML_AVAILABLE_BACKENDS ggml-rpc CACHE INTERNAL "")
endif()
add_library(ggml SHARED ggml/ggml.c)
target_link_libraries(ggml PUBLIC ggml-cpu ggml-base)
add_library(llama SHARED src/llama.c)
target_link_libraries(llama PUBLIC ggml)
set_target_properties(llama PROPERTIES VERSION 9.9.9 SOVERSION 9)
add_library(mtmd SHARED tools/mtmd/mtmd.c)
target_link_libraries(mtmd PUBLIC llama)
"""

FILES = {
    "CMakeLists.txt": CMAKE_LISTS,
    "LICENSE": "a licence\n",
    "licenses/LICENSE-other": "another licence\n",
    "vendor/thing/LICENSE": "a third licence\n",
    "ggml/base.c": "int base(void) { return 1; }\n",
    "ggml/cpu.c": "int base(void);\nint cpu(void) { return base(); }\n",
    "ggml/ggml.c": "int cpu(void);\nint ggml(void) { return cpu(); }\n",
    "src/llama.c": "int ggml(void);\nint llama(void) { return ggml(); }\n",
    "tools/mtmd/mtmd.c": "int llama(void);\nint mtmd(void) { return llama(); }\n",
    **{header: f"/* {header} */\n" for header in tree.HEADERS},
}

# Not kept: what stands beside the wanted files in a real archive.
OTHER_FILES = {"docs/guide.md": "x" * 1000, "tools/ui/app.js": "y", "models/big.gguf": "z"}

FAKE_PIP = """\
import os, shutil, sys, time
with open(os.environ["FAKE_PIP_CALLS"], "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
if os.environ.get("FAKE_PIP_ERROR"):
    print("Collecting things")
    print("ERROR: " + os.environ["FAKE_PIP_ERROR"])
    sys.exit(1)
time.sleep(float(os.environ.get("FAKE_PIP_DELAY", "0")))
destination = sys.argv[sys.argv.index("--dest") + 1]
shutil.copy(os.environ["FAKE_PIP_FILE"], destination)
"""


def write_tree(root: Path, files: dict[str, str]) -> Path:
    """Write `files` below `root` and return it."""
    for relative, text in files.items():
        (root / relative).parent.mkdir(parents=True, exist_ok=True)
        (root / relative).write_text(text, encoding="utf-8")
    return root


def pack(
    target: Path, prefix: str, files: dict[str, str], extra: list[tarfile.TarInfo] | None = None
) -> Path:
    """Pack `files` below `prefix` into a gzipped tar file; `extra` members go last, as they are."""
    with tarfile.open(target, "w:gz") as tar:
        for relative, text in files.items():
            member = tarfile.TarInfo(f"{prefix}/{relative}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
        for member in extra or []:
            tar.addfile(member)
    return target
