"""The build back end as front ends call it, and what is in the wheel; the compilation itself is replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from little_llama import write_tree

from build_backends import build, pep517, tags, toolchain
from build_backends.errors import BuildError
from build_backends.version import package_version
from vendor import download, fetch

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = {
    name: f"lib{name}-tag.so" for name in ("ggml-base", "ggml-cpu", "ggml", "llama", "mtmd", "guard")
}


@pytest.fixture
def built(tmp_path, monkeypatch):
    """A finished build that `build.build` returns; the settings it was asked for are recorded."""
    manifest = {"format": 1, "libraries": LIBRARIES, "modules": {}}
    folder = write_tree(
        tmp_path / "built",
        {
            "manifest.json": json.dumps(manifest),
            "probe.json": "{}",
            "licenses/llama.cpp-LICENSE": "theirs\n",
            **dict.fromkeys(LIBRARIES.values(), "library"),
        },
    )
    asked = []

    def build_(settings):
        asked.append(settings)
        return folder

    monkeypatch.setattr(build, "build_package", build_)
    return asked


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A copy of what makes up the project, with a library that an editable install left behind."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    assert tracked.returncode == 0, "these tests run in a checkout"
    root = tmp_path / "checkout"
    for name in tracked.stdout.split("\0"):
        if name and not name.startswith(("tests/", "examples/")) and (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes((ROOT / name).read_bytes())
    write_tree(root, {"llama_ffi/_native/libggml-stale.so": "stale", "llama_ffi/_native/manifest.json": "{}"})
    monkeypatch.chdir(root)
    return root


def test_the_wheel(built, checkout, tmp_path) -> None:
    name = pep517.build_wheel(str(tmp_path), {"backend": "native", "cmake.define.A": "1"})
    assert name.endswith(f"-{tags.wheel_tag()}.whl")
    assert built[0].defines == {"A": "1"}
    with zipfile.ZipFile(tmp_path / name) as wheel:
        names = set(wheel.namelist())
        info = next(entry for entry in names if entry.endswith("/WHEEL")).rpartition("/")[0]
        text = wheel.read(f"{info}/WHEEL").decode()
        metadata = wheel.read(f"{info}/METADATA").decode()
        points = wheel.read(f"{info}/entry_points.txt").decode()
    assert "Root-Is-Purelib: false" in text
    assert f"Tag: {tags.wheel_tag()}" in text
    assert {f"llama_ffi/_native/{library}" for library in LIBRARIES.values()} <= names
    assert "llama_ffi/_native/licenses/llama.cpp-LICENSE" in names
    assert f"{info}/licenses/LICENSE" in names
    assert "llama_ffi/_native/libggml-stale.so" not in names
    assert "llama_ffi/_abi/_ffi.py" in names
    # what `llama-ffi bind` and `build` need without a checkout
    assert {"llama_ffi/_bindgen/custom.py", "llama_ffi/_bindgen/fake_libc/stdint.h"} <= names
    builder = ("vendor/PIN.toml", "vendor/fetch.py", "build_backends/command.py", "build_backends/recipes.py")
    native = ("CMakeLists.txt", "probe.c", "guard/guard.cpp", "guard/guard.hpp", "guard/calls.cpp")
    assert {f"llama_ffi/_build/{each}" for each in builder} <= names
    assert {f"llama_ffi/_build/build_backends/native/{each}" for each in native} <= names
    assert not [
        each
        for each in names
        if each.endswith((".pyc", "hatch_hook.py", "pep517.py", "build_backends/gate.py"))
    ]
    assert {entry.split("/")[0] for entry in names} == {"llama_ffi", info}
    assert "Requires-Python: >=3.10" in metadata
    assert "llama-ffi = llama_ffi.cli:main" in points


def test_a_wheel_without_a_library_fits_no_index(checkout, tmp_path) -> None:
    config = {"backend": "none"}
    folder = pep517.prepare_metadata_for_build_wheel(str(tmp_path), config)
    name = pep517.build_wheel(str(tmp_path), config)
    version = f"{package_version()}+none"
    assert name == f"llama_ffi-{version}-py3-none-any.whl"
    assert folder == f"llama_ffi-{version}.dist-info"
    with zipfile.ZipFile(tmp_path / name) as wheel:
        assert not [entry for entry in wheel.namelist() if "_native" in entry]
        assert "Root-Is-Purelib: true" in wheel.read(f"{folder}/WHEEL").decode()
        assert f"Version: {version}\n" in wheel.read(f"{folder}/METADATA").decode()


def test_an_editable_wheel_puts_the_libraries_into_the_sources(built, checkout, tmp_path) -> None:
    name = pep517.build_editable(str(tmp_path))
    with zipfile.ZipFile(tmp_path / name) as wheel:
        assert not [entry for entry in wheel.namelist() if entry.endswith(".so")]
        links = [wheel.read(entry).decode() for entry in wheel.namelist() if entry.endswith(".pth")]
    assert [link.strip() for link in links] == [str(checkout)]
    native = checkout / "llama_ffi" / "_native"
    assert {file.name for file in native.glob("*.so")} == set(LIBRARIES.values())


def test_the_sdist_builds_by_itself(checkout, tmp_path) -> None:
    name = pep517.build_sdist(str(tmp_path))
    with tarfile.open(tmp_path / name) as tar:
        names = {entry.partition("/")[2] for entry in tar.getnames()}
    assert {"pyproject.toml", "vendor/PIN.toml", "vendor/fetch.py", "build_backends/native/probe.c"} <= names
    assert "build_backends/native/guard/calls.cpp" in names
    assert "llama_ffi/_abi/_ffi.py" in names
    assert not [entry for entry in names if "_native" in entry]


def test_metadata_is_had_without_building(built, checkout, tmp_path) -> None:
    folder = pep517.prepare_metadata_for_build_wheel(str(tmp_path))
    assert "Name: llama-ffi" in (tmp_path / folder / "METADATA").read_text()
    assert built == []


@pytest.mark.parametrize("hook", ["build_wheel", "build_editable", "get_requires_for_build_wheel"])
def test_errors_are_short_and_end_with_a_status(checkout, hook) -> None:
    """What the front end shows: nothing but the message."""
    arguments = "config_settings={'backend': 'cuba'}" + (
        ", wheel_directory='.'" if hook.startswith("build") else ""
    )
    done = subprocess.run(
        [sys.executable, "-c", f"from build_backends import pep517; pep517.{hook}({arguments})"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    known = "cpu, cuda, cuda12, cuda13, hip, metal, native, none, openblas, opencl, rpc, sycl, vulkan"
    assert done.stderr.strip() == f"error: -C backend=cuba is not known: use one of {known}"


def test_metadata_functions_are_there_under_pip(checkout) -> None:
    code = "from build_backends import pep517 as p; print(p.prepare_metadata_for_build_wheel.__name__)"
    code += "; import os; print(os.environ['PIP_BUILD_TRACKER'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), "PIP_BUILD_TRACKER": "/x"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["prepare_metadata_for_build_wheel", "/x"], done.stderr


def test_requirements_are_what_this_machine_lacks(cache, checkout, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(toolchain, "find_cmake", lambda: "cmake")
    monkeypatch.setattr(toolchain, "find_ninja", lambda: None)
    monkeypatch.setattr(download, "pip_command", lambda: ["pip"])
    assert pep517.get_requires_for_build_wheel() == ["ninja"]
    # A front end whose environments have no pip: it has to bring the source.
    monkeypatch.setattr(download, "pip_command", lambda: None)
    assert pep517.get_requires_for_build_wheel() == ["ninja", "pip"]
    monkeypatch.setenv(fetch.ENVIRONMENT, str(tmp_path / "nothing"))
    assert pep517.get_requires_for_build_wheel() == ["ninja"]
    assert not any("hatchling" in wanted for wanted in pep517.get_requires_for_build_editable())


def test_a_build_error_stops_the_front_end(checkout, tmp_path, monkeypatch, capsys) -> None:
    def fail(settings):
        raise BuildError("No compiler was found.", ["Debian: apt"], Path("/some/build.log"))

    monkeypatch.setattr(build, "build_package", fail)
    with pytest.raises(SystemExit) as caught:
        pep517.build_wheel(str(tmp_path))
    assert caught.value.code == 1
    assert capsys.readouterr().err == (
        "\nerror: No compiler was found.\n  Debian: apt\nThe full log: /some/build.log\n"
    )
