"""Why a library can't be loaded, in words, and the command that helps: known names, else a hint.

The loader says which file it misses. Where that file comes from is what people ask next.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import NamedTuple


class Source(NamedTuple):
    """Where a library comes from."""

    what: str
    debian: str
    """the package; "" if a sentence in ``other`` says it all"""
    fedora: str
    other: str = ""


_NVIDIA = Source(
    "the NVIDIA driver",
    "nvidia-driver",
    "akmod-nvidia",
    "in a container: start it with `--gpus all`; on WSL: update the driver of Windows",
)
_ONEAPI = Source("Intel's oneAPI run time", "", "", "pip install intel-sycl-rt onemkl-sycl-blas dpcpp-cpp-rt")
_ROCM = Source("AMD's ROCm", "rocm-hip-runtime", "rocm-hip")

SOURCES: tuple[tuple[str, Source], ...] = (
    (r"libcuda\.so|nvcuda\.dll", _NVIDIA),
    (r"libnvidia-", _NVIDIA),
    (
        r"libcu(blas|blasLt|dart)\.so\.13",
        Source("CUDA 13's libraries", "", "", "pip install nvidia-cublas nvidia-cuda-runtime"),
    ),
    (
        r"libcu(blas|blasLt|dart)\.so\.12",
        Source("CUDA 12's libraries", "", "", "pip install nvidia-cublas-cu12 nvidia-cuda-runtime-cu12"),
    ),
    (r"libvulkan\.so|vulkan-1\.dll", Source("the Vulkan loader", "libvulkan1", "vulkan-loader")),
    (r"libOpenCL\.so", Source("the OpenCL loader", "ocl-icd-libopencl1", "ocl-icd")),
    (r"libopenblas", Source("OpenBLAS", "libopenblas0", "openblas")),
    (r"libblas\.so|libcblas\.so", Source("BLAS", "libblas3", "blas")),
    (r"libze_loader\.so", Source("Intel's Level Zero loader", "libze1", "oneapi-level-zero")),
    (r"libsycl\.so|libmkl_|libOpenCL|libimf\.so|libsvml\.so|libirng\.so|libintlc\.so", _ONEAPI),
    (r"libamdhip64|libhipblas|librocblas|libhsa-runtime", _ROCM),
    (r"libgomp\.so", Source("GCC's OpenMP run time", "libgomp1", "libgomp")),
    (r"libstdc\+\+\.so|libgcc_s\.so", Source("the C++ run time", "libstdc++6", "libstdc++")),
    (r"libibverbs\.so|librdmacm\.so", Source("the RDMA libraries", "libibverbs1", "libibverbs")),
)
"""Library (a regular expression) → where it comes from; the first that fits."""

NO_DEVICE = {
    "vulkan": (
        "install a Vulkan driver: `apt install mesa-vulkan-drivers` (Debian, Ubuntu), `dnf install "
        "mesa-vulkan-drivers` (Fedora), or the maker's own; one that computes on the processor is taken only "
        "with GGML_VK_VISIBLE_DEVICES=0"
    ),
    "cuda": "`nvidia-smi` shows what the driver sees; CUDA_VISIBLE_DEVICES may hide it; in a container: "
    "start it with `--gpus all`",
    "hip": "`rocminfo` shows what the driver sees; HIP_VISIBLE_DEVICES may hide it; the user must be in the "
    "groups render and video",
    "sycl": "`sycl-ls` shows what the driver sees; the user must be in the group render",
    "opencl": "install an OpenCL driver; `clinfo` shows what there is",
}
"""What to do if a back end is loaded and finds no device."""

_MISSING = re.compile(r"([\w.+-]+\.(?:so[\w.]*|dll|dylib)): cannot open shared object file")


def missing(words: str) -> str | None:
    """Return the name of the library that the loader's words miss, None if they are about something else."""
    found = _MISSING.search(words)
    return found[1] if found else None


def cure(path: Path, words: str) -> str:
    """Return what to do about the loader's ``words`` on ``path``, "" if nothing is known."""
    name = missing(words)
    if name is not None and name != path.name:
        for pattern, source in SOURCES:
            if re.match(pattern, name):
                return _install(source)
        return f"install what brings {name}"
    if "undefined symbol" in words:
        return "it was linked against other versions of its neighbours: build or install them together"
    if "GLIBC" in words:
        kind = "libstdc++" if "GLIBCXX" in words or "CXXABI" in words else "glibc"
        return f"it needs a newer {kind} than this system has: build it here with `llama-ffi build`"
    if "wrong ELF class" in words or "invalid ELF header" in words or "file too short" in words:
        return "the file is damaged or for another machine: install it again"
    if name is not None:
        return "the file is missing: install it again"
    return ""


def explain(path: Path, error: OSError) -> str:
    """Return the loader's words on ``path`` and what to do, as one sentence."""
    words = str(error)
    machine = os.uname().machine if hasattr(os, "uname") else sys.platform
    hint = cure(path, words) or f"the loader refuses it on {machine}"
    return f"{path} can't be loaded: {words} ({hint})"


def _install(source: Source) -> str:
    ways = []
    if source.debian:
        ways.append(f"`apt install {source.debian}` (Debian, Ubuntu), `dnf install {source.fedora}` (Fedora)")
    if source.other:
        ways.append(f"`{source.other}`" if source.other.startswith("pip ") else source.other)
    return f"{source.what} is missing: {'; '.join(ways)}".replace("libraries is", "libraries are")
