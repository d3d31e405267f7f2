"""Where the memory of a model and its context lies: weights, what is remembered, and what computing needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._core.binding import Binding
from .backends import BufferType
from .errors import UnsupportedError


@dataclass(frozen=True)
class MemoryUse:
    """The bytes in one kind of memory."""

    buffer_type: str
    """name of the kind: "CPU", "CUDA0", "CUDA_Host" """
    device: str | None
    """the device that it belongs to; None for the host's usual memory"""
    is_host: bool
    """whether the host can read it"""
    model: int
    """weights; those of a mapped file count too, though the system may drop them from memory"""
    context: int
    """what the context remembers: keys and values, recurrent states"""
    compute: int
    """buffers for computing"""

    @property
    def total(self) -> int:
        """Return all of it, in bytes."""
        return self.model + self.context + self.compute


@dataclass(frozen=True)
class MemoryBreakdown:
    """The memory of a model and one context, by kind of memory."""

    entries: tuple[MemoryUse, ...]
    """one for each kind in use"""

    @property
    def model(self) -> int:
        """Return the bytes of all weights."""
        return sum(entry.model for entry in self.entries)

    @property
    def context(self) -> int:
        """Return the bytes of all that the context remembers."""
        return sum(entry.context for entry in self.entries)

    @property
    def compute(self) -> int:
        """Return the bytes of all buffers for computing."""
        return sum(entry.compute for entry in self.entries)

    @property
    def total(self) -> int:
        """Return all of it, in bytes."""
        return sum(entry.total for entry in self.entries)

    def __str__(self) -> str:
        head = ("memory", "device", "weights", "context", "compute", "total")
        rows = [
            (entry.buffer_type, entry.device or "host", *map(_mib, _sizes(entry))) for entry in self.entries
        ]
        if len(rows) != 1:
            rows.append(("all", "", *map(_mib, _sizes(self))))
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        lines = (
            "  ".join(
                text.ljust(width) if column < 2 else text.rjust(width)
                for column, (text, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in (head, *rows)
        )
        return "\n".join(lines)


def of_context(active: Binding, context: Any) -> MemoryBreakdown:
    """Ask C where the memory of a context lies.

    Raises:
        UnsupportedError: this library doesn't tell.
    """
    found = None if active.guard is None else active.guard.memory_breakdown(context)
    if found is None:
        raise UnsupportedError(
            "this library doesn't tell where its memory lies: it needs the guard library that is built from "
            "the same source (`llama-ffi build`, and LLAMA_FFI_GUARD not 0)"
        )
    entries = []
    for address, model, remembered, compute in found:
        kind = BufferType(active.ffi.cast("ggml_backend_buffer_type_t", address))
        if model or remembered or compute:
            device = kind.device
            name = None if device is None else device.name
            entries.append(MemoryUse(kind.name, name, kind.is_host, model, remembered, compute))
    return MemoryBreakdown(tuple(sorted(entries, key=lambda entry: (entry.is_host, entry.buffer_type))))


def _sizes(use: MemoryUse | MemoryBreakdown) -> tuple[int, int, int, int]:
    return use.model, use.context, use.compute, use.total


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
