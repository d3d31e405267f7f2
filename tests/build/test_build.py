"""Building: names, manifest, cache; neither an interruption nor a second process leaves half a result."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from little_llama import FILES

from build_backends import build, command, publish, stage
from build_backends.errors import BuildError
from build_backends.settings import Settings, parse_settings
from vendor import tree
from vendor.cache import _try_lock as try_lock
from vendor.cache import locked

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.native  # needs cmake, ninja and a compiler, as the libraries do


def elf(file: Path) -> str:
    return subprocess.run(["readelf", "-d", str(file)], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def runs(monkeypatch):
    """Count how often cmake is run."""
    from build_backends import cmake

    real, calls = cmake.run, []

    def counted(*arguments):  # of cmake.run
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(cmake, "run", counted)
    return calls


def test_libraries_manifest_probe_and_licences(little_project) -> None:
    folder = build.build(Settings())
    manifest = json.loads((folder / "manifest.json").read_text())
    tag = "x" + tree.digest(little_project)[:8]
    suffix = ".dylib" if sys.platform == "darwin" else ".so"
    assert manifest["libraries"] == {
        "ggml-base": f"libggml-base-{tag}{suffix}",
        "ggml-cpu": f"libggml-cpu-{tag}{suffix}",
        "ggml": f"libggml-{tag}{suffix}",
        "guard": f"libllama_ffi_guard-{tag}{suffix}",
        "llama": f"libllama-{tag}{suffix}",
        "mtmd": f"libmtmd-{tag}{suffix}",
    }
    assert manifest["format"] == 1
    assert manifest["modules"] == {}
    assert manifest["backend"] == "native"
    assert manifest["llama_version"] == "9.9.9"
    assert manifest["commit"] == "0" * 40  # no repository, not the pinned tree
    assert manifest["headers_sha256"] == tree.headers_digest(little_project)
    assert "-DGGML_OPENMP=OFF" in manifest["flags"]
    assert manifest["compiler"]
    assert manifest["system"]
    assert (folder / "probe.json").read_bytes() == b'{"a":1,"b":2}'
    assert manifest["probe_sha256"] == hashlib.sha256(b'{"a":1,"b":2}').hexdigest()
    assert sorted(file.name for file in (folder / "licenses").iterdir()) == [
        "llama.cpp-LICENSE",
        "llama.cpp-LICENSE-other",
        "thing-LICENSE",
    ]
    assert not [file for file in folder.rglob("*") if file.is_symlink()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files")
def test_each_file_is_named_as_its_soname_and_looks_beside_itself(little_project) -> None:
    folder = build.build(Settings())
    for name in json.loads((folder / "manifest.json").read_text())["libraries"].values():
        text = elf(folder / name)
        assert f"soname: [{name}]" in text
        assert "[$ORIGIN]" in text
        content = (folder / name).read_bytes()
        assert str(folder.parent).encode() not in content
        assert str(little_project).encode() not in content


def test_a_second_build_compiles_nothing(little_project, runs) -> None:
    assert build.build(Settings()) == build.build(Settings())
    assert len(runs) == 1


def test_other_inputs_are_another_build(little_project, runs, monkeypatch) -> None:
    results = {build.build(Settings())}
    results.add(build.build(parse_settings({"cmake.define.SOMETHING": "1"})))
    monkeypatch.setenv("CFLAGS", "-O1")
    results.add(build.build(Settings()))
    (little_project / "src/llama.c").write_text(FILES["src/llama.c"] + "int more;\n")
    results.add(build.build(Settings()))
    assert len(results) == len(runs) == 4


def test_a_changed_probe_compiles_only_the_probe(little_project, cache) -> None:
    first = build.build(Settings())
    (build.PROJECT / "probe.c").write_text('#include <stdio.h>\nint main(void) { puts("[3]"); }\n')
    second = build.build(Settings())
    assert second != first
    assert second.parent == first.parent
    assert (second / "probe.json").read_bytes() == b"[3]"
    log = (second.parent / "build.log").read_text()
    assert "probe.c" in log
    assert "llama.c.o" not in log


@pytest.mark.parametrize("copied", [False, True])
def test_a_cache_that_was_moved(little_project, cache, tmp_path, monkeypatch, copied) -> None:
    build.build(Settings())
    (shutil.copytree if copied else shutil.move)(cache, tmp_path / "moved")
    monkeypatch.setenv("LLAMA_FFI_CACHE", str(tmp_path / "moved"))
    (build.PROJECT / "probe.c").write_text('#include <stdio.h>\nint main(void) { puts("[3]"); }\n')
    found = build.build(Settings())
    assert tmp_path / "moved" in found.parents
    assert stage.is_complete(found)


OUTER = """
cmake_minimum_required(VERSION 3.21)
project(outer NONE)
include(ExternalProject)
ExternalProject_Add(inner SOURCE_DIR "${CMAKE_SOURCE_DIR}/inner" BUILD_ALWAYS ON INSTALL_COMMAND "")
"""
INNER = """
cmake_minimum_required(VERSION 3.21)
project(inner NONE)
add_custom_target(all_of_it ALL COMMAND "${CMAKE_COMMAND}" -E touch "${CMAKE_SOURCE_DIR}/made")
"""


@pytest.mark.skipif(os.name == "nt", reason="links to programs")
def test_a_ninja_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip's build environment has one of its own each time; a project inside the build remembers it."""
    from build_backends import cmake, toolchain

    real = toolchain.find_toolchain()
    inner = tmp_path / "project" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "project" / "CMakeLists.txt").write_text(OUTER)
    (inner / "CMakeLists.txt").write_text(INNER)
    definitions = {"CMAKE_BUILD_TYPE": "Release"}
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        ninja = tmp_path / name / "ninja"
        ninja.symlink_to(str(real.ninja))
        monkeypatch.setenv("PATH", str(ninja.parent), prepend=os.pathsep)
        tools = toolchain.Toolchain(real.cmake, str(ninja), real.compilers, real.identity)
        with locked(tmp_path / "lock") as lock:
            cmake.run(
                *(tmp_path / "project", tmp_path / "build", tmp_path, definitions, ("inner",)),
                *(tools, tmp_path / "log", (), lock),
            )
        (inner / "made").unlink()
        ninja.unlink()


def test_a_result_that_lost_a_file_is_made_again(little_project, runs) -> None:
    folder = build.build(Settings())
    next(folder.glob("libllama-*")).unlink()
    assert not stage.is_complete(folder)
    assert stage.is_complete(build.build(Settings()))
    assert len(runs) == 2


@pytest.mark.parametrize("spoiled", ["truncated", "changed", "probe", "list", "words"])
def test_a_damaged_result_is_made_again(little_project, runs, spoiled) -> None:
    folder = build.build(Settings())
    library, manifest = next(folder.glob("libllama-*")), folder / "manifest.json"
    whole = library.read_bytes()
    if spoiled == "truncated":
        library.write_bytes(whole[: len(whole) // 2])
    elif spoiled == "changed":
        library.write_bytes(whole[:-1] + b"x")
    elif spoiled == "probe":
        (folder / "probe.json").write_text("{}")
    else:
        manifest.write_text({"list": "[]", "words": '{"format": 1, "libraries": "x", "modules": 1}'}[spoiled])
    assert not stage.is_complete(folder)
    assert build.build(Settings()) == folder
    assert stage.is_complete(folder)
    assert library.read_bytes() == whole
    assert len(runs) == 2
    assert "llama.c.o" not in (folder.parent / "build.log").read_text()  # nothing is compiled again


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "1", '"x"', "{}", "{", "null", '{"format": 1}', '{"format": []}'),
        '{"format": 1, "libraries": [], "modules": []}',
        '{"format": 1, "kind": "plugin", "module": 5, "size": 1, "sha256": ""}',
        '{"format": 1, "libraries": {"a": "../a"}, "modules": {}, "probe_sha256": "", "files": {}}',
    ],
)
def test_manifests_of_the_wrong_kind_are_damage(tmp_path, text) -> None:
    (tmp_path / "manifest.json").write_text(text)
    [wrong] = stage.damage(tmp_path)
    assert wrong.startswith("its manifest ")


def test_what_cmake_was_to_build_and_did_not_is_told(little_project) -> None:
    lists = little_project / "CMakeLists.txt"
    lists.write_text(lists.read_text() + "add_library(extra SHARED EXCLUDE_FROM_ALL ggml/base.c)\n")
    project = build.PROJECT / "CMakeLists.txt"
    text = project.read_text()
    assert "set(linked ggml-base ggml llama mtmd guard)" in text
    project.write_text(text.replace("llama mtmd guard)", "llama mtmd guard extra)"))
    with pytest.raises(BuildError, match=r"cmake was to build extra, and .*libextra-x.* is not there"):
        build.build(Settings())


def test_publishing_replaces_as_a_whole(little_project, tmp_path) -> None:
    folder = build.build(Settings())
    target = tmp_path / "package" / "_native"
    publish.publish(folder, target)
    assert stage.is_complete(target)
    before = target.stat().st_ino
    publish.publish(folder, target)
    assert target.stat().st_ino == before  # nothing to do
    (target / "libggml-stale.so").write_text("")
    (target / "manifest.json").write_text("{}")
    publish.publish(folder, target)
    assert stage.is_complete(target)
    assert not (target / "libggml-stale.so").exists()
    assert [file.name for file in target.parent.iterdir()] == ["_native"]


DRIVER = """\
import sys
from pathlib import Path
from build_backends import build
build.PROJECT = Path(sys.argv[1])
from build_backends.settings import Settings
print(build.build(Settings()))
"""


@pytest.mark.skipif(os.name != "posix", reason="locks of other systems aren't inherited")
def test_the_lock_is_held_until_the_last_compiler_ends(little_project, tmp_path, monkeypatch, cache) -> None:
    compiler = shutil.which(os.environ.get("CXX") or "c++")
    slow = tmp_path / "slow-c++"
    slow.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *calls.cpp*) touch {tmp_path}/waiting; '
        f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; touch {tmp_path}/over;; esac\n"
        f'exec {compiler} "$@"\n'
    )
    slow.chmod(0o755)
    monkeypatch.setenv("CXX", str(slow))
    victim = start()
    deadline = time.monotonic() + 300
    while not (tmp_path / "waiting").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(victim.pid, signal.SIGKILL)  # it alone: the compilers run on
    victim.wait()
    [lock] = cache.rglob("lock")
    descriptor = os.open(lock, os.O_RDWR)
    try:
        assert not try_lock(descriptor)
        (tmp_path / "go").touch()
        while not try_lock(descriptor):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert (tmp_path / "over").exists()
    finally:
        os.close(descriptor)
        (tmp_path / "go").touch()
    victim.communicate()
    assert stage.is_complete(build.build(Settings()))


def test_the_lock_ends_with_its_body_whoever_inherited_it(tmp_path) -> None:
    """A compiler's cache server goes on for hours."""
    with locked(tmp_path / "lock") as descriptor:
        server = subprocess.Popen(["sleep", "300"], pass_fds=(descriptor,))
    try:
        other = os.open(tmp_path / "lock", os.O_RDWR)
        assert try_lock(other)
        os.close(other)
    finally:
        server.kill()
        server.wait()


def test_the_compilers_that_were_found_are_those_that_build(little_project, tmp_path, monkeypatch) -> None:
    """cmake looks at PATH first, and has no idea of CUDA_HOME."""
    lists = little_project / "CMakeLists.txt"
    lists.write_text(
        lists.read_text()
        + 'file(WRITE "${CMAKE_BINARY_DIR}/told" "${CMAKE_CUDA_COMPILER} ${CUDAToolkit_ROOT}")\n'
        + "add_library(ggml-cuda MODULE ggml/cpu.c)\ntarget_link_libraries(ggml-cuda PRIVATE ggml-base)\n"
        + 'set(GGML_AVAILABLE_BACKENDS ggml-cuda CACHE INTERNAL "")\n'
    )
    for place, release in (("path", "12.8"), ("home/bin", "13.0")):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "nvcc").write_text(f"#!/bin/sh\necho 'release {release}, V{release}.1'\n")
        (tmp_path / place / "nvcc").chmod(0o755)
    (tmp_path / "home" / "lib64").mkdir()
    (tmp_path / "home" / "lib64" / "libcublas.so.13").touch()
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDACXX", raising=False)
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
    folder = build.build(Settings("cuda13"))
    [told] = (folder.parent / "work").rglob("told")
    assert told.read_text() == f"{tmp_path}/home/bin/nvcc {tmp_path}/home"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert not any("CUDA_COMPILER" in flag or str(tmp_path) in flag for flag in manifest["flags"])
    own = build.build(Settings("cuda13", {"CUDAToolkit_ROOT": "/mine"}))
    [told] = (own.parent / "work").rglob("told")
    assert told.read_text() == f"{tmp_path}/home/bin/nvcc /mine"


def test_the_package_says_where_it_could_not_be_written(little_project, tmp_path, monkeypatch) -> None:
    made = build.build_package(Settings("rpc"))
    assert made is not None
    shutil.rmtree(made.parent)
    made.parent.write_text("")  # a file where the folder was
    with pytest.raises(
        BuildError, match=r"Building in .*with-rpc-\S+ failed: .*LLAMA_FFI_CACHE names another"
    ):
        build.build_package(Settings("rpc"))


def start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(build.PROJECT)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_two_processes_build_once(little_project) -> None:
    both = [start() for _ in range(2)]
    ends = [process.communicate(timeout=500) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert ends[0][0] == ends[1][0]
    assert sum("configuring" in error for _, error in ends) == 1


def test_a_killed_build_is_gone_on_with(little_project, tmp_path, monkeypatch, cache) -> None:
    compiler = shutil.which(os.environ.get("CXX") or "c++")
    slow = tmp_path / "slow-c++"
    slow.write_text(
        "#!/bin/sh\n"
        f'cd "{tmp_path}"\n'
        'case "$*" in *calls.cpp*) touch waiting; while [ ! -e go ]; do sleep 0.05; done;; esac\n'
        'cd "$OLDPWD"\n'
        f'exec {compiler} "$@"\n'
    )
    slow.chmod(0o755)
    monkeypatch.setenv("CXX", str(slow))
    monkeypatch.setenv("CMAKE_BUILD_PARALLEL_LEVEL", "2")  # one waits, the other compiles the rest
    victim = start()
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if (tmp_path / "waiting").exists() and list(cache.rglob("libggml-base-*")):
            break
        time.sleep(0.05)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert not list(cache.rglob("manifest.json"))
    (tmp_path / "go").touch()  # the compiler that waits has outlived them: it holds the lock
    result = build.build(Settings())
    assert stage.is_complete(result)
    assert "base.c.o" not in (result.parent / "build.log").read_text()  # was compiled before the kill


def test_command_line_puts_the_result_where_it_is_wanted(little_project, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert command.main(["native", "--out", str(out), "-D", "SOMETHING=1"]) == 0
    assert stage.is_complete(out)
    assert "-DSOMETHING=1" in json.loads((out / "manifest.json").read_text())["flags"]
    assert capsys.readouterr().out == f"{out}\n"
