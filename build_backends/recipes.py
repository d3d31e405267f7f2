"""One recipe per back end: what it needs, what to tell cmake, and what comes out.

A *core* recipe makes the whole set of libraries. A *plugin* recipe makes one ggml module that is opened at
run time next to a core of the same commit, whichever recipe that came from. `none` makes no library.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field

from build_backends import toolkits
from build_backends.errors import BuildError
from build_backends.needs import Need, Situation

# True for every build. OpenMP: a second run time beside another package's (torch has one) aborts the process.
COMMON: Mapping[str, str] = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "ON",
    "GGML_OPENMP": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_COMMON": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_MTMD": "ON",
    "LLAMA_BUILD_SERVER": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_TOOLS": "OFF",
    "LLAMA_OPENSSL": "OFF",
}

# A module for any processor: the CPU's own back end comes with the core.
_MODULE: Mapping[str, str] = {"GGML_BACKEND_DL": "ON", "GGML_CPU": "OFF", "GGML_NATIVE": "OFF"}
# On a Mac these are on by default.
_PLAIN: Mapping[str, str] = {"GGML_BLAS": "OFF", "GGML_METAL": "OFF"}
_RPC: Mapping[str, str] = {"GGML_RPC": "ON", "GGML_RPC_RDMA": "OFF"}


BUDGET = 100_000_000  # what the public index takes

# Code for one kind of GPU is 20 MB of a wheel (measured: 90a-real has 20.7): four fit into the budget.
# A cubin runs on later GPUs of its first digit: 80 on RTX 30 and 40 too. Text for the driver's compiler
# (virtual) serves what is in between, at the price of a slow first start: 75 those of Turing, and B200.
_CUDA_WHEELS = {
    12: "61-virtual;75-virtual;80-real;90-real;120a-real",
    13: "75-virtual;80-real;90-real;120a-real",
}

# Data centre (MI100 to MI300), then RX 6800, RX 7000, Strix Point and Halo, RX 9000.
_HIP_TARGETS = (
    *("gfx908", "gfx90a", "gfx942", "gfx1030", "gfx1100", "gfx1101", "gfx1102", "gfx1150", "gfx1151"),
    *("gfx1200", "gfx1201"),
)


@dataclass(frozen=True)
class Special:
    """What a recipe has more on one platform, or otherwise."""

    defines: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()
    compilers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """How one back end is built.

    `defines` go to cmake on top of `COMMON`. `on` has what is special on a platform, by its name (see
    `this_platform`) or the part of it before the dash. `module` is ggml's name of a plugin's module, "" for
    a core. `this_cpu` marks results that only run on a processor like the one they were built on;
    `private_names` puts the commit into the libraries' names, so that another ggml in the process is not
    mistaken for ours. `rpath` is where a plugin's module looks for other packages' libraries. `arch` is the
    definition that `--arch` sets, `archs` a pattern for one of its values, `archs_example` how some are
    written; `wheel_arch` is the list for wheels, "" for that of every build, and `budget` how many bytes a
    wheel may have. `compilers` replace those that cmake would take. `run_time` are the libraries that a
    user's machine must bring, as file-name patterns; `runtime_packages` are what the distribution's extra
    "runtime" installs instead.
    """

    name: str
    summary: str
    defines: Mapping[str, str] = field(default_factory=dict)
    on: Mapping[str, Special] = field(default_factory=dict)
    module: str = ""
    needs: tuple[Need, ...] = ()
    arch: str = ""
    archs: str = ""
    archs_example: str = ""
    wheel_arch: str = ""
    rpath: tuple[str, ...] = ()
    compilers: Mapping[str, str] = field(default_factory=dict)
    run_time: tuple[str, ...] = ()
    runtime_packages: tuple[str, ...] = ()
    private_names: bool = True
    this_cpu: bool = False
    budget: int = BUDGET

    @property
    def is_plugin(self) -> bool:
        """Whether it makes one module, to be used beside a core."""
        return bool(self.module)

    @property
    def targets(self) -> tuple[str, ...]:
        """What cmake is to build; nothing for `none`."""
        if self.module:
            return (self.module,)
        return ("llama", "mtmd", "guard", "probe") if self.defines else ()

    def definitions(self, platform: str | None = None) -> dict[str, str]:
        """Return its own cmake definitions on `platform` (default: this one)."""
        merged = dict(self.defines)
        for special in self._specials(platform):
            merged.update(special.defines)
        return merged

    def needs_on(self, platform: str | None = None) -> tuple[Need, ...]:
        """Return what must be there on `platform` (default: this one)."""
        return (*self.needs, *(need for special in self._specials(platform) for need in special.needs))

    def compilers_on(self, platform: str | None = None) -> dict[str, str]:
        """Return the compilers that it wants on `platform` (default: this one), by their variables."""
        merged = dict(self.compilers)
        for special in self._specials(platform):
            merged.update(special.compilers)
        return merged

    def _specials(self, platform: str | None) -> list[Special]:
        name = platform or this_platform()
        return [self.on[key] for key in dict.fromkeys((name.partition("-")[0], name)) if key in self.on]


def this_platform() -> str:
    """Return `sys.platform`, with "-arm64" behind it where Python is one for 64-bit Arm."""
    arm = sysconfig.get_platform().endswith(("-aarch64", "-arm64"))
    return f"{sys.platform}-arm64" if arm else sys.platform


def _cuda(major: int) -> Recipe:
    folders = {12: ("cublas/lib", "cuda_runtime/lib"), 13: ("cu13/lib",)}[major]
    suffix = {12: "-cu12", 13: ""}[major]  # as NVIDIA's own packages are named
    return Recipe(
        name=f"cuda{major}",
        summary=f"for NVIDIA GPUs, with CUDA {major}",
        # NCCL would be found or not by chance, and a wheel can't carry it.
        defines={**_MODULE, **_PLAIN, "GGML_CUDA": "ON", "GGML_CUDA_NCCL": "OFF"},
        module="ggml-cuda",
        needs=(toolkits.nvcc(major), toolkits.cublas(major)),
        arch="CMAKE_CUDA_ARCHITECTURES",
        archs=r"\d{2,3}[af]?(-real|-virtual)?|native|all|all-major",
        archs_example="90a-real;120",
        wheel_arch=_CUDA_WHEELS[major],
        rpath=tuple(f"../nvidia/{folder}" for folder in folders),
        run_time=("libcuda.so.1", "libcudart.so.*", "libcublas.so.*", "libcublasLt.so.*"),
        runtime_packages=tuple(
            f"nvidia-{name}{suffix}>={major},<{major + 1}" for name in ("cublas", "cuda-runtime")
        ),
    )


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="native",
            summary="for the processor of this machine, linked in",
            # GGML_NATIVE is always said: its default flips when SOURCE_DATE_EPOCH is set. It excludes
            # GGML_BACKEND_DL. RPC costs 250 KB and no dependency.
            defines={"GGML_NATIVE": "ON", "GGML_BACKEND_DL": "OFF", **_RPC},
            this_cpu=True,
        ),
        Recipe(
            name="cpu",
            summary="for any processor of this architecture: the best variant is chosen at run time",
            defines={
                "GGML_NATIVE": "OFF",
                "GGML_BACKEND_DL": "ON",
                "GGML_CPU_ALL_VARIANTS": "ON",
                **_RPC,
                **_PLAIN,
            },
            on={
                # A Mac has few kinds of processors, and Metal beside them: all of it is linked in.
                "darwin": Special(
                    {
                        "GGML_BACKEND_DL": "OFF",
                        "GGML_CPU_ALL_VARIANTS": "OFF",
                        "GGML_METAL": "ON",
                        "GGML_METAL_EMBED_LIBRARY": "ON",
                        "GGML_BLAS": "ON",
                        "GGML_BLAS_VENDOR": "Apple",
                    }
                ),
                "linux-arm64": Special(needs=(toolkits.SME,)),
                # ggml knows no variants here, and what Microsoft's compiler makes is for the processor it
                # runs on. What is asked for is in all processors of Windows 11, from the Snapdragon 850 on.
                "win32-arm64": Special(
                    {
                        "GGML_BACKEND_DL": "OFF",
                        "GGML_CPU_ALL_VARIANTS": "OFF",
                        "GGML_CPU_ARM_ARCH": "armv8.2-a+dotprod+fp16",
                        "CMAKE_C_COMPILER_TARGET": "arm64-pc-windows-msvc",
                        "CMAKE_CXX_COMPILER_TARGET": "arm64-pc-windows-msvc",
                    },
                    needs=(toolkits.CLANG,),
                    compilers={"CC": "clang", "CXX": "clang++"},
                ),
            },
        ),
        Recipe(
            name="metal",
            summary="for Apple's GPUs and the processor of this Mac, linked in",
            defines={
                "GGML_NATIVE": "ON",
                "GGML_BACKEND_DL": "OFF",
                "GGML_METAL": "ON",
                "GGML_METAL_EMBED_LIBRARY": "ON",
                "GGML_BLAS": "ON",
                "GGML_BLAS_VENDOR": "Apple",
                **_RPC,
            },
            needs=(toolkits.APPLE,),
            this_cpu=True,
        ),
        _cuda(12),
        _cuda(13),
        Recipe(
            name="vulkan",
            summary="for GPUs of any maker, with Vulkan 1.2 drivers",
            defines={**_MODULE, **_PLAIN, "GGML_VULKAN": "ON"},
            module="ggml-vulkan",
            needs=(toolkits.GLSLC, toolkits.VULKAN_HEADERS, toolkits.VULKAN_LOADER, toolkits.SPIRV),
            run_time=("libvulkan.so.1",),
        ),
        Recipe(
            name="sycl",
            summary="for Intel's GPUs, with oneAPI",
            defines={**_MODULE, **_PLAIN, "GGML_SYCL": "ON"},
            module="ggml-sycl",
            needs=(toolkits.ICPX, toolkits.MKL),
            arch="GGML_SYCL_DEVICE_ARCH",
            archs=r"\w[\w.-]*",
            archs_example="bmg_g21",
            compilers={"CC": "icx", "CXX": "icpx"},
            run_time=(
                *("libsycl.so.*", "libmkl_*", "libOpenCL.so.1", "libdnnl.so.*", "libze_loader.so.1"),
                *("libsvml.so", "libirng.so", "libimf.so", "libintlc.so.5", "libtbb.so.*"),
            ),
        ),
        Recipe(
            name="hip",
            summary="for AMD's GPUs, with ROCm 6.1 or newer",
            # Without it cmake asks for the GPU of this machine, and takes one kind if there is none.
            defines={**_MODULE, **_PLAIN, "GGML_HIP": "ON", "GPU_TARGETS": ";".join(_HIP_TARGETS)},
            module="ggml-hip",
            needs=(toolkits.HIPCC, toolkits.HIPBLAS),
            arch="GPU_TARGETS",
            archs=r"gfx[0-9a-f]+(-[0-9a-f]+)*(-generic)?(:\w+[+-])*",
            archs_example="gfx1100;gfx90a",
            run_time=("libamdhip64.so.*", "libhipblas.so.*", "librocblas.so.*"),
            budget=300_000_000,  # a guess: nobody has built it
        ),
        Recipe(
            name="opencl",
            summary="for Adreno and Intel GPUs, with OpenCL",
            defines={**_MODULE, **_PLAIN, "GGML_OPENCL": "ON"},
            module="ggml-opencl",
            needs=(toolkits.OPENCL_HEADERS, toolkits.OPENCL_LOADER),
            run_time=("libOpenCL.so.1",),
        ),
        Recipe(
            name="openblas",
            summary="the processor's matrix products by OpenBLAS",
            defines={**_MODULE, **_PLAIN, "GGML_BLAS": "ON", "GGML_BLAS_VENDOR": "OpenBLAS"},
            module="ggml-blas",
            needs=(toolkits.OPENBLAS,),
            run_time=("libopenblas*.so.*",),
        ),
        Recipe(
            name="rpc",
            summary="for workers on other machines (the cores carry it already)",
            defines={**_MODULE, **_PLAIN, **_RPC},
            module="ggml-rpc",
        ),
        Recipe(name="none", summary="no library: for those who bring their own", private_names=False),
    )
}

ALIASES: Mapping[str, tuple[str, ...]] = {"cuda": ("cuda13", "cuda12")}


def names() -> list[str]:
    """Return every name that a back end may be asked for by."""
    return sorted([*RECIPES, *ALIASES])


def find_recipe(name: str, situation: Situation | None = None) -> Recipe:
    """Return the recipe `name`; for "cuda" the one whose compiler is here, else the newest.

    Raises BuildError if there is none of that name.
    """
    if name in RECIPES:
        return RECIPES[name]
    if name not in ALIASES:
        raise BuildError(f"there is no back end {name!r}: use one of {', '.join(names())}")
    candidates = [RECIPES[each] for each in ALIASES[name]]
    here = situation or Situation({}, {})
    return next((each for each in candidates if each.needs[0].find(here)), candidates[0])
