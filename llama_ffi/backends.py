"""What the loaded library can compute on: back ends, devices, and where the library came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ._core import binding
from ._core.runtime import LibraryInfo


class Device(NamedTuple):
    """One device that tensors can be placed on."""

    name: str
    """as llama.cpp names it: "CPU", "CUDA0", "Vulkan0" """
    description: str
    """the hardware's own name"""
    type: str
    """"CPU", "GPU", "IGPU" or "ACCEL" """
    backend: str
    """the back end that drives it"""
    memory_total: int
    """bytes"""
    memory_free: int
    """bytes, now"""


def devices() -> list[Device]:
    """Return the devices of all loaded back ends, in llama.cpp's order.

    C: ggml_backend_dev_count, ggml_backend_dev_get and the getters of a device.

    Returns:
        a list of copies; the free memory is that of the moment.

    Threads: any.
    """
    active = binding.active()
    lib = active.lib
    return [_device(active, lib.ggml_backend_dev_get(index)) for index in range(lib.ggml_backend_dev_count())]


def available_backends() -> list[str]:
    """Return the names of the loaded back ends, in llama.cpp's order.

    C: ggml_backend_reg_count, ggml_backend_reg_get, ggml_backend_reg_name

    Threads: any.
    """
    active = binding.active()
    lib = active.lib
    registries = (lib.ggml_backend_reg_get(index) for index in range(lib.ggml_backend_reg_count()))
    return [_text(active, lib.ggml_backend_reg_name(registry)) for registry in registries]


def library_info() -> LibraryInfo:
    """Return which library is in use, how it was found, and how it was proven to match the bindings.

    Threads: any; the first call loads the library.
    """
    return binding.active().info


def library_paths() -> dict[str, Path]:
    """Return the files of the library in use: "llama", "ggml", "ggml-base", "ggml-cpu", "mtmd" → path.

    Threads: any; the first call loads the library.
    """
    return dict(binding.active().info.libraries.files)


def _device(active: binding.Binding, device: Any) -> Device:
    lib, ffi = active.lib, active.ffi
    free, total = ffi.new("size_t *"), ffi.new("size_t *")
    lib.ggml_backend_dev_memory(device, free, total)
    kind = active.enum("ggml_backend_dev_type")(lib.ggml_backend_dev_type(device))
    return Device(
        name=_text(active, lib.ggml_backend_dev_name(device)),
        description=_text(active, lib.ggml_backend_dev_description(device)),
        type=kind.name,
        backend=_text(active, lib.ggml_backend_reg_name(lib.ggml_backend_dev_backend_reg(device))),
        memory_total=total[0],
        memory_free=free[0],
    )


def _text(active: binding.Binding, string: Any) -> str:
    return "" if string == active.NULL else active.ffi.string(string).decode("utf-8", "replace")
