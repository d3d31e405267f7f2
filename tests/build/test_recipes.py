"""Recipes: the flags and names of each on every platform, those included that can't be run here."""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import pytest

from build_backends import build, recipes, toolchain
from build_backends.errors import BuildError
from build_backends.needs import Situation
from build_backends.recipes import RECIPES
from build_backends.settings import Settings, checked, parse_settings
from build_backends.source import Source
from build_backends.version import package_version

ROOT = Path(__file__).resolve().parents[2]
CODE = Source(Path("/source"), "a" * 40, "tree", "headers", "aaaaaaaaa")
PLATFORMS = ("linux", "linux-arm64", "darwin", "darwin-arm64", "win32", "win32-arm64")
PLUGINS = {
    "cuda12": ("ggml-cuda", "GGML_CUDA"),
    "cuda13": ("ggml-cuda", "GGML_CUDA"),
    "vulkan": ("ggml-vulkan", "GGML_VULKAN"),
    "sycl": ("ggml-sycl", "GGML_SYCL"),
    "hip": ("ggml-hip", "GGML_HIP"),
    "opencl": ("ggml-opencl", "GGML_OPENCL"),
    "openblas": ("ggml-blas", "GGML_BLAS"),
    "rpc": ("ggml-rpc", "GGML_RPC"),
}
CORES = {"native", "cpu", "metal"}


def flags(name: str, platform: str = "linux") -> dict[str, str]:
    return {**recipes.COMMON, **RECIPES[name].definitions(platform)}


def test_the_recipes_are_these() -> None:
    assert set(RECIPES) == {*PLUGINS, *CORES, "none"}
    assert recipes.names() == sorted([*RECIPES, "cuda"])
    assert RECIPES["none"].targets == ()


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_is_one_module_without_a_cpu_back_end(name, platform) -> None:
    module, switch = PLUGINS[name]
    recipe, defines = RECIPES[name], flags(name, platform)
    assert recipe.targets == (module,)
    assert recipe.is_plugin and recipe.private_names and not recipe.this_cpu
    assert defines["GGML_BACKEND_DL"] == "ON"
    assert defines["GGML_CPU"] == defines["GGML_NATIVE"] == "OFF"
    # On a Mac upstream switches these on by itself.
    others = {"GGML_METAL", *(each for _, each in PLUGINS.values())} - {switch}
    assert {defines.get(other, "OFF") for other in others} == {"OFF"}
    assert defines["GGML_METAL"] == "OFF"
    assert defines[switch] == "ON"


@pytest.mark.parametrize("name", sorted(CORES))
def test_a_core_is_the_whole_set(name) -> None:
    assert RECIPES[name].targets == ("llama", "mtmd", "guard", "probe")
    assert flags(name)["GGML_RPC"] == "ON"
    assert flags(name)["GGML_RPC_RDMA"] == "OFF"  # found or not by chance, otherwise


def test_every_processor_but_on_a_mac_one_build_with_metal() -> None:
    for platform in ("linux", "linux-arm64", "win32"):
        defines = flags("cpu", platform)
        assert defines["GGML_BACKEND_DL"] == defines["GGML_CPU_ALL_VARIANTS"] == "ON"
        assert defines["GGML_METAL"] == defines["GGML_NATIVE"] == "OFF"
    mac = flags("cpu", "darwin")
    assert flags("cpu", "darwin-arm64") == mac
    assert mac["GGML_BACKEND_DL"] == mac["GGML_CPU_ALL_VARIANTS"] == mac["GGML_NATIVE"] == "OFF"
    assert mac["GGML_METAL"] == mac["GGML_METAL_EMBED_LIBRARY"] == "ON"
    assert mac["GGML_BLAS_VENDOR"] == "Apple"


def test_windows_on_arm_is_compiled_by_clang_for_all_of_its_processors() -> None:
    defines = flags("cpu", "win32-arm64")
    assert defines["GGML_BACKEND_DL"] == defines["GGML_CPU_ALL_VARIANTS"] == defines["GGML_NATIVE"] == "OFF"
    assert defines["GGML_CPU_ARM_ARCH"] == "armv8.2-a+dotprod+fp16"
    assert (
        defines["CMAKE_C_COMPILER_TARGET"] == defines["CMAKE_CXX_COMPILER_TARGET"] == "arm64-pc-windows-msvc"
    )
    assert RECIPES["cpu"].compilers_on("win32-arm64") == {"CC": "clang", "CXX": "clang++"}
    assert RECIPES["cpu"].compilers_on("win32") == RECIPES["native"].compilers_on("win32-arm64") == {}
    # ggml takes one of the two; upstream's own check says so
    assert not [
        (name, platform)
        for name in RECIPES
        for platform in PLATFORMS
        if {"GGML_CPU_ARM_ARCH": "x", **flags(name, platform)}["GGML_CPU_ARM_ARCH"] != "x"
        and flags(name, platform).get("GGML_CPU_ALL_VARIANTS") == "ON"
    ]


def test_what_a_platform_needs_more() -> None:
    assert [need.what for need in RECIPES["cpu"].needs_on("linux")] == []
    assert "gcc 14" in RECIPES["cpu"].needs_on("linux-arm64")[0].what
    assert "clang" in RECIPES["cpu"].needs_on("win32-arm64")[0].what
    assert RECIPES["vulkan"].needs_on("win32-arm64") == RECIPES["vulkan"].needs
    assert RECIPES["sycl"].compilers_on("win32") == RECIPES["sycl"].compilers


@pytest.mark.parametrize(
    ("system", "said", "name"),
    [
        ("linux", "linux-x86_64", "linux"),
        ("linux", "linux-aarch64", "linux-arm64"),
        ("darwin", "macosx-11.0-arm64", "darwin-arm64"),
        ("win32", "win-amd64", "win32"),
        ("win32", "win-arm64", "win32-arm64"),
    ],
)
def test_the_platform_is_that_of_this_python(monkeypatch, system, said, name) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(sysconfig, "get_platform", lambda: said)
    assert recipes.this_platform() == name
    assert RECIPES["cpu"].definitions() == RECIPES["cpu"].definitions(name)


def test_a_platforms_needs_and_compilers_are_those_of_the_build(monkeypatch, cache) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(sysconfig, "get_platform", lambda: "win-arm64")
    asked: list[object] = []

    def find(preferred=None):
        asked.append(preferred)
        if preferred:
            raise BuildError("far enough")
        return toolchain.Toolchain("cmake", None, {}, "Visual Studio")

    monkeypatch.setattr(toolchain, "find_toolchain", find)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match=r"clang: Microsoft's compiler .*: winget install LLVM\.LLVM"):
        build.build(Settings("cpu"))
    assert asked == [None]
    with pytest.raises(BuildError, match="far enough"):
        build.build(Settings("cpu", {"CMAKE_CXX_COMPILER": "clang++"}))
    assert asked[1:] == [None, {"CC": "clang", "CXX": "clang++"}]


@pytest.mark.parametrize("name", [*sorted(CORES), *PLUGINS])
def test_true_for_all(name) -> None:
    for platform in PLATFORMS:
        defines = flags(name, platform)
        assert defines["GGML_OPENMP"] == "OFF"
        assert defines["BUILD_SHARED_LIBS"] == "ON"
        # ggml refuses these together
        assert not (defines["GGML_NATIVE"] == defines["GGML_BACKEND_DL"] == "ON")
        assert not (defines.get("GGML_CPU_ALL_VARIANTS") == "ON" and defines["GGML_BACKEND_DL"] == "OFF")
    assert RECIPES[name].summary
    assert all(need.what and any(vars(need.hints).values()) for need in RECIPES[name].needs)


def test_cuda_finds_nvidias_own_packages_beside_it() -> None:
    assert RECIPES["cuda13"].rpath == ("../nvidia/cu13/lib",)
    assert RECIPES["cuda12"].rpath == ("../nvidia/cublas/lib", "../nvidia/cuda_runtime/lib")
    assert RECIPES["cuda13"].runtime_packages == ("nvidia-cublas>=13,<14", "nvidia-cuda-runtime>=13,<14")
    assert RECIPES["cuda12"].runtime_packages == (
        "nvidia-cublas-cu12>=12,<13",
        "nvidia-cuda-runtime-cu12>=12,<13",
    )
    defines = build.all_defines(RECIPES["cuda12"], CODE, {})
    assert defines["LLAMA_FFI_RPATH"] == "../nvidia/cublas/lib;../nvidia/cuda_runtime/lib"
    assert defines["GGML_CUDA_NCCL"] == "OFF"
    assert defines["LLAMA_FFI_TAG"] == "aaaaaaaaa"


def test_cuda_is_the_release_whose_compiler_is_here(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_PATH", str(tmp_path))
    monkeypatch.setattr(
        "build_backends.needs._roots", lambda variables, folders: [tmp_path]
    )  # not this machine's
    assert recipes.find_recipe("cuda").name == "cuda13"
    nvcc = tmp_path / "nvcc"
    nvcc.write_text(
        "#!/bin/sh\necho 'nvcc: NVIDIA (R) Cuda compiler driver'\necho 'release 12.8, V12.8.61'\n"
    )
    nvcc.chmod(0o755)
    assert recipes.find_recipe("cuda").name == "cuda12"
    nvcc.write_text("#!/bin/sh\necho 'release 13.0, V13.0.88'\n")
    assert recipes.find_recipe("cuda").name == "cuda13"
    assert Settings("cuda").recipe.name == "cuda13"


def test_a_compiler_named_by_the_user_counts() -> None:
    situation = Situation({"CMAKE_CUDA_COMPILER": "/somewhere/nvcc"}, {})
    assert recipes.find_recipe("cuda12", situation) is RECIPES["cuda12"]


@pytest.mark.parametrize(
    ("name", "define", "arch"),
    [
        ("cuda12", "CMAKE_CUDA_ARCHITECTURES", "90a-real,120"),
        ("cuda13", "CMAKE_CUDA_ARCHITECTURES", "90a-real,120"),
        ("cuda13", "CMAKE_CUDA_ARCHITECTURES", "all-major"),
        ("hip", "GPU_TARGETS", "gfx1100,gfx90a:xnack+,gfx11-generic,gfx9-4-generic"),
        ("sycl", "GGML_SYCL_DEVICE_ARCH", "bmg_g21"),
    ],
)
def test_architectures(name, define, arch) -> None:
    settings = parse_settings({"backend": name, "arch": arch})
    defines = build.all_defines(settings.recipe, CODE, settings.defines, settings.arch)
    assert defines[define] == arch.replace(",", ";")
    assert build.all_defines(settings.recipe, CODE, {}).get(define) == settings.recipe.defines.get(define)
    own = build.all_defines(settings.recipe, CODE, {define: "mine"}, settings.arch)
    assert own[define] == "mine"


def test_sycl_is_compiled_by_intels_compilers(monkeypatch, tmp_path) -> None:
    assert RECIPES["sycl"].compilers == {"CC": "icx", "CXX": "icpx"}
    assert [name for name, recipe in RECIPES.items() if recipe.compilers] == ["sycl"]
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(toolchain, "find_cmake", lambda: "cmake")
    monkeypatch.setattr(toolchain, "find_ninja", lambda: "ninja")
    with pytest.raises(BuildError, match=r"for C \(.*no/icx\) and .*oneapi/setvars\.sh\)") as caught:
        toolchain.find_toolchain({"CC": f"{tmp_path}/no/icx", "CXX": f"{tmp_path}/no/icpx"})
    assert "build-essential" not in str(caught.value)


def test_a_module_for_hip_serves_more_than_one_kind_of_gpu() -> None:
    targets = build.all_defines(RECIPES["hip"], CODE, {})["GPU_TARGETS"].split(";")
    assert {"gfx90a", "gfx942", "gfx1030", "gfx1100", "gfx1151", "gfx1201"} <= set(targets)
    assert all(re.fullmatch(RECIPES["hip"].archs, each) for each in targets)


def test_wheels_for_cuda_serve_every_kind_of_gpu_within_their_budget() -> None:
    for name in ("cuda12", "cuda13"):
        recipe = RECIPES[name]
        listed = recipe.wheel_arch.split(";")
        assert all(re.fullmatch(recipe.archs, each) for each in listed)
        # what no cubin fits is compiled by the driver, from the oldest text on
        assert listed[0].endswith("-virtual")
        assert recipe.budget == recipes.BUDGET == 100_000_000
        assert sum(each.endswith("-real") for each in listed) * 20_700_000 < recipe.budget
        checked(Settings(name, arch=recipe.wheel_arch))
    assert RECIPES["cuda12"].wheel_arch != RECIPES["cuda13"].wheel_arch  # 13 compiles nothing before Turing


def test_architectures_that_make_no_sense() -> None:
    with pytest.raises(
        BuildError, match="'vulkan' has no architectures to choose, only cuda12, cuda13, hip, sycl"
    ):
        parse_settings({"backend": "vulkan", "arch": "90"})
    with pytest.raises(BuildError, match="'a b' is no architecture of cuda13: write them as 90a-real;120"):
        checked(Settings("cuda13", arch="a b"))


def test_a_manifest_keeps_no_place_of_this_machine() -> None:
    defines = {
        "A": "ON",
        "B": "/usr/x",
        "C": "-I/usr",
        "D": "../nvidia/x",
        "E": "a;/b",
        "F": "C:\\x",
        "G": "75;80",
    }
    assert build.recorded(defines) == [
        *("-DA=ON", "-DB=…", "-DC=…", "-DD=../nvidia/x", "-DE=…", "-DF=…", "-DG=75;80")
    ]


def test_extras_name_the_plugins_of_this_version() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = dict(re.findall(r'^(\w+) = \["(llama-ffi-[^"]*)"\]$', text, re.MULTILINE))
    # rpc is in every core
    assert set(extras) == set(PLUGINS) - {"rpc"}
    for name, requirement in extras.items():
        runtime = "[runtime]" if RECIPES[name].runtime_packages else ""
        assert requirement == f"llama-ffi-{name}{runtime}=={package_version()}"
