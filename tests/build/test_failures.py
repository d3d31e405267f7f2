"""A build that fails says in a few lines what to do, and where the whole log is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from build_backends import build, cmake, publish, toolchain
from build_backends.errors import BuildError
from build_backends.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "build_backends.build", "native", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_no_compiler_says_how_to_get_one_on_each_system(without_programs, cache, monkeypatch) -> None:
    monkeypatch.setattr(toolchain, "find_cmake", lambda: "cmake")
    monkeypatch.setattr(toolchain, "find_ninja", lambda: "ninja")
    without_programs()
    with pytest.raises(BuildError) as caught:
        build.build(Settings())
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("No compiler was found for C (cc, gcc, clang) and C++ (c++, g++, clang++).")
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "Debian, Ubuntu",
        "Fedora, RHEL",
        "macOS",
        "Windows",
    ]
    assert not cache.exists()


def test_only_the_missing_compiler_is_named(without_programs, monkeypatch) -> None:
    monkeypatch.setattr(toolchain, "find_cmake", lambda: "cmake")
    monkeypatch.setattr(toolchain, "find_ninja", lambda: "ninja")
    without_programs("cc")
    with pytest.raises(BuildError, match=r"^No compiler was found for C\+\+ \(c\+\+, g\+\+, clang\+\+\)\."):
        toolchain.find_toolchain()


def test_a_compiler_that_was_chosen_is_not_replaced(monkeypatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -x")
    with pytest.raises(
        BuildError, match=r"CXX is set to 'no-such-compiler -x', which does not run as a C\+\+"
    ):
        toolchain.find_toolchain()


def test_missing_tools_are_named_with_the_command(monkeypatch) -> None:
    monkeypatch.setattr(toolchain, "find_cmake", lambda: None)
    monkeypatch.setattr(toolchain, "find_ninja", lambda: None)
    with pytest.raises(BuildError, match=r"^cmake and ninja not found: python -m pip install cmake ninja$"):
        toolchain.find_toolchain()
    assert toolchain.build_requirements() == ["cmake>=3.21", "ninja"]


def test_a_shim_that_does_not_run_is_no_cmake(tmp_path, monkeypatch) -> None:
    shim = tmp_path / "cmake"
    shim.write_text("#!/bin/sh\necho 'shim: cmake: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "cmake", None)
    assert toolchain.find_cmake() is None
    shim.write_text("#!/bin/sh\necho 'cmake version 3.16.3'\n")
    assert toolchain.find_cmake() is None
    shim.write_text("#!/bin/sh\necho 'cmake version 3.25.1'\n")
    assert toolchain.find_cmake() == str(shim)


@pytest.mark.native
def test_a_compiler_that_makes_nothing(little_project, tmp_path, monkeypatch) -> None:
    broken = tmp_path / "broken-c++"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo broken 1.0 && exit 0\necho "error: broken" >&2\nexit 1\n'
    )
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    with pytest.raises(BuildError) as caught:
        build.build(Settings())
    message = str(caught.value)
    assert message.startswith("Configuring llama.cpp failed (status 1):")
    assert "broken" in message
    assert len(message.splitlines()) <= 8
    assert caught.value.log is not None
    assert "error: broken" in caught.value.log.read_text()
    assert message.endswith(f"The full log: {caught.value.log}")


@pytest.mark.native
def test_a_failing_configuration_shows_cmakes_reason(little_project) -> None:
    lists = little_project / "CMakeLists.txt"
    lists.write_text(
        'foreach(i RANGE 500)\nmessage(STATUS noise)\nendforeach()\nmessage(FATAL_ERROR "no vulkan here")\n'
    )
    done = run_cli()
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) <= 8
    assert "error: Configuring llama.cpp failed (status 1):" in lines
    assert any("no vulkan here" in line for line in lines)
    assert "noise" not in done.stderr
    assert "Traceback" not in done.stderr
    assert Path(lines[-1].removeprefix("The full log: ")).read_text().count("noise") == 501


@pytest.mark.native
def test_a_failing_compilation_shows_the_compilers_words(little_project) -> None:
    (little_project / "src/llama.c").write_text("int ggml(void);\nint llama(void) { return gmgl; }\n")
    with pytest.raises(BuildError) as caught:
        build.build(Settings())
    lines = str(caught.value).splitlines()
    assert lines[0] == "Compiling llama.cpp failed (status 1):"
    assert "gmgl" in lines[1]
    assert "llama.c:2" in lines[1]
    assert len(lines) <= 8


@pytest.mark.native
def test_places_that_cannot_be_written_are_named(little_project, tmp_path, monkeypatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    result = build.build(Settings())
    with pytest.raises(BuildError, match=r"could not be put into .*file/_native: .*Not a directory"):
        publish.publish(result, blocked / "_native")
    monkeypatch.setenv("LLAMA_FFI_CACHE", str(blocked))
    with pytest.raises(
        BuildError, match=r"Building in .*file.* failed: .*LLAMA_FFI_CACHE names another place"
    ):
        build.build(Settings())


def test_causes_are_few_short_and_first() -> None:
    log = "\n".join(
        [
            "-- noise -Werror=format",
            "x.cpp:1:2: warning: 'x' in error: y",
            "x.cpp:1:2: error: first",
            *["note: line"] * 400,
            "y.cpp:9: fatal error: " + "z" * 400,
        ]
    )
    found = cmake.causes(log)
    assert found[0] == "x.cpp:1:2: error: first"
    assert len(found) == 2
    assert len(found[1]) == 160
    assert cmake.causes("one\ntwo\n\nthree\n") == ["one", "two", "three"]
    assert len(cmake.causes("a.c:1: error: x\n" * 500)) == 6
    killed = "c++: fatal error: Killed signal terminated program cc1plus"
    assert cmake.causes(f"[1/2] Building x\n{killed}\nninja: build stopped\n") == [killed]


def test_the_number_of_jobs_can_be_chosen(monkeypatch) -> None:
    monkeypatch.setenv("CMAKE_BUILD_PARALLEL_LEVEL", "3")
    assert cmake.jobs() == 3
    monkeypatch.setenv("CMAKE_BUILD_PARALLEL_LEVEL", "many")
    with pytest.raises(BuildError, match="CMAKE_BUILD_PARALLEL_LEVEL is 'many': set how many compilers"):
        cmake.jobs()
    monkeypatch.delenv("CMAKE_BUILD_PARALLEL_LEVEL")
    assert cmake.jobs() >= 1
