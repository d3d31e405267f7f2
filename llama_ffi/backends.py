"""What the loaded library can compute on: back ends, their devices, and the buffer types of those.

All of them live as long as the process: nothing is owned, nothing is closed, and any thread may ask. A name
is as llama.cpp has it: back end "CUDA", device "CUDA0", buffer type "CUDA0" or "CUDA_Host".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ._core import back_ends, binding, check
from ._core import text as text_
from .errors import BackendError, MissingFieldError

_SIZE_MAX = 2**64 - 1


class DeviceMemory(NamedTuple):
    """The memory of a device at one moment."""

    free: int
    """bytes"""
    total: int
    """bytes"""


@dataclass(frozen=True)
class Capabilities:
    """What a device can do."""

    async_compute: bool
    """operations that run while the program goes on"""
    host_buffer: bool
    """pinned memory of the host, from which copies are faster"""
    buffer_from_host_ptr: bool
    """buffers over memory of the host, a mapped file for example"""
    events: bool
    """operations of one stream can wait for those of another"""
    mmap: bool
    """models can be mapped instead of read"""


class _Lasting:
    """A C object that lives as long as the process; equal if it is the same one."""

    __slots__ = ("_ffi", "_lib", "ptr")

    ptr: Any
    """the C pointer, borrowed"""

    def __init__(self, pointer: Any) -> None:
        active = binding.active()
        self._ffi: Any = active.ffi
        self._lib: Any = active.lib
        self.ptr = pointer

    @property
    def name(self) -> str:
        """Return its name."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.ptr == self.ptr

    def __hash__(self) -> int:
        return hash(self.ptr)

    def __repr__(self) -> str:
        return f"<llama_ffi.{type(self).__name__} {self.name}>"

    def _text(self, string: Any) -> str:
        return "" if string == self._ffi.NULL else self._ffi.string(string).decode("utf-8", "replace")


class BufferType(_Lasting):
    """A kind of memory that tensors can lie in.

    C: ggml_backend_buffer_type_t, borrowed.

    Threads: any.
    """

    __slots__ = ()

    @property
    def name(self) -> str:
        """Return its name: "CPU", "CUDA0", "CPU_REPACK". C: ggml_backend_buft_name"""
        return self._text(self._lib.ggml_backend_buft_name(self.ptr))

    @property
    def alignment(self) -> int:
        """Return to how many bytes tensors are aligned. C: ggml_backend_buft_get_alignment"""
        return int(self._lib.ggml_backend_buft_get_alignment(self.ptr))

    @property
    def max_size(self) -> int | None:
        """Return the largest size of one buffer in bytes, None if there is no limit.

        C: ggml_backend_buft_get_max_size
        """
        size = int(self._lib.ggml_backend_buft_get_max_size(self.ptr))
        return None if size >= _SIZE_MAX else size

    @property
    def is_host(self) -> bool:
        """Return whether it is the host's memory in the usual layout. C: ggml_backend_buft_is_host"""
        return bool(self._lib.ggml_backend_buft_is_host(self.ptr))

    @property
    def device(self) -> Device | None:
        """Return the device that it belongs to, None if it belongs to none.

        C: ggml_backend_buft_get_device
        """
        device = self._lib.ggml_backend_buft_get_device(self.ptr)
        return None if device == self._ffi.NULL else Device(device)


class Device(_Lasting):
    """One device that tensors can be placed and computed on.

    C: ggml_backend_dev_t, borrowed.

    Threads: any.
    """

    __slots__ = ()

    @classmethod
    def find(cls, name: str) -> Device:
        """Return the device of that name, in any case.

        C: ggml_backend_dev_by_name

        Raises:
            BackendError: there is none; the message lists those that are.
            ArgumentTypeError, InvalidArgumentError: the name isn't text, or holds a NUL.
        """
        check.instance("name", name, str)
        active = binding.active()
        pointer = active.lib.ggml_backend_dev_by_name(text_.encode_c(name, "name"))
        if pointer == active.NULL:
            known = ", ".join(device.name for device in devices())
            raise BackendError(f"no device named {name!r}; there are: {known}{_why_not(name)}")
        return cls(pointer)

    @property
    def name(self) -> str:
        """Return its name: "CPU", "CUDA0", "Vulkan0". C: ggml_backend_dev_name"""
        return self._text(self._lib.ggml_backend_dev_name(self.ptr))

    @property
    def description(self) -> str:
        """Return the hardware's own name. C: ggml_backend_dev_description"""
        return self._text(self._lib.ggml_backend_dev_description(self.ptr))

    @property
    def type(self) -> str:
        """Return its kind: "CPU", "GPU", "IGPU", "ACCEL" or "META". C: ggml_backend_dev_type"""
        kinds = binding.active().enum("ggml_backend_dev_type")
        return str(kinds(self._lib.ggml_backend_dev_type(self.ptr)).name)

    @property
    def id(self) -> str | None:
        """Return what tells it from others of its kind, the PCI bus for example, or None if that is unknown.

        C: ggml_backend_dev_get_props

        Raises:
            MissingFieldError: this library is too old to say.
        """
        try:
            return self._text(self._props().device_id) or None
        except AttributeError:
            raise MissingFieldError(
                "Device.id can't be used: this library's struct ggml_backend_dev_props has no device_id"
            ) from None

    @property
    def capabilities(self) -> Capabilities:
        """Return what it can do, a copy. C: ggml_backend_dev_get_props"""
        caps = self._props().caps
        return Capabilities(
            async_compute=bool(getattr(caps, "async")),
            host_buffer=bool(caps.host_buffer),
            buffer_from_host_ptr=bool(caps.buffer_from_host_ptr),
            events=bool(caps.events),
            mmap=bool(getattr(caps, "mmap_support", True)),  # older versions map without asking
        )

    @property
    def backend(self) -> str:
        """Return the name of the back end that drives it. C: ggml_backend_dev_backend_reg"""
        return Backend(self._lib.ggml_backend_dev_backend_reg(self.ptr)).name

    @property
    def module(self) -> Path | None:
        """Return the file of the back end that drives it, None if this library doesn't tell.

        C: ggml_backend_dev_backend_reg
        """
        return Backend(self._lib.ggml_backend_dev_backend_reg(self.ptr)).module

    @property
    def memory(self) -> DeviceMemory:
        """Return the free and the whole memory in bytes, now; 0 if the device doesn't say.

        C: ggml_backend_dev_memory
        """
        free, total = self._ffi.new("size_t *"), self._ffi.new("size_t *")
        self._lib.ggml_backend_dev_memory(self.ptr, free, total)
        return DeviceMemory(int(free[0]), int(total[0]))

    @property
    def memory_free(self) -> int:
        """Return the free memory in bytes, now. C: ggml_backend_dev_memory"""
        return self.memory.free

    @property
    def memory_total(self) -> int:
        """Return the memory in bytes. C: ggml_backend_dev_memory"""
        return self.memory.total

    @property
    def buffer_type(self) -> BufferType:
        """Return the memory that its tensors usually lie in. C: ggml_backend_dev_buffer_type"""
        return BufferType(self._lib.ggml_backend_dev_buffer_type(self.ptr))

    @property
    def host_buffer_type(self) -> BufferType | None:
        """Return the host's memory that it copies from fastest, None if it has no such thing.

        C: ggml_backend_dev_host_buffer_type
        """
        pointer = self._lib.ggml_backend_dev_host_buffer_type(self.ptr)
        return None if pointer == self._ffi.NULL else BufferType(pointer)

    @property
    def extra_buffer_types(self) -> list[BufferType]:
        """Return the memory in which weights are kept in another order, for faster products.

        C: ggml_backend_reg_get_proc_address of the function that lists them
        """
        backend = Backend(self._lib.ggml_backend_dev_backend_reg(self.ptr))
        function = backend.function("ggml_backend_dev_get_extra_bufts")
        if function is None:
            return []
        listed = self._ffi.cast("ggml_backend_dev_get_extra_bufts_t", function)(self.ptr)
        found = []
        while listed != self._ffi.NULL and listed[0] != self._ffi.NULL:
            found.append(BufferType(listed[0]))
            listed += 1
        return found

    def supports_buffer_type(self, buffer_type: BufferType) -> bool:
        """Return whether it can compute with tensors that lie in ``buffer_type``.

        C: ggml_backend_dev_supports_buft

        Raises:
            ArgumentTypeError: that is no BufferType.
        """
        check.instance("buffer_type", buffer_type, BufferType)
        return bool(self._lib.ggml_backend_dev_supports_buft(self.ptr, buffer_type.ptr))

    def _props(self) -> Any:
        props = self._ffi.new("struct ggml_backend_dev_props *")
        self._lib.ggml_backend_dev_get_props(self.ptr, props)
        return props


class Backend(_Lasting):
    """One loaded back end: a way to compute, with its devices.

    C: ggml_backend_reg_t, borrowed.

    Threads: any.
    """

    __slots__ = ()

    @classmethod
    def all(cls) -> list[Backend]:
        """Return the loaded back ends, in llama.cpp's order.

        C: ggml_backend_reg_count, ggml_backend_reg_get
        """
        lib = binding.active().lib
        return [cls(lib.ggml_backend_reg_get(index)) for index in range(lib.ggml_backend_reg_count())]

    @classmethod
    def find(cls, name: str) -> Backend:
        """Return the loaded back end of that name, in any case.

        C: ggml_backend_reg_by_name

        Raises:
            BackendError: there is none; the message lists those that are.
            ArgumentTypeError, InvalidArgumentError: the name isn't text, or holds a NUL.
        """
        check.instance("name", name, str)
        active = binding.active()
        pointer = active.lib.ggml_backend_reg_by_name(text_.encode_c(name, "name"))
        if pointer == active.NULL:
            known = ", ".join(available_backends())
            raise BackendError(f"no back end named {name!r}; there are: {known}{_why_not(name)}")
        return cls(pointer)

    @property
    def name(self) -> str:
        """Return its name: "CPU", "CUDA", "RPC". C: ggml_backend_reg_name"""
        return self._text(self._lib.ggml_backend_reg_name(self.ptr))

    @property
    def devices(self) -> list[Device]:
        """Return its devices; RPC has none until a worker is added.

        C: ggml_backend_reg_dev_count, ggml_backend_reg_dev_get
        """
        lib = self._lib
        count = lib.ggml_backend_reg_dev_count(self.ptr)
        return [Device(lib.ggml_backend_reg_dev_get(self.ptr, index)) for index in range(count)]

    @property
    def module(self) -> Path | None:
        """Return the file that it was loaded from, a module's or a linked library's; None if unknown.

        Like C's path in ggml_backend_load
        """
        info = binding.active().info
        address = int(self._ffi.cast("uintptr_t", self.ptr))
        for outcome in info.modules:
            if outcome.registry == address:
                return outcome.module.path
        return info.libraries.files.get(f"ggml-{self.name.lower()}")

    @property
    def features(self) -> Mapping[str, str]:
        """Return what it was built with and what the hardware has, "AVX2" → "1" for example; a copy.

        C: ggml_backend_reg_get_proc_address of the function that lists them
        """
        function = self.function("ggml_backend_get_features")
        found: dict[str, str] = {}
        if function is not None:
            feature = self._ffi.cast("ggml_backend_get_features_t", function)(self.ptr)
            while feature != self._ffi.NULL and feature.name != self._ffi.NULL:
                found[self._text(feature.name)] = self._text(feature.value)
                feature += 1
        return MappingProxyType(found)

    def function(self, name: str) -> Any:
        """Return the address of one of its functions that no header declares, for ``ffi.cast``.

        C: ggml_backend_reg_get_proc_address

        Returns:
            ``void *``, borrowed; None if it has no function of that name.

        Raises:
            ArgumentTypeError, InvalidArgumentError: the name isn't text, or holds a NUL.
        """
        check.instance("name", name, str)
        address = self._lib.ggml_backend_reg_get_proc_address(self.ptr, text_.encode_c(name, "name"))
        return None if address == self._ffi.NULL else address


def _why_not(name: str) -> str:
    """Return what may be why there is no device or back end of that name, for the end of an error."""
    info = binding.active().info
    loaded = {backend.name: len(backend.devices) for backend in Backend.all()}
    return back_ends.about_missing(name, loaded, info.modules, info.found_via)


def devices() -> list[Device]:
    """Return the devices of all loaded back ends, in llama.cpp's order.

    C: ggml_backend_dev_count, ggml_backend_dev_get

    Threads: any.
    """
    lib = binding.active().lib
    return [Device(lib.ggml_backend_dev_get(index)) for index in range(lib.ggml_backend_dev_count())]


def available_backends() -> list[str]:
    """Return the names of the loaded back ends, in llama.cpp's order.

    C: ggml_backend_reg_count, ggml_backend_reg_get, ggml_backend_reg_name

    Threads: any.
    """
    return [backend.name for backend in Backend.all()]
