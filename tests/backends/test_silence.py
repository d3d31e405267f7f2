"""What can't be used is told with a cure, whatever the reason; what is as it should be isn't."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import llama_ffi as lf
from build_backends import recipes
from llama_ffi._core import back_ends
from llama_ffi._lib import cures
from llama_ffi._lib.modules import Module

from .plugins import ROOT, Site, compile_module, tag

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def no_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound library that is no module."""
    folder = tmp_path_factory.mktemp("none")
    (folder / "x.c").write_text("int something_else(void) { return 1; }\n")
    subprocess.run(
        [os.environ.get("CC", "cc"), "-shared", "-fPIC", str(folder / "x.c"), "-o", str(folder / "x.so")],
        check=True,
    )
    return folder / "x.so"


def doctor(site: Site, topic: str = "back end") -> list[dict[str, str]]:
    found = json.loads(site.run("-m", "llama_ffi", "doctor", "--json").stdout)
    return [each for each in found if each["topic"] == topic]


@pytest.mark.parametrize("name", ["vulkan", "blas"])
def test_a_failure_that_nobody_foresaw(site: Site, no_module: Path, name: str) -> None:
    extra = {"blas": "openblas"}.get(name, name)
    path = site.install(extra, no_module, backend=name, module=f"libggml-{name}-{tag()}.so")
    (found,) = doctor(site)
    assert found["status"] == "bad" and str(path) in found["text"] and "ggml_backend_init" in found["text"]
    assert f'"llama-ffi[{extra}]"' in found["cure"] and f"`llama-ffi build {extra}`" in found["cure"]
    warned = site.python("import logging; logging.basicConfig(level='WARNING'); lf.devices()")
    assert f"the back end {name} is not used" in warned.stderr and warned.returncode == 0
    missing = site.python("lf.Device.find('Vulkan0')").stderr
    assert "no device named 'Vulkan0'" in missing and "ggml_backend_init" in missing


def test_a_module_for_another_version_of_the_interface(site: Site, source: Path, tmp_path: Path) -> None:
    """A driver wouldn't help."""
    site.install("vulkan", compile_module(tmp_path / "old.so", source, api_version=1))
    (found,) = doctor(site)
    assert found["status"] == "bad" and "mesa" not in found["cure"]
    assert 'pip install --force-reinstall "llama-ffi[vulkan]"' in found["cure"]


def test_what_loaders_say() -> None:
    words = "/x/libggml-vulkan.so: failed to map segment from shared object"
    assert "noexec" in cures.cure(Path("/x/libggml-vulkan.so"), words)


def test_a_variant_that_can_not_be_opened_is_no_variant_for_another_processor(tmp_path: Path) -> None:
    good, odd, cut = (Module("cpu", tmp_path / f"libggml-cpu-{n}.so", "bundled") for n in ("a", "b", "c"))

    def score(module: Module) -> int:
        if module is cut:
            raise OSError("file too short")
        return {good: 7, odd: 0}[module]

    loader = SimpleNamespace(
        score=score, outcomes=[], words=lambda module, error: (str(error), "install it again")
    )
    found = back_ends._by_score(loader, [odd, good, cut])  # type: ignore[arg-type]
    assert found == [(good, 7), (odd, 0)]
    assert loader.outcomes == [back_ends.Outcome(cut, 0, "file too short", "install it again")]


def test_every_command_that_is_named_exists() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = set(re.findall(r"^(\w+) = \[\"llama-ffi-", text, re.M))
    named: set[str] = set()
    for name in [*cures.PLUGINS, *extras]:
        for again in (False, True):
            said = cures.how_to_get(name, again)
            named.update(re.findall(r"llama-ffi\[(\w+)\]", said))
            for built in re.findall(r"llama-ffi build (\w+)", said):
                assert built in recipes.names()
    assert named == extras


def test_a_project_that_is_there_twice(site: Site, fake_gpu: Path, tmp_path: Path) -> None:
    """An old version in a folder behind the new one's isn't installed, as far as Python goes."""
    site.install("vulkan", fake_gpu)
    behind = Site(tmp_path / "behind")
    behind.install("vulkan", fake_gpu)
    (behind.folder / f"llama_ffi_vulkan-{lf.__version__}.dist-info").rename(
        behind.folder / "llama_ffi_vulkan-0.0.9.dist-info"
    )
    code = f"import sys; sys.path.append({str(behind.folder)!r})\nimport llama_ffi as lf"
    code += "\nfrom llama_ffi._lib import plugins\nprint([e.distribution for e in plugins.entry_points()])"
    assert site.run("-c", code).stdout.strip() == f"['llama-ffi-vulkan {lf.__version__}']"


NOWHERE = """
import pathlib
def none(cls): raise RuntimeError('Could not determine home directory.')
pathlib.Path.home = classmethod(none)
import llama_ffi as lf
"""
"""As a container runs a program: for a user whom the system doesn't know."""


def without_home(code: str) -> subprocess.CompletedProcess[str]:
    gone = {"LLAMA_FFI_CACHE", "XDG_CACHE_HOME", "HOME", "LLAMA_FFI_LIB"}
    clean = {name: value for name, value in os.environ.items() if name not in gone}
    environment = {**clean, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", NOWHERE + code], capture_output=True, text=True, env=environment
    )


def test_without_a_home() -> None:
    done = without_home("print(lf.available_backends())")
    assert done.returncode == 0 and "CPU" in done.stdout, done.stderr
    done = without_home("lf.use(bindings='mine'); lf.available_backends()")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("llama_ffi.errors.UnsupportedError") and "LLAMA_FFI_CACHE" in last


@pytest.mark.skipif(os.name == "nt", reason="a folder in use can't be removed there")
def test_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    code = (
        f"import os; os.mkdir({str(tmp_path / 'x')!r}); os.chdir({str(tmp_path / 'x')!r})\n"
        f"os.rmdir({str(tmp_path / 'x')!r})\n"
        "import llama_ffi as lf; print(lf.available_backends(), len(lf.ask('Hi', max_tokens=2)) > 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0 and "CPU" in done.stdout and "True" in done.stdout, done.stderr
