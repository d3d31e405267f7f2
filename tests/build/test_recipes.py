"""Recipes: the flags and names of each on every platform, those included that can't be run here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from build_backends import build, recipes
from build_backends.errors import BuildError
from build_backends.needs import Situation
from build_backends.recipes import RECIPES
from build_backends.settings import Settings, checked, parse_settings
from build_backends.source import Source
from build_backends.version import package_version

ROOT = Path(__file__).resolve().parents[2]
CODE = Source(Path("/source"), "a" * 40, "tree", "headers", "aaaaaaaaa")
PLATFORMS = ("linux", "darwin", "win32")
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
    for platform in ("linux", "win32"):
        defines = flags("cpu", platform)
        assert defines["GGML_BACKEND_DL"] == defines["GGML_CPU_ALL_VARIANTS"] == "ON"
        assert defines["GGML_METAL"] == defines["GGML_NATIVE"] == "OFF"
    mac = flags("cpu", "darwin")
    assert mac["GGML_BACKEND_DL"] == mac["GGML_CPU_ALL_VARIANTS"] == mac["GGML_NATIVE"] == "OFF"
    assert mac["GGML_METAL"] == mac["GGML_METAL_EMBED_LIBRARY"] == "ON"
    assert mac["GGML_BLAS_VENDOR"] == "Apple"


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


def test_sycl_is_compiled_by_intels_compilers() -> None:
    assert RECIPES["sycl"].compilers == {"CC": "icx", "CXX": "icpx"}
    assert not any(recipe.compilers for name, recipe in RECIPES.items() if name != "sycl")


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
    assert define not in build.all_defines(settings.recipe, CODE, {})
    own = build.all_defines(settings.recipe, CODE, {define: "mine"}, settings.arch)
    assert own[define] == "mine"


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
