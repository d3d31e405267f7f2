"""Windows' and macOS' loaders, as far as they can be played here: places of libraries, what helps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from llama_ffi._core import back_ends
from llama_ffi._lib import cures, dll_folders
from llama_ffi._lib.modules import Module


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_cudas_libraries_are_in_its_packages_and_its_toolkit(tmp_path: Path) -> None:
    site, toolkit = tmp_path / "site-packages", tmp_path / "CUDA"
    wanted = {
        made(site / "nvidia" / "cublas" / "bin"),  # CUDA 12's packages
        made(site / "nvidia" / "cu13" / "bin" / "x86_64"),  # CUDA 13's
        site / "nvidia" / "cu13" / "bin",
        made(toolkit / "bin" / "x64"),
        toolkit / "bin",
        made(tmp_path / "prefix" / "Library" / "bin"),
    }
    made(site / "nvidia" / "nvtx" / "include")
    paths = ["", str(tmp_path / "nowhere"), str(site)]
    environment = {"CUDA_PATH": str(toolkit), "HIP_PATH": str(made(tmp_path / "hip"))}
    found = dll_folders.folders("cuda", paths, str(tmp_path / "prefix"), environment)
    assert set(found) == wanted and len(found) == len(wanted)
    assert all(folder.is_absolute() for folder in found)


def test_each_back_end_has_its_own_toolkit(tmp_path: Path) -> None:
    environment = {}
    for name, variables in dll_folders.TOOLKITS.items():
        for variable in variables:
            environment[variable] = str(made(tmp_path / variable / "bin").parent)
        found = dll_folders.folders(name, [str(tmp_path)], str(tmp_path), environment)
        assert found == [tmp_path / variable / "bin" for variable in variables]
    for name in ("cpu", "rpc", "vulkan"):
        assert dll_folders.folders(name, [str(tmp_path)], str(tmp_path), environment) == []
    assert dll_folders.folders("cuda", [], str(tmp_path), {"CUDA_PATH": ""}) == []


class FakeLoader(back_ends._Loader):
    """Notes when a module is opened, and fails as Windows does."""

    def __init__(self, events: list[str], error: str) -> None:
        self._events = events
        self._error = error
        self._now = 0
        self._opened = type("Opened", (), {"set": None})()  # type: ignore[assignment]

    def _open(self, path: Path, flags: int) -> Any:
        self._events.append("open")
        raise OSError(f"cannot load library '{path}': {self._error}")


def test_windows_is_told_before_a_module_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made(tmp_path / "bin")
    events: list[str] = []
    monkeypatch.setattr(dll_folders, "_named", {})
    monkeypatch.setattr("os.add_dll_directory", events.append, raising=False)
    monkeypatch.setattr("llama_ffi._lib.modules.tag_of", lambda libraries: "0c1e57098")
    monkeypatch.setenv("OPENBLAS_HOME", str(tmp_path))
    loader = FakeLoader(events, "error 0x7e")
    module = Module("blas", tmp_path / "ggml-blas-0c1e57098.dll", "bundled")
    loader.try_module(module)
    assert events == ["open"]  # there is nothing to tell other systems
    monkeypatch.setattr(sys, "platform", "win32")
    for _ in range(2):
        outcome = loader.try_module(module)
    assert events == ["open", str(folder.resolve()), "open", "open"]
    assert outcome is not None and "OPENBLAS_HOME" in outcome.cure and outcome.problem == "error 0x7e"


def test_a_folder_that_windows_refuses_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise OSError(87, "the parameter is incorrect")

    made(tmp_path / "bin")
    monkeypatch.setattr(dll_folders, "_named", {})
    monkeypatch.setattr("os.add_dll_directory", refuse, raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("CUDA_PATH", str(tmp_path))
    dll_folders.name_for("cuda")
    assert dll_folders._named == {}


@pytest.mark.parametrize(
    ("file", "words", "cure"),
    [
        # Windows names no library: what the module is for says what may be missing
        ("ggml-cuda-0c1e57098.dll", "error 0x7e", "nvidia-cublas-cu12"),
        ("ggml-cuda-0c1e57098.dll", "[WinError 126] The specified module could not be found", "CUDA_PATH"),
        ("ggml-vulkan-0c1e57098.dll", "error 0x7e", "driver"),
        ("ggml-hip-0c1e57098.dll", "error 0x7e", "HIP_PATH"),
        ("llama-0c1e57098.dll", "error 0x7e", "Microsoft.VCRedist"),
        ("ggml-cuda-0c1e57098.dll", "error 0x7f", "build or install them together"),
        ("ggml-cuda-0c1e57098.dll", "error 0xc1", "damaged or for another machine"),
        # glibc
        (
            "libggml-blas-0c1e57098.so",
            "libgomp.so.1: cannot allocate memory in static TLS block",
            "GLIBC_TUNABLES",
        ),
        # macOS
        (
            "libggml-vulkan-0c1e57098.so",
            "Library not loaded: @rpath/libvulkan.1.dylib\n  Referenced from: <1> /x/libggml-vulkan.so\n"
            "  Reason: tried: '/x/libvulkan.1.dylib' (no such file)",
            "brew install vulkan-loader",
        ),
        (
            "libggml-blas-0c1e57098.so",
            "Library not loaded: /opt/homebrew/lib/libopenblas.0.dylib",
            "brew install openblas",
        ),
        (
            "libggml-rpc-0c1e57098.so",
            "Library not loaded: @rpath/libother.2.dylib",
            "what brings libother.2.dylib",
        ),
        ("libllama-0c1e57098.dylib", "Symbol not found: _ggml_add\n  Referenced from: <1>", "together"),
        (
            "libllama-0c1e57098.dylib",
            "'/x' (mach-o file, but is an incompatible architecture (have 'x86_64', need 'arm64'))",
            "for another machine",
        ),
    ],
)
def test_what_other_loaders_say(monkeypatch: pytest.MonkeyPatch, file: str, words: str, cure: str) -> None:
    monkeypatch.setattr(sys, "platform", "darwin" if "brew" in cure else "linux")
    assert cure in cures.cure(Path("/x", file), words)


def test_another_commits_library_is_seen_on_a_mac() -> None:
    words = "dlopen(/x/libggml-vulkan.so, 0x0006): Library not loaded: @rpath/libggml-base-123456789.dylib"
    assert cures.missing(words) == "libggml-base-123456789.dylib"
    assert cures.missing("Library not loaded: libone.dylib\n  Reason") == "libone.dylib"
    assert cures.missing("error 0x7e") is None


def test_linux_keeps_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    words = "libvulkan.so.1: cannot open shared object file: No such file or directory"
    said = cures.cure(Path("/x/libggml-vulkan.so"), words)
    assert "apt install libvulkan1" in said and "brew" not in said
