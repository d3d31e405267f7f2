"""What the back ends need, thing by thing: where it is looked for, and how to get it on each system."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from build_backends.needs import (
    Hints,
    Need,
    accepts,
    cmake_package,
    header,
    library,
    pkg_config,
    platform_is,
    program,
)

_VCPKG = ", then -D CMAKE_TOOLCHAIN_FILE=FOLDER_OF_VCPKG/scripts/buildsystems/vcpkg.cmake"


def _as(name: str) -> Callable[[Path], Mapping[str, str]]:
    return lambda path: {name: path.as_posix()}


def _folder_as(name: str) -> Callable[[Path], Mapping[str, str]]:
    return lambda path: {name: path.parent.as_posix()}


GLSLC = Need(
    "glslc, which compiles the shaders",
    program("glslc", variables=("VULKAN_SDK",)),
    Hints(
        "sudo apt install glslc",
        "sudo dnf install glslc",
        "brew install shaderc",
        "winget install KhronosGroup.VulkanSDK",
    ),
    ("Vulkan_GLSLC_EXECUTABLE",),
    gives=_as("Vulkan_GLSLC_EXECUTABLE"),
)
VULKAN_HEADERS = Need(
    "Vulkan's headers, 1.3.272 or newer",
    # VK_EXT_layer_settings came with that one.
    header(
        "vulkan/vulkan.h",
        "defined(VK_EXT_layer_settings)",
        include_defines=("Vulkan_INCLUDE_DIR",),
        variables=("VULKAN_SDK",),
    ),
    Hints(
        "sudo apt install libvulkan-dev (Debian 13; Debian 12's is too old: unpack Debian 13's and pass "
        "-D Vulkan_INCLUDE_DIR=DIR)",
        "sudo dnf install vulkan-headers vulkan-loader-devel",
        "brew install vulkan-headers vulkan-loader molten-vk",
        "winget install KhronosGroup.VulkanSDK",
    ),
)
VULKAN_LOADER = Need(
    "Vulkan's loader library",
    library("vulkan", "vulkan-1", variables=("VULKAN_SDK",)),
    Hints(
        "sudo apt install libvulkan-dev",
        "sudo dnf install vulkan-loader-devel",
        "brew install vulkan-loader",
        "winget install KhronosGroup.VulkanSDK",
    ),
    ("Vulkan_LIBRARY",),
)
SPIRV = Need(
    "SPIR-V's headers with their cmake package",
    cmake_package("SPIRV-Headers", variables=("VULKAN_SDK",)),
    Hints(
        "sudo apt install spirv-headers",
        "sudo dnf install spirv-headers-devel",
        "brew install spirv-headers",
        "winget install KhronosGroup.VulkanSDK",
    ),
    ("SPIRV-Headers_DIR",),
    gives=_folder_as("SPIRV-Headers_DIR"),
)
OPENBLAS = Need(
    "OpenBLAS with its pkg-config file",
    pkg_config("openblas64", "openblas"),
    Hints(
        "sudo apt install libopenblas-dev pkg-config",
        "sudo dnf install openblas-devel pkgconf-pkg-config",
        "brew install openblas pkgconf (and put its lib/pkgconfig on PKG_CONFIG_PATH)",
        f"vcpkg install openblas pkgconf{_VCPKG}",
    ),
    ("BLAS_LIBRARIES",),
)
OPENCL_HEADERS = Need(
    "OpenCL's headers",
    header("CL/cl.h", include_defines=("OpenCL_INCLUDE_DIR",), variables=("OCL_ROOT", "CUDA_PATH")),
    Hints(
        "sudo apt install opencl-headers",
        "sudo dnf install opencl-headers",
        "",
        f"vcpkg install opencl{_VCPKG}",
    ),
)
OPENCL_LOADER = Need(
    "OpenCL's loader library",
    library("OpenCL", variables=("OCL_ROOT", "CUDA_PATH")),
    Hints(
        "sudo apt install ocl-icd-opencl-dev",
        "sudo dnf install ocl-icd-devel",
        "",
        f"vcpkg install opencl{_VCPKG}",
    ),
    ("OpenCL_LIBRARY",),
)


def _intel(path: Path) -> Mapping[str, str]:
    """Return the definitions for both compilers; on Windows the one for C is Microsoft's."""
    given = {"CMAKE_CXX_COMPILER": path.as_posix()}
    other = path.with_name("icx")
    if sys.platform != "win32" and other.is_file() and not os.environ.get("CC"):
        given["CMAKE_C_COMPILER"] = other.as_posix()
    return given


ICPX = Need(
    "Intel's icpx, the DPC++ compiler",
    program(
        *(("icx",) if sys.platform == "win32" else ("icpx",)),
        variables=("CMPLR_ROOT", "ONEAPI_ROOT"),
        folders=("/opt/intel/oneapi/compiler/latest",),
        chosen=("CMAKE_CXX_COMPILER", "CXX"),
    ),
    Hints(
        "with Intel's apt repository: sudo apt install intel-basekit; source /opt/intel/oneapi/setvars.sh",
        "with Intel's dnf repository: sudo dnf install intel-basekit; source /opt/intel/oneapi/setvars.sh",
        "",
        "winget install Intel.OneAPI.BaseToolkit, then run setvars.bat",
    ),
    chosen=("CMAKE_CXX_COMPILER", "CXX"),
    gives=_intel,
)
MKL = Need(
    "Intel's oneMKL",
    # not its header: that includes SYCL's, which only icpx finds
    cmake_package("MKL", folder="mkl", variables=("MKLROOT",), folders=("/opt/intel/oneapi/mkl/latest",)),
    ICPX.hints,
    ("MKL_DIR",),
    gives=_folder_as("MKL_DIR"),
)


def _rocm(path: Path) -> Mapping[str, str]:
    """Return what makes cmake take the ROCm of this hipcc; a distribution's own it finds by itself."""
    root = path.parent.parent
    compiler = root / "llvm" / "bin" / "clang++"
    if not compiler.is_file():
        return {}
    given = {"CMAKE_PREFIX_PATH": root.as_posix(), "CMAKE_HIP_COMPILER_ROCM_ROOT": root.as_posix()}
    return given if os.environ.get("HIPCXX") else {**given, "CMAKE_HIP_COMPILER": compiler.as_posix()}


HIPCC = Need(
    "AMD's ROCm, 6.1 or newer, with hipcc",
    program("hipcc", variables=("ROCM_PATH", "HIP_PATH"), folders=("/opt/rocm",), version=(6, 1)),
    Hints(
        "with AMD's apt repository: sudo apt install rocm (Debian 13: hipcc libhipblas-dev librocblas-dev)",
        "sudo dnf install hipcc rocm-hip-devel hipblas-devel rocblas-devel",
        "",
        "install AMD's HIP SDK, then set HIP_PATH",
    ),
    gives=_rocm,
)
HIPBLAS = Need(
    "hipBLAS and rocBLAS",
    cmake_package("hipblas", variables=("ROCM_PATH", "HIP_PATH", "ROCM_HOME")),
    HIPCC.hints,
    ("hipblas_DIR",),
)
SME = Need(
    "a compiler that knows Arm's SME, for the newest of the variants (gcc 14, clang 17)",
    accepts("-march=armv9.2-a+sme"),
    Hints(
        "sudo apt install g++-14, then set CC=gcc-14 CXX=g++-14",
        "sudo dnf install gcc-toolset-14-gcc-c++, then scl enable gcc-toolset-14 bash",
    ),
)
CLANG = Need(
    "clang: Microsoft's compiler makes Arm code for one processor only",
    program("clang++"),
    Hints(windows="winget install LLVM.LLVM, and put its bin folder on PATH"),
    ("CMAKE_CXX_COMPILER",),
)
APPLE = Need(
    "macOS",
    platform_is("darwin"),
    Hints("", "", "xcode-select --install", ""),
)

_CUDA_RELEASES = {12: "12-8", 13: "13-0"}
_CUDA_CHOSEN = ("CMAKE_CUDA_COMPILER", "CUDACXX")


def _cuda_toolkit(path: Path) -> Mapping[str, str]:
    """Return the definitions for nvcc and its toolkit, which cmake looks for one by one."""
    given = {"CMAKE_CUDA_COMPILER": path.as_posix()}
    return {**given, "CUDAToolkit_ROOT": path.parents[1].as_posix()} if path.parent.name == "bin" else given


def nvcc(major: int) -> Need:
    """Return the need for CUDA's compiler of one major version."""
    release = _CUDA_RELEASES[major]
    return Need(
        f"nvcc {major}, CUDA's compiler",
        program(
            "nvcc",
            variables=("CUDA_PATH", "CUDA_HOME"),
            folders=("/usr/local/cuda", f"/usr/local/cuda-{major}"),
            chosen=_CUDA_CHOSEN,
            version=(major,),
            below=(major + 1,),
        ),
        Hints(
            f"with NVIDIA's apt repository: sudo apt install cuda-toolkit-{release}",
            f"with NVIDIA's dnf repository: sudo dnf install cuda-toolkit-{release}",
            "",
            f"winget install Nvidia.CUDA --version {release.replace('-', '.')}",
        ),
        chosen=_CUDA_CHOSEN,
        gives=_cuda_toolkit,
    )


def cublas(major: int) -> Need:
    """Return the need for CUDA's BLAS of one major version, first of all beside the nvcc that was found."""
    release = _CUDA_RELEASES[major]
    return Need(
        "cuBLAS",
        library(
            "cublas",
            variables=("CUDA_PATH", "CUDA_HOME"),
            folders=("/usr/local/cuda", f"/usr/local/cuda-{major}"),
            beside="CMAKE_CUDA_COMPILER",
            major=major,
        ),
        Hints(
            f"with NVIDIA's apt repository: sudo apt install libcublas-dev-{release}",
            f"with NVIDIA's dnf repository: sudo dnf install libcublas-devel-{release}",
            "",
            "install the CUDA toolkit with all of its parts",
        ),
        ("CUDA_cublas_LIBRARY",),
    )
