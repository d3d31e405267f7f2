"""Exceptions may pass through C functions in everything that is compiled: the guard's errors come that way.

Of Microsoft's compiler only the flags can be looked at here: cmake is told that it has one, and writes down
how it would call it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from little_llama import CMAKE_LISTS, FILES, write_tree

from build_backends import build, toolchain

# As llama.cpp's own: a project of its own, with a file in each language.
INNER = 'project(inner LANGUAGES C CXX)\nadd_compile_options("$<$<COMPILE_LANGUAGE:CXX>:/utf-8>")\n'
MORE = "add_library(more SHARED src/more.cpp src/llama.c)\n"


def commands(folder: Path, *options: str) -> dict[str, list[str]]:
    """Return how each file of the project and of a little llama.cpp would be compiled, by the file's name."""
    files = {**FILES, "CMakeLists.txt": INNER + CMAKE_LISTS + MORE, "src/more.cpp": "int more;\n"}
    root = write_tree(folder / "llama.cpp", files)
    tools = toolchain.find_toolchain()
    # The flags of another compiler make this one fail: what cmake finds out by trying is taken as given.
    known = [
        "-DCMAKE_C_COMPILER_WORKS=ON",
        "-DCMAKE_CXX_COMPILER_WORKS=ON",
        "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON",
    ]
    places = ["-S", str(build.PROJECT), "-B", str(folder / "build"), f"-DLLAMA_FFI_SOURCE_DIR={root}"]
    ninja = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tools.ninja}"]
    done = subprocess.run([tools.cmake, *places, *ninja, *known, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    entries = json.loads((folder / "build" / "compile_commands.json").read_text(encoding="utf-8"))
    return {Path(entry["file"]).name: entry["command"].split() for entry in entries}


@pytest.mark.skipif(sys.platform == "win32", reason="plays Microsoft's compiler")
@pytest.mark.parametrize("given", ["/DWIN32 /D_WINDOWS /GR /EHsc", "-GR -EHsc -W3", "/GR"])
def test_microsofts_compiler_lets_c_functions_throw(tmp_path: Path, given: str) -> None:
    found = commands(tmp_path, "-DMSVC=ON", f"-DCMAKE_CXX_FLAGS={given}")
    assert {"guard.cpp", "calls.cpp", "memory.cpp", "more.cpp", "llama.c", "probe.c"} <= set(found)
    for name, command in found.items():
        assert command.count("/EHs") == (1 if name.endswith(".cpp") else 0), name
        assert not {"/EHsc", "-EHsc"} & set(command), name
    others = [flag for flag in given.split() if not flag.endswith("EHsc")]
    assert set(others) <= set(found["more.cpp"])
    assert "-fexceptions" not in found["llama.c"]


def test_what_a_user_says_about_exceptions_stays(tmp_path: Path) -> None:
    found = commands(tmp_path, "-DMSVC=ON", "-DCMAKE_CXX_FLAGS=/EHa")
    assert "/EHa" in found["more.cpp"] and "/EHs" not in found["more.cpp"]


def test_other_compilers_let_c_functions_throw(tmp_path: Path) -> None:
    found = commands(tmp_path)
    for name in ("llama.c", "base.c", "cpu.c"):
        assert "-fexceptions" in found[name], name
    assert shutil.which(found["more.cpp"][0])
    assert not any("/EH" in flag for command in found.values() for flag in command)
