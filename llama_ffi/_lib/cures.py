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
    homebrew: str = ""
    """the package on a Mac, "" if there is none"""


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
    (
        r"libvulkan\.|vulkan-1\.dll",
        Source("the Vulkan loader", "libvulkan1", "vulkan-loader", homebrew="vulkan-loader molten-vk"),
    ),
    (r"libOpenCL\.so", Source("the OpenCL loader", "ocl-icd-libopencl1", "ocl-icd")),
    (r"libopenblas", Source("OpenBLAS", "libopenblas0", "openblas", homebrew="openblas")),
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
        "Install a Vulkan driver: `apt install mesa-vulkan-drivers` (Debian, Ubuntu), `dnf install "
        "mesa-vulkan-drivers` (Fedora), or the maker's own; one that computes on the processor is taken only "
        "with GGML_VK_VISIBLE_DEVICES=0"
    ),
    "cuda": "`nvidia-smi` shows what the driver sees; CUDA_VISIBLE_DEVICES may hide it; in a container: "
    "start it with `--gpus all`",
    "hip": "`rocminfo` shows what the driver sees; HIP_VISIBLE_DEVICES may hide it; the user must be in the "
    "groups render and video",
    "sycl": "`sycl-ls` shows what the driver sees; the user must be in the group render",
    "opencl": "Install an OpenCL driver; `clinfo` shows what there is",
}
"""What to do if a back end is loaded and finds no device."""

PLUGINS = {
    "vulkan": ("vulkan",),
    "cuda": ("cuda13", "cuda12"),
    "hip": ("hip",),
    "sycl": ("sycl",),
    "opencl": ("opencl",),
    "blas": ("openblas",),
}
"""Back end → the distributions that bring it, llama-ffi-NAME; what each one is built by as well."""

OTHER_NAMES = {"rocm": "hip", "amd": "hip", "nvidia": "cuda", "gpuopencl": "opencl", "mtl": "metal"}
"""How people, and llama.cpp's devices, call back ends besides."""

ON_WINDOWS = {
    "cuda": "CUDA's libraries (`pip install nvidia-cublas nvidia-cuda-runtime` for CUDA 13, `pip install "
    "nvidia-cublas-cu12 nvidia-cuda-runtime-cu12` for CUDA 12, or the toolkit, whose folder CUDA_PATH names) "
    "or NVIDIA's driver",
    "vulkan": "the Vulkan loader, vulkan-1.dll, which comes with the GPU's driver",
    "opencl": "the OpenCL loader, OpenCL.dll, which comes with the GPU's driver",
    "blas": "OpenBLAS: let OPENBLAS_HOME name the folder in whose bin its DLL is",
    "hip": "AMD's HIP SDK: let HIP_PATH name its folder",
    "sycl": "Intel's oneAPI run time: `pip install intel-sycl-rt onemkl-sycl-blas dpcpp-cpp-rt`",
}
"""Back end → what its module needs besides our libraries: Windows doesn't say which library it misses."""

_MISSING = re.compile(
    r"([\w.+-]+\.(?:so[\w.]*|dll|dylib)): cannot open shared object file"
    r"|Library not loaded: (?:\S*/)?([\w.+-]+)"  # dyld, on a Mac
)
_DAMAGED = re.compile(
    r"wrong ELF class|invalid ELF header|file too short|incompatible architecture|not a mach-o file"
    r"|error 0xc1\b|WinError 193\b"
)


def missing(words: str) -> str | None:
    """Return the name of the library that the loader's words miss, None if they are about something else."""
    found = _MISSING.search(words)
    return (found[1] or found[2]) if found else None


def cure(path: Path, words: str) -> str:
    """Return what to do about the loader's ``words`` on ``path``, "" if nothing is known."""
    name = missing(words)
    if name is not None and name != path.name:
        for pattern, source in SOURCES:
            if re.match(pattern, name):
                return _install(source)
        return f"install what brings {name}"
    if re.search(r"error 0x7e\b|WinError 126\b", words):
        back_end = re.match(r"(?:lib)?ggml-([a-z]+)", path.name)
        what = ON_WINDOWS.get(back_end[1] if back_end else "")
        known = what or "the Visual C++ run time (`winget install Microsoft.VCRedist.2015+.x64`)"
        return f"the file or a library that it needs is missing, Windows doesn't say which; probably {known}"
    if "static TLS block" in words:
        return (
            "other libraries took the room for thread-local data before: call `llama_ffi.library_info()` "
            "before importing them, or start Python with GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384"
        )
    if "failed to map segment" in words:
        return (
            f"{path.parent} is mounted noexec, or a policy forbids libraries there: install it elsewhere; "
            f"what `llama-ffi build` made goes where LLAMA_FFI_CACHE says"
        )
    if re.search(r"undefined symbol|Symbol not found|error 0x7f\b|WinError 127\b", words):
        return "it was linked against other versions of its neighbours: build or install them together"
    if "GLIBC" in words:
        kind = "libstdc++" if "GLIBCXX" in words or "CXXABI" in words else "glibc"
        return f"it needs a newer {kind} than this system has: build it here with `llama-ffi build`"
    if _DAMAGED.search(words):
        return "the file is damaged or for another machine: install it again"
    if name is not None:
        return "the file is missing: install it again"
    return ""


def back_end_of(name: str) -> str | None:
    """Return the back end that ``name`` is, or whose device it would be ("CUDA0"); None if unknown."""
    word = name.rstrip("0123456789").lower()
    word = OTHER_NAMES.get(word, word)
    return word if word in PLUGINS or word == "metal" else None


def how_to_get(name: str, again: bool = False) -> str:
    """Return how to get the back end ``name``, or which ones there are if none is called so.

    ``again``: it is there, and of no use.
    """
    word = OTHER_NAMES.get(name, name)
    labels = PLUGINS.get(word) or next(((word,) for each in PLUGINS.values() if word in each), ())
    if labels:
        pip, install = (
            ("pip install --force-reinstall", "Install it again") if again else ("pip install", "Install it")
        )
        ways = " or ".join(f'`{pip} "llama-ffi[{label}]"`' for label in labels)
        return f"{install} ({ways}), or build it here: `llama-ffi build {labels[0]}`"
    if word == "metal":
        return "Metal is there on Macs, in the library itself"
    from difflib import get_close_matches

    known = ["cpu", "rpc", *PLUGINS, *(label for labels in PLUGINS.values() for label in labels)]
    near = get_close_matches(word, known, 1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"No back end is called so; those of llama_ffi are cpu, rpc, {', '.join(PLUGINS)}{meant}"


def explain(path: Path, error: OSError) -> str:
    """Return the loader's words on ``path`` and what to do, as one sentence."""
    words = str(error)
    machine = os.uname().machine if hasattr(os, "uname") else sys.platform
    hint = cure(path, words) or f"the loader refuses it on {machine}"
    return f"{path} can't be loaded: {words} ({hint})"


def _install(source: Source) -> str:
    ways = []
    if sys.platform == "darwin" and source.homebrew:
        ways.append(f"`brew install {source.homebrew}`")
    elif source.debian:
        ways.append(f"`apt install {source.debian}` (Debian, Ubuntu), `dnf install {source.fedora}` (Fedora)")
    if source.other:
        ways.append(f"`{source.other}`" if source.other.startswith("pip ") else source.other)
    return f"{source.what} is missing: {'; '.join(ways)}".replace("libraries is", "libraries are")
