"""What a recipe needs: looked for before cmake, named when missing, with the command that gets it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from build_backends import build, needs, recipes, toolchain
from build_backends.errors import BuildError
from build_backends.needs import Hints, Need, Situation
from build_backends.recipes import RECIPES
from build_backends.settings import Settings

NOTHING = Situation({}, {})

# What a bare machine of each family is told first.
FIRST_LINES = {
    ("vulkan", "debian"): "glslc, which compiles the shaders: sudo apt install glslc",
    ("vulkan", "fedora"): "glslc, which compiles the shaders: sudo dnf install glslc",
    ("vulkan", "macos"): "glslc, which compiles the shaders: brew install shaderc",
    ("vulkan", "windows"): "glslc, which compiles the shaders: winget install KhronosGroup.VulkanSDK",
    ("cuda13", "debian"): "nvcc 13, CUDA's compiler: with NVIDIA's apt repository: sudo apt install "
    "cuda-toolkit-13-0",
    ("cuda12", "fedora"): "nvcc 12, CUDA's compiler: with NVIDIA's dnf repository: sudo dnf install "
    "cuda-toolkit-12-8",
    ("cuda13", "macos"): "nvcc 13, CUDA's compiler: not to be had on macOS",
    ("cuda12", "windows"): "nvcc 12, CUDA's compiler: winget install Nvidia.CUDA --version 12.8",
    ("openblas", "debian"): "OpenBLAS with its pkg-config file: sudo apt install libopenblas-dev pkg-config",
    ("openblas", "macos"): "OpenBLAS with its pkg-config file: brew install openblas pkgconf (and put its "
    "lib/pkgconfig on PKG_CONFIG_PATH)",
    ("opencl", "fedora"): "OpenCL's headers: sudo dnf install opencl-headers",
    ("opencl", "windows"): "OpenCL's headers: vcpkg install opencl, then -D CMAKE_TOOLCHAIN_FILE="
    "FOLDER_OF_VCPKG/scripts/buildsystems/vcpkg.cmake",
    (
        "sycl",
        "windows",
    ): "Intel's icpx, the DPC++ compiler: winget install Intel.OneAPI.BaseToolkit, then run setvars.bat",
    ("sycl", "macos"): "Intel's icpx, the DPC++ compiler: not to be had on macOS",
    ("hip", "fedora"): "AMD's ROCm, 6.1 or newer, with hipcc: sudo dnf install hipcc rocm-hip-devel "
    "hipblas-devel rocblas-devel",
    ("hip", "windows"): "AMD's ROCm, 6.1 or newer, with hipcc: install AMD's HIP SDK, then set HIP_PATH",
    ("metal", "debian"): "macOS: not to be had on Debian, Ubuntu",
}


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine with nothing: no programs, no headers, no prefixes."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    for name in ("VULKAN_SDK", "CUDA_PATH", "CUDA_HOME", "ROCM_PATH", "CMAKE_PREFIX_PATH", needs.UNCHECKED):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(needs, "_roots", lambda variables, folders: [])
    return tmp_path


@pytest.mark.parametrize("system", needs.SYSTEMS)
@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.needs])
def test_each_missing_thing_is_a_line_with_its_cure(bare, monkeypatch, name, system) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(BuildError) as caught:
        needs.check(name, RECIPES[name].needs, NOTHING, system)
    first, *lines = str(caught.value).splitlines()
    assert first == f"The back end {name!r} needs what this machine lacks:"
    assert len(lines) == len(RECIPES[name].needs)
    for need, line in zip(RECIPES[name].needs, lines, strict=True):
        assert line == f"  {need.what}: {need.hints.on(system)}"
        assert len(line) < 200
    expected = FIRST_LINES.get((name, system))
    if expected:
        assert lines[0] == f"  {expected}"


def test_nothing_is_compiled_or_fetched_when_something_is_missing(bare, monkeypatch, cache) -> None:
    tools = toolchain.Toolchain("cmake", "ninja", {}, "gcc")
    monkeypatch.setattr(toolchain, "find_toolchain", lambda preferred=None: tools)
    with pytest.raises(BuildError, match="glslc"):
        build.build(Settings("vulkan"))
    assert not cache.exists()


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "debian"),
        ("ID=ubuntu\nID_LIKE=debian\n", "debian"),
        ('ID="rhel"\nID_LIKE="fedora"\n', "fedora"),
        ('NAME=x\nID="rocky"\nID_LIKE="rhel centos fedora"\n', "fedora"),
        ("ID=arch\n", "linux"),
        ("", "linux"),
    ],
)
def test_families_of_linux(tmp_path, monkeypatch, text, family) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    file = tmp_path / "os-release"
    file.write_text(text)
    assert needs.this_system(file) == family
    assert needs.this_system(tmp_path / "none") == "linux"


def test_other_systems(monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert needs.this_system() == "macos"
    monkeypatch.setattr(sys, "platform", "win32")
    assert needs.this_system() == "windows"


def test_an_unknown_family_is_told_both() -> None:
    both = Hints("sudo apt install x", "sudo dnf install x").on("linux")
    assert both == "Debian, Ubuntu: sudo apt install x; Fedora, RHEL: sudo dnf install x"


def test_what_the_user_names_is_not_looked_for(bare, monkeypatch) -> None:
    need = Need("x", lambda situation: None, Hints("apt"), ("X_DIR",))
    assert needs.check("b", [need], Situation({"X_DIR": "/somewhere"}, {})).words == ("x: X_DIR=/somewhere",)
    # a cross build, and a system that keeps things elsewhere
    assert needs.check("b", [need], Situation({"CMAKE_TOOLCHAIN_FILE": "t"}, {})) == needs.Checked()
    monkeypatch.setenv(needs.UNCHECKED, "1")
    assert needs.check("b", [need], NOTHING) == needs.Checked()


def script(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


@pytest.mark.skipif(os.name != "posix", reason="programs are shell scripts here")
def test_programs_have_versions_and_roots(tmp_path, monkeypatch) -> None:
    shell = os.path.dirname(shutil.which("sh") or "/bin/sh")
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}{os.pathsep}{shell}")
    find = needs.program("no-such-nvcc", variables=("ROOT_OF_X",), version=(12,), below=(13,))
    assert find(NOTHING) is None
    script(tmp_path / "root" / "bin" / "no-such-nvcc", "echo 'release 12.8, V12.8.61'")
    monkeypatch.setenv("ROOT_OF_X", str(tmp_path / "root"))
    found = find(NOTHING)
    assert found.words == f"{tmp_path}/root/bin/no-such-nvcc (release 12.8, V12.8.61)"
    assert found.path == tmp_path / "root/bin/no-such-nvcc"
    script(tmp_path / "path" / "no-such-nvcc", "echo 'release 13.0, V13.0.88'")
    assert "12.8" in find(NOTHING).words  # the one on PATH is of the other major version
    script(tmp_path / "root" / "bin" / "no-such-nvcc", "echo broken; exit 1")
    assert find(NOTHING) is None


NVCC_12, NVCC_13 = "echo 'release 12.8, V12.8.61'", "echo 'release 13.0, V13.0.88'"


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Path:
    """A machine of our making: programs on `path`, toolkits in `12` and `13`; CUDA_PATH names one."""
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    for name in ("CUDACXX", "CUDA_HOME", "CC", "CXX", "HIPCXX", "CMPLR_ROOT", "MKLROOT", needs.UNCHECKED):
        monkeypatch.delenv(name, raising=False)
    real = needs._roots  # without the folders of this machine
    monkeypatch.setattr(needs, "_roots", lambda variables, folders: real(variables, ()))
    script(tmp_path / "path" / "nvcc", NVCC_12)
    for major, text in (("12", NVCC_12), ("13", NVCC_13)):
        script(tmp_path / major / "bin" / "nvcc", text)
        (tmp_path / major / "lib64").mkdir()
        (tmp_path / major / "lib64" / f"libcublas.so.{major}").touch()
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "13"))
    return tmp_path


def look(name: str, **defines: str) -> needs.Checked:
    return needs.check(name, RECIPES[name].needs, Situation(defines, {}), "debian")


posix = pytest.mark.skipif(os.name != "posix", reason="programs are shell scripts here")


@posix
def test_cmake_gets_the_nvcc_that_was_found_and_its_toolkit(machine, monkeypatch) -> None:
    found = look("cuda13")
    assert found.defines == {
        "CMAKE_CUDA_COMPILER": f"{machine}/13/bin/nvcc",
        "CUDAToolkit_ROOT": f"{machine}/13",
    }
    # the one on PATH is a wrapper; cuBLAS is that of the same release
    monkeypatch.setenv("CUDA_PATH", str(machine / "12"))
    found = look("cuda12")
    assert found.defines == {"CMAKE_CUDA_COMPILER": f"{machine}/path/nvcc"}
    assert found.paths[1] == machine / "12/lib64/libcublas.so.12"
    (machine / "12/lib64/libcublas.so.12").rename(machine / "12/lib64/libcublas.so.13")
    with pytest.raises(BuildError, match="cuBLAS: with NVIDIA's apt repository"):
        look("cuda12")


@posix
def test_the_nvcc_that_the_user_names_wins_and_is_judged(machine, monkeypatch) -> None:
    for defines in ({"CMAKE_CUDA_COMPILER": f"{machine}/12/bin/nvcc"}, {}):
        if not defines:
            monkeypatch.setenv("CUDACXX", f"{machine}/12/bin/nvcc")
        assert recipes.find_recipe("cuda", Situation(defines, {})).name == "cuda12"
        with pytest.raises(BuildError) as caught:
            look("cuda13", **defines)
        name = next(iter(defines), "CUDACXX")
        assert f"CUDA's compiler: {name} names {machine}/12/bin/nvcc, which is another" in str(caught.value)
        given = look("cuda12", **defines).defines
        assert given["CUDAToolkit_ROOT"] == f"{machine}/12"
        assert given.get("CMAKE_CUDA_COMPILER", "mine") == ("mine" if defines else f"{machine}/12/bin/nvcc")
    assert "CUDAToolkit_ROOT" not in look("cuda12", CUDAToolkit_ROOT="/mine").defines


@posix
def test_intels_compilers_off_the_path(machine, monkeypatch) -> None:
    for name in ("icpx", "icx"):
        script(machine / "intel" / "bin" / name, "echo 'Intel oneAPI DPC++ 2025.2.0'")
    config = machine / "mkl" / "lib" / "cmake" / "mkl" / "MKLConfig.cmake"
    config.parent.mkdir(parents=True)
    config.touch()
    with pytest.raises(BuildError, match=r"DPC\+\+ compiler: with Intel's apt repository: .*setvars"):
        look("sycl")
    monkeypatch.setenv("CMPLR_ROOT", str(machine / "intel"))
    monkeypatch.setenv("MKLROOT", str(machine / "mkl"))
    both = {
        "CMAKE_CXX_COMPILER": f"{machine}/intel/bin/icpx",
        "CMAKE_C_COMPILER": f"{machine}/intel/bin/icx",
        "MKL_DIR": str(config.parent),
    }
    assert look("sycl").defines == both
    assert look("sycl", CMAKE_C_COMPILER="mine").defines == {
        name: value for name, value in both.items() if name != "CMAKE_C_COMPILER"
    }
    monkeypatch.setenv(needs.UNCHECKED, "1")
    monkeypatch.delenv("MKLROOT")
    del both["MKL_DIR"]
    assert look("sycl").defines == both


@posix
def test_shader_compiler_and_rocm(machine, monkeypatch) -> None:
    monkeypatch.setenv("VULKAN_SDK", str(machine / "sdk"))
    monkeypatch.setenv("ROCM_PATH", str(machine / "rocm"))
    script(machine / "sdk" / "bin" / "glslc", "echo 'shaderc v2025.1'")
    for name in ("bin/hipcc", "llvm/bin/clang++"):
        script(machine / "rocm" / name, "echo 'HIP version: 6.4.4'")
    monkeypatch.setenv(needs.UNCHECKED, "1")  # the rest isn't here
    assert look("vulkan").defines["Vulkan_GLSLC_EXECUTABLE"] == f"{machine}/sdk/bin/glslc"
    assert look("hip").defines == {
        "CMAKE_PREFIX_PATH": f"{machine}/rocm",
        "CMAKE_HIP_COMPILER_ROCM_ROOT": f"{machine}/rocm",
        "CMAKE_HIP_COMPILER": f"{machine}/rocm/llvm/bin/clang++",
    }


def test_headers_are_judged_by_the_compiler(tmp_path, monkeypatch) -> None:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no compiler")
    monkeypatch.delenv("CMAKE_PREFIX_PATH", raising=False)
    folder = tmp_path / "include" / "x"
    folder.mkdir(parents=True)
    (folder / "version.h").write_text("#define X_VERSION 3\n")
    here = Situation({"X_INCLUDE_DIR": str(tmp_path / "include")}, {"CXX": compiler})
    find = needs.header("x/version.h", "X_VERSION >= 3", include_defines=("X_INCLUDE_DIR",))
    assert find(here).path == folder / "version.h"
    assert find(Situation({}, {"CXX": compiler})) is None
    assert find(Situation({"CMAKE_PREFIX_PATH": str(tmp_path)}, {"CXX": compiler})) is not None
    newer = needs.header("x/version.h", "X_VERSION >= 4", include_defines=("X_INCLUDE_DIR",))
    assert newer(here) is None
    # without a compiler of one's own (Visual Studio) only the file can be looked for
    assert find(Situation(here.defines, {})).path == folder / "version.h"


def test_headers_of_homebrew_are_found_on_a_mac(tmp_path, monkeypatch) -> None:
    compiler = shutil.which("c++")
    monkeypatch.delenv("CMAKE_PREFIX_PATH", raising=False)
    (tmp_path / "include" / "brewed").mkdir(parents=True)
    (tmp_path / "include" / "brewed" / "x.h").write_text("")
    asked: list[str] = []

    def roots(variables, folders):
        asked.extend(folders)
        return [tmp_path] if "/opt/homebrew" in folders else []

    monkeypatch.setattr(needs, "_roots", roots)
    for platform, found in (("linux", None), ("darwin", str(tmp_path / "include" / "brewed" / "x.h"))):
        monkeypatch.setattr(sys, "platform", platform)
        answer = needs.header("brewed/x.h", folders=("/own",))(Situation({}, {"CXX": compiler}))
        assert (answer and answer.words) == found
    assert asked == ["/own", "/own", "/opt/homebrew", "/opt/local"]


def test_a_compiler_is_asked_for_its_flags() -> None:
    here = Situation({}, {"CXX": f"{shutil.which('c++')} -O1"})
    assert needs.accepts("-O2")(here).words == f"{here.compilers['CXX']} takes -O2"
    assert needs.accepts("-march=no-such-processor")(here) is None
    assert needs.accepts("-O2")(Situation({}, {"CXX": "no-such-compiler"})) is None
    assert needs.accepts("-O2")(NOTHING) is None


def test_arms_newest_variants_need_a_new_compiler(bare, monkeypatch) -> None:
    for name, system, words in (
        ("linux-arm64", "debian", "set CC=gcc-14 CXX=g++-14"),
        ("linux-arm64", "fedora", "gcc-toolset-14"),
        ("win32-arm64", "windows", "winget install LLVM.LLVM"),
    ):
        with pytest.raises(BuildError) as caught:
            needs.check("cpu", RECIPES["cpu"].needs_on(name), NOTHING, system)
        assert words in str(caught.value)
        assert all(len(line) < 200 for line in str(caught.value).splitlines())


def test_packages_and_libraries_below_prefixes(tmp_path) -> None:
    (tmp_path / "share" / "cmake" / "Thing").mkdir(parents=True)
    file = tmp_path / "share" / "cmake" / "Thing" / "ThingConfig.cmake"
    file.write_text("")
    find = needs.cmake_package("Thing")
    assert find(NOTHING) is None
    assert find(Situation({"CMAKE_PREFIX_PATH": str(tmp_path)}, {})).path == file
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / "libthing.so.1").write_text("")
    found = needs.library("thing", folders=(str(tmp_path),))(NOTHING)
    assert found.path == tmp_path / "lib64/libthing.so.1"
    assert needs.library("thing", folders=(str(tmp_path),), major=1)(NOTHING) == found
    assert needs.library("thing", folders=(str(tmp_path),), major=2)(NOTHING) is None
    assert needs.library("nothing-of-this-name")(NOTHING) is None
    # Windows: an import library, of another name (Vulkan's)
    (tmp_path / "lib" / "thing-1.lib").parent.mkdir()
    (tmp_path / "lib" / "thing-1.lib").touch()
    (tmp_path / "lib64" / "libthing.so.1").unlink()
    find = needs.library("thing", "thing-1", folders=(str(tmp_path),))
    assert find(NOTHING).path == tmp_path / "lib/thing-1.lib"


def test_what_was_found_makes_another_build() -> None:
    assert {name for name in recipes.RECIPES if not RECIPES[name].needs} == {"native", "cpu", "rpc", "none"}
    code_ = type("Code", (), {"tree_sha256": "t", "commit": "c"})()
    tools = toolchain.Toolchain("cmake", "ninja", {}, "gcc")
    keys = {
        build.work_key(RECIPES["vulkan"], {}, code_, tools, found)  # type: ignore[arg-type]
        for found in ([], ["glslc: a"], ["glslc: b"])
    }
    assert len(keys) == 3
