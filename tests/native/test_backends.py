"""Back ends, devices and buffer types as objects."""

from __future__ import annotations

import os

import pytest

import llama_ffi as lf
from llama_ffi.errors import ArgumentTypeError, BackendError, InvalidArgumentError
from llama_ffi.raw import ffi, lib

pytestmark = pytest.mark.native


@pytest.fixture
def cpu() -> lf.Device:
    return lf.Device.find("CPU")


def test_back_ends_and_names_agree() -> None:
    backends = lf.Backend.all()
    assert [backend.name for backend in backends] == lf.available_backends()
    assert "CPU" in lf.available_backends()
    assert [device for backend in backends for device in backend.devices] == lf.devices()


def test_found_by_name_in_any_case(cpu: lf.Device) -> None:
    assert lf.Device.find("cpu") == cpu
    assert lf.Backend.find("cpu") == lf.Backend.find("CPU")
    with pytest.raises(BackendError, match=r"no device named 'CUDA7'; there are: .*CPU"):
        lf.Device.find("CUDA7")
    with pytest.raises(BackendError, match=r"no back end named 'CUDB'; there are: .*CPU"):
        lf.Backend.find("CUDB")


def cpu_function(name: str) -> object:
    return lf.Backend.find("CPU").function(name)


@pytest.mark.parametrize("find", [lf.Device.find, lf.Backend.find, cpu_function])
def test_names_that_cannot_be(find: object) -> None:
    for name, error in ((3, ArgumentTypeError), (None, ArgumentTypeError), ("a\0b", InvalidArgumentError)):
        with pytest.raises(error):
            find(name)  # type: ignore[operator]
    with pytest.raises(InvalidArgumentError, match="surrogate"):
        find("\udc80")  # type: ignore[operator]


def test_the_cpu(cpu: lf.Device) -> None:
    assert (cpu.name, cpu.type, cpu.backend) == ("CPU", "CPU", "CPU")
    assert cpu.description and cpu.id is None
    assert repr(cpu) == "<llama_ffi.Device CPU>"
    free, total = cpu.memory
    assert 0 < free <= total == cpu.memory_total
    assert cpu.memory_free > 0
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert total <= pages


def test_every_device_answers_everything() -> None:
    for device in lf.devices():
        assert device.name and device.type in ("CPU", "GPU", "IGPU", "ACCEL", "META")
        props = ffi.new("struct ggml_backend_dev_props *")
        lib.ggml_backend_dev_get_props(device.ptr, props)
        caps = device.capabilities
        assert caps.host_buffer == props.caps.host_buffer and caps.events == props.caps.events
        assert caps.async_compute == getattr(props.caps, "async")
        assert caps.mmap == props.caps.mmap_support
        assert caps.buffer_from_host_ptr == props.caps.buffer_from_host_ptr
        assert device in lf.Backend.find(device.backend).devices
        kinds = [device.buffer_type, *device.extra_buffer_types]
        if device.host_buffer_type is not None:
            kinds.append(device.host_buffer_type)
        for kind in kinds:
            assert kind.name and kind.alignment > 0 and (kind.max_size is None or kind.max_size > 0)
            assert device.supports_buffer_type(kind)
            assert kind.device in (device, None) or kind == device.host_buffer_type


def test_buffer_types_of_the_cpu(cpu: lf.Device) -> None:
    kind = cpu.buffer_type
    assert (kind.name, kind.is_host, kind.max_size) == ("CPU", True, None)
    assert kind.alignment & (kind.alignment - 1) == 0
    assert kind == cpu.buffer_type and hash(kind) == hash(cpu.buffer_type)
    assert kind != cpu and {kind: 1}[cpu.buffer_type] == 1
    for extra in cpu.extra_buffer_types:
        assert extra != kind and not extra.is_host and extra.device == cpu
    with pytest.raises(ArgumentTypeError, match="must be a BufferType"):
        cpu.supports_buffer_type("CPU")  # type: ignore[arg-type]


def test_features() -> None:
    backend = lf.Backend.find("CPU")
    features = backend.features
    assert features and all(key and value for key, value in features.items())
    with pytest.raises(TypeError):
        features["AVX"] = "0"  # type: ignore[index]
    info = lf.system_info()
    assert info.features["CPU"] == features
    for name, value in features.items():
        assert f"{name} = {value} | " in info.text


def test_functions_that_no_header_declares() -> None:
    backend = lf.Backend.find("CPU")
    address = backend.function("ggml_backend_get_features")
    listed = ffi.cast("ggml_backend_get_features_t", address)(backend.ptr)
    assert ffi.string(listed[0].name).decode() in backend.features
    assert backend.function("no_such_function") is None and backend.function("") is None


def test_raw_pointers_are_the_same(cpu: lf.Device) -> None:
    assert cpu.ptr == lib.ggml_backend_dev_by_name(b"CPU")
    assert cpu.buffer_type.ptr == lib.ggml_backend_cpu_buffer_type()
