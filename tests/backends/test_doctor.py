"""`llama-ffi doctor` on machines where back ends are installed and something is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .plugins import Site, commit, compile_needing

pytestmark = pytest.mark.model


def back_ends(site: Site, **env: str) -> tuple[int, list[dict[str, str]]]:
    done = site.run("-m", "llama_ffi", "doctor", "--json", **env)
    assert done.stderr == ""
    return done.returncode, [each for each in json.loads(done.stdout) if each["topic"] == "back end"]


@pytest.mark.parametrize(
    ("name", "backend", "needs", "cure"),
    [
        ("cuda13", "cuda", "libcuda.so.1", "the NVIDIA driver is missing: `apt install nvidia-driver`"),
        ("vulkan", "vulkan", "libvulkan.so.1", "the Vulkan loader is missing: `apt install libvulkan1`"),
        ("cuda12", "cuda", "libcublas.so.12", "`pip install nvidia-cublas-cu12"),
        ("openblas", "blas", "libopenblas.so.0", "`apt install libopenblas0`"),
        ("other", "other", "libnobody-knows.so.9", "install what brings libnobody-knows.so.9"),
    ],
)
def test_a_missing_library(
    site: Site, tmp_path: Path, name: str, backend: str, needs: str, cure: str
) -> None:
    module = compile_needing(tmp_path / "module.so", needs)
    site.install(name, module, backend=backend)
    status, [found] = back_ends(site)
    assert (status, found["status"]) == (1, "bad")
    assert f"{needs}: cannot open shared object file" in found["text"], "the loader's own words"
    assert cure in found["cure"]


def test_libraries_that_pip_and_toolkits_bring_are_found(site: Site, tmp_path: Path) -> None:
    """What doctor advises helps: `pip install nvidia-cublas` puts it where no loader looks."""
    module = compile_needing(tmp_path / "module.so", "libcublas.so.13")
    library = tmp_path / "stub" / "libcublas.so.13"
    # it needs another one itself, as cuBLAS does
    deeper = compile_needing(tmp_path / "deeper.so", "libcublasLt.so.13", library.name)
    toolkit = tmp_path / "toolkit" / "lib64"
    toolkit.mkdir(parents=True)
    site.install("cuda13", module, backend="cuda", look_in=[5, "relative", str(toolkit)])
    _, [found] = back_ends(site)
    assert "libcublas.so.13: cannot open" in found["text"]
    packages = site.folder / "nvidia" / "cu13" / "lib"
    packages.mkdir(parents=True)
    for place in (toolkit, packages):
        shutil.copy(library, place)
        _, [found] = back_ends(site)
        # it was loaded, and is no back end
        assert "cannot open" not in found["text"]
        (place / library.name).unlink()
    shutil.copy(deeper, packages / library.name)
    _, [found] = back_ends(site)
    assert "libcublasLt.so.13: cannot open" in found["text"]
    shutil.copy(tmp_path / "stub" / "libcublasLt.so.13", toolkit)
    _, [found] = back_ends(site)
    assert "cannot open" not in found["text"]


def test_a_truncated_module(site: Site, fake_gpu: Path, tmp_path: Path) -> None:
    """The loader would map it, and the process die of SIGBUS."""
    data = fake_gpu.read_bytes()
    for name, size in (("vulkan", len(data) // 2), ("sycl", 100), ("opencl", 0), ("hip", len(data) - 1)):
        cut = tmp_path / f"{name}.so"
        cut.write_bytes(data[:size])
        site.install(name, cut)
    status, found = back_ends(site)
    texts = {each["text"].partition(":")[0]: each["text"] for each in found}
    assert status == 1 and all(each["status"] == "bad" for each in found)
    assert f"the file is cut off: it has {len(data) // 2:,} bytes of {len(data):,}" in texts["vulkan"]
    assert f"it has {len(data) - 1:,} bytes" in texts["hip"]
    assert "cut off" in texts["sycl"] and "is empty" in texts["opencl"]
    for each in found:
        name = each["text"].partition(":")[0]
        assert f'pip install --force-reinstall "llama-ffi[{name}]"' in each["cure"]


def test_another_commit(site: Site, fake_gpu: Path) -> None:
    site.install("vulkan", fake_gpu, commit="f" * 40)
    status, [found] = back_ends(site)
    assert (status, found["status"]) == (1, "bad")
    assert "f" * 12 in found["text"] and commit()[:12] in found["text"] and "pip install" in found["cure"]


def test_a_good_one_and_one_without_a_device(site: Site, fake_gpu: Path) -> None:
    site.install("vulkan", fake_gpu)
    status, [found] = back_ends(site)
    assert (status, found["status"], found["cure"]) == (0, "ok", "")
    assert found["text"].endswith("with FAKE0")
    status, [found] = back_ends(site, FAKE_DEVICES="0")
    assert (status, found["status"]) == (0, "note")
    assert "finds no device" in found["text"] and "mesa-vulkan-drivers" in found["cure"]


def test_a_changed_file(site: Site, fake_gpu: Path) -> None:
    path = site.install("vulkan", fake_gpu)
    path.write_bytes(fake_gpu.read_bytes().replace(b"a GPU that is none", b"a GPU that is mine"))
    status, [found] = back_ends(site)
    assert (status, found["status"]) == (1, "bad") and "SHA-256 differs" in found["text"]


def test_a_named_back_end_that_fails(site: Site) -> None:
    done = site.run("-m", "llama_ffi", "doctor", LLAMA_FFI_BACKEND="cuda")
    assert done.returncode == 1
    assert "bad   loading" in done.stdout and "isn't installed" in done.stdout
    assert "cure: unset LLAMA_FFI_BACKEND" in done.stdout


def test_a_gpu_that_nothing_uses(tmp_path: Path) -> None:
    from llama_ffi.diagnosis import _hardware

    assert list(_hardware(str(tmp_path))) == []
    (tmp_path / "dev/dri").mkdir(parents=True)
    (tmp_path / "dev/dri/renderD128").touch()
    [found] = _hardware(str(tmp_path))
    assert "renderD128" in found.text and 'pip install "llama-ffi[vulkan]"' in found.cure
    (tmp_path / "dev/kfd").touch()
    [found] = _hardware(str(tmp_path))
    assert "llama-ffi build hip" in found.cure
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    for driver, extra in (("580.65.06", "cuda13"), ("535.129.03", "cuda12")):
        (tmp_path / "proc/driver/nvidia/version").write_text(
            f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Thu\n"
        )
        [found] = _hardware(str(tmp_path))
        assert f"driver {driver[:6]}" in found.text and f"llama-ffi[{extra}]" in found.cure


def test_the_command_says_which_plugin_does_nothing(site: Site, fake_gpu: Path, tmp_path: Path) -> None:
    site.install("cuda13", compile_needing(tmp_path / "module.so", "libcuda.so.1"), backend="cuda")
    site.install("vulkan", fake_gpu)
    words = ["-m", "llama_ffi", "generate", "Once", "-n", "2", "-t", "1"]
    done = site.run(*words, FAKE_DEVICES="0")
    assert done.returncode == 0 and done.stdout.startswith("Once")
    first, second = done.stderr.splitlines()
    assert first.startswith("llama-ffi: note: the back end cuda isn't used: libcuda.so.1: cannot open shared")
    assert "The NVIDIA driver is missing: `apt install nvidia-driver`" in first
    assert second.startswith("llama-ffi: note: the back end vulkan isn't used: it finds no device. Install a")
    # who says what he wants isn't told
    for quiet in (site.run(*words, "--device", "CPU"), site.run(*words, LLAMA_FFI_BACKEND="cpu")):
        assert (quiet.returncode, quiet.stderr) == (0, "")
