"""How much memory there is for a model and its contexts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .choices import members

if TYPE_CHECKING:
    from .binding import Binding


def of_system() -> int:
    """Return the bytes that this process can still get, 0 if the system doesn't say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = {
                line.split(":")[0]: int(line.split()[1]) * 1024 for line in file if line.endswith("kB\n")
            }
        free = fields.get("MemAvailable", 0) + fields.get("SwapFree", 0)
    except (OSError, ValueError, IndexError):
        try:
            free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, OSError, ValueError):
            return 0
    try:
        with (
            open("/sys/fs/cgroup/memory.max", encoding="ascii") as limit,
            open("/sys/fs/cgroup/memory.current", encoding="ascii") as used,
        ):
            most = limit.read().strip()
            if most != "max":
                free = min(free, max(0, int(most) - int(used.read())) + _reclaimable())
    except (OSError, ValueError):
        pass
    return free


def _reclaimable() -> int:
    with open("/sys/fs/cgroup/memory.stat", encoding="ascii") as file:
        return sum(
            int(line.split()[1]) for line in file if line.startswith(("inactive_file ", "active_file "))
        )


def of_devices(active: Binding) -> int:
    """Return the bytes that all devices but the CPU have."""
    ffi, lib = active.ffi, active.lib
    cpu = members(active, "ggml_backend_dev_type")["cpu"]
    total = 0
    free_bytes, all_bytes = ffi.new("size_t *"), ffi.new("size_t *")
    for index in range(lib.ggml_backend_dev_count()):
        device = lib.ggml_backend_dev_get(index)
        if lib.ggml_backend_dev_type(device) != cpu:
            lib.ggml_backend_dev_memory(device, free_bytes, all_bytes)
            total += int(free_bytes[0])
    return total
