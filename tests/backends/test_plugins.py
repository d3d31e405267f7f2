"""Plugins: found without being imported, belonging to one commit, used or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from build_backends.recipes import RECIPES
from llama_ffi._lib import cures

from .plugins import Site, commit, compile_module, fill, tag

pytestmark = pytest.mark.native

STATE = """
import json
print(json.dumps([[m.name, str(m.path), m.found_via, m.loaded, m.devices, m.problem, m.cure]
                  for m in lf.backend_modules() if m.found_via != "linked in"]))
"""
NAMES = ("name", "path", "found_via", "loaded", "devices", "problem", "cure")


def modules(site: Site, **env: str) -> dict[str, dict[str, object]]:
    """Return what a fresh process says of the plugins in ``site``, by back end."""
    done = site.python(STATE, **env)
    assert done.returncode == 0, done.stderr
    rows = [dict(zip(NAMES, row, strict=True)) for row in json.loads(done.stdout)]
    return {str(row["name"]): row for row in rows}


def test_an_installed_plugin_runs(site: Site, fake_gpu: Path) -> None:
    import llama_ffi as lf

    path = site.install("vulkan", fake_gpu)
    found = modules(site)["vulkan"]
    assert (found["loaded"], found["devices"], found["path"]) == (True, ["FAKE0"], str(path))
    assert found["found_via"] == f"llama-ffi-vulkan {lf.__version__}"
    done = site.python(
        """
device = lf.Device.find("FAKE0")
print(device.module, device.backend, device.type, *device.memory)
with lf.Model.load(lf.tiny_model_path()) as model, model.context(n_ctx=256) as ctx:
    use = {entry.buffer_type: entry.model for entry in ctx.memory_breakdown().entries}
    print(use["FAKE0"] > use["CPU"])
print("".join(lf.generate("Once upon a time", max_tokens=8, temp=0)))
""",
        FAKE_FREE=str(1 << 29),
    )
    assert done.returncode == 0, done.stderr
    about, offloaded, text = done.stdout.split("\n", 2)
    assert about == f"{path} VULKAN GPU {1 << 29} {1 << 30}"
    assert offloaded == "True"
    assert text.strip("\n") == "".join(lf.generate("Once upon a time", max_tokens=8, temp=0, n_gpu_layers=0))


def test_without_it_the_processor_still_computes(site: Site) -> None:
    done = site.python("print(lf.available_backends(), [d.name for d in lf.devices()])")
    assert done.returncode == 0, done.stderr
    assert "CPU" in done.stdout and "FAKE" not in done.stdout


def test_a_named_back_end_is_used_alone(site: Site, fake_gpu: Path) -> None:
    site.install("vulkan", fake_gpu)
    site.install("cuda13", fake_gpu, backend="cuda")
    assert set(modules(site, LLAMA_FFI_BACKEND="vulkan")) == {"vulkan"}
    assert set(modules(site, LLAMA_FFI_BACKEND="CUDA13")) == {"cuda"}
    assert modules(site, LLAMA_FFI_BACKEND="cpu") == {}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (
            "cuda",
            ["'cuda'", "isn't installed", "there are: cpu, rpc, vulkan.", '"llama-ffi[cuda13]"', "[cuda12]"],
        ),
        ("openblas", ['Install it (`pip install "llama-ffi[openblas]"`), or', "`llama-ffi build openblas`"]),
        (
            "vulkan,nonsense",
            ["'nonsense'", "isn't installed", "No back end is called so; those of llama_ffi"],
        ),
        ("vulcan", ["did you mean 'vulkan'?"]),
    ],
)
def test_a_named_back_end_that_is_not_there(site: Site, fake_gpu: Path, value: str, says: list[str]) -> None:
    site.install("vulkan", fake_gpu)
    done = site.python("lf.devices()", LLAMA_FFI_BACKEND=value)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and last.startswith("llama_ffi.errors.BackendLoadError: LLAMA_FFI_BACKEND")
    assert all(words in last for words in says), last


def test_a_named_back_end_without_a_device(site: Site, fake_gpu: Path) -> None:
    site.install("vulkan", fake_gpu)
    assert modules(site, FAKE_DEVICES="0")["vulkan"]["loaded"]
    done = site.python("lf.devices()", FAKE_DEVICES="0", LLAMA_FFI_BACKEND="vulkan")
    assert done.returncode == 1
    assert "found no device" in done.stderr and "mesa-vulkan-drivers" in done.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Vulkan0", "The back end vulkan finds no device. Install a Vulkan driver: "),
        ("CUDA0", 'The back end cuda isn\'t installed. Install it (`pip install "llama-ffi[cuda13]"`'),
        ("ROCm1", "or build it here: `llama-ffi build hip`"),
        ("CPU7", "there are: CPU"),
    ],
)
def test_a_device_that_is_not_there(site: Site, fake_gpu: Path, name: str, says: str) -> None:
    site.install("vulkan", fake_gpu)
    done = site.python(f"lf.Device.find({name!r})", FAKE_DEVICES="0")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"llama_ffi.errors.BackendError: no device named {name!r}; there are: CPU"), last
    assert says in last
    if name == "CPU7":
        assert last.endswith("there are: CPU")
        last = site.python("lf.Backend.find('cuda')").stderr.splitlines()[-1]
        assert "no back end named 'cuda'; there are:" in last and "llama-ffi build cuda13" in last


def test_one_device_too_far(site: Site, fake_gpu: Path) -> None:
    site.install("vulkan", fake_gpu)
    last = site.python("lf.Device.find('FAKE9')").stderr.splitlines()[-1]
    assert last.endswith("no device named 'FAKE9'; there are: CPU, FAKE0"), last


def test_what_is_told_to_install_exists() -> None:
    labels = {label for labels in cures.PLUGINS.values() for label in labels}
    assert labels == {name for name, recipe in RECIPES.items() if recipe.is_plugin} - {"rpc"}
    for back_end, (label, *_) in cures.PLUGINS.items():
        assert RECIPES[label].module == f"ggml-{back_end}"


def test_another_commit_is_refused_with_both_commits(site: Site, fake_gpu: Path) -> None:
    site.install("vulkan", fake_gpu, commit="f" * 40)
    found = modules(site)["vulkan"]
    assert not found["loaded"] and found["devices"] == []
    assert found["problem"] == f"it was built for llama.cpp {'f' * 12}, the library is {commit()[:12]}"
    assert "pip install --upgrade" in str(found["cure"])
    done = site.python("lf.devices()", LLAMA_FFI_BACKEND="vulkan")
    assert done.returncode == 1
    assert "f" * 12 in done.stderr and commit()[:12] in done.stderr
    missing = site.python("lf.Device.find('Vulkan0')")
    assert "no device named 'Vulkan0'" in missing.stderr and "f" * 12 in missing.stderr


def test_another_commit_by_its_file_name(site: Site, fake_gpu: Path) -> None:
    site.install("vulkan", fake_gpu, module="libggml-vulkan-0123456ab.so")
    assert modules(site)["vulkan"]["problem"] == (
        f"its file is named for llama.cpp 0123456ab, the library is {tag()}"
    )


def test_another_commit_inside(site: Site, fake_gpu: Path, tmp_path: Path) -> None:
    """A manifest and a file name can be wrong; what the module needs can't."""
    data = fake_gpu.read_bytes()
    ours = f"libggml-base-{tag()}.so".encode()
    assert ours in data
    other = tmp_path / "other.so"
    other.write_bytes(data.replace(ours, b"libggml-base-0123456ab.so"))
    site.install("vulkan", other)
    assert modules(site)["vulkan"]["problem"] == (
        f"it was linked against llama.cpp 0123456ab, the library is {tag()}"
    )


def test_another_version_of_the_interface(site: Site, source: Path, tmp_path: Path) -> None:
    site.install("vulkan", compile_module(tmp_path / "other.so", source, api_version=77))
    found = modules(site)["vulkan"]
    assert not found["loaded"] and "incompatible API version (backend: 77" in str(found["problem"])


def test_a_file_that_is_no_module(site: Site, tmp_path: Path) -> None:
    import llama_ffi as lf

    site.install("vulkan", lf.library_paths()["ggml-base"])
    text = tmp_path / "text.so"
    text.write_text("no library at all\n" * 100)
    site.install("opencl", text)
    found = modules(site)
    assert "no ggml_backend_init" in str(found["vulkan"]["problem"])
    assert "invalid ELF header" in str(found["opencl"]["problem"])
    assert "install it again" in str(found["opencl"]["cure"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": 9}, "format 9"),
        ({"kind": "core"}, "kind 'core'"),
        ({"backend": ""}, "names no back end"),
        ({"module": "../x.so"}, "no file of its folder"),
        ({"module": 3}, "is missing"),
    ],
)
def test_manifests_that_cannot_be(site: Site, fake_gpu: Path, changes: dict[str, object], says: str) -> None:
    package = site.install("vulkan", fake_gpu).parent
    manifest = json.loads((package / "manifest.json").read_text())
    (package / "manifest.json").write_text(json.dumps({**manifest, **changes}))
    found = modules(site)["vulkan"]
    assert not found["loaded"] and says in str(found["problem"]) and found["cure"]


def test_a_damaged_manifest_and_a_lost_package(site: Site, fake_gpu: Path) -> None:
    package = site.install("vulkan", fake_gpu).parent
    (package / "manifest.json").write_text("{")
    lost = site.install("sycl", fake_gpu).parent
    lost.rename(lost.parent / "elsewhere")
    found = modules(site)
    assert "manifest.json can't be read" in str(found["vulkan"]["problem"])
    assert "package llama_ffi_sycl can't be found" in str(found["sycl"]["problem"])


def test_built_here(site: Site, fake_gpu: Path) -> None:
    """What is built on this machine goes before what is installed; for another library it is no news."""
    cache = site.folder.parent / "cache" / "backends"
    path = fill(cache / f"vulkan-{tag()}", "vulkan", fake_gpu)
    fill(cache / "sycl-0123456ab", "sycl", fake_gpu, module="libggml-sycl-0123456ab.so")
    found = modules(site)
    assert list(found) == ["vulkan"]
    assert found["vulkan"]["found_via"] == "llama-ffi build" and found["vulkan"]["path"] == str(path)
    installed = site.install("vulkan", fake_gpu)
    done = site.python(
        "print(*(f'{m.path} {m.loaded} {m.problem}' for m in lf.backend_modules()), sep='\\n')"
    )
    assert f"{path} True" in done.stdout
    assert f"{installed} False {path} is used instead" in done.stdout
    path.unlink()
    assert modules(site)["vulkan"]["loaded"], "the installed one steps in"


def test_next_to_a_library_of_the_users_no_plugin_counts(site: Site, fake_gpu: Path, tmp_path: Path) -> None:
    import llama_ffi as lf

    site.install("opencl", fake_gpu)
    folder = tmp_path / "mine"
    folder.mkdir()
    for key, path in lf.library_paths().items():
        if key not in ("guard", "mtmd"):
            (folder / path.name).symlink_to(path)
            (folder / f"lib{key}.so").symlink_to(path)
    (folder / "libggml-vulkan.so").write_bytes(fake_gpu.read_bytes())
    mine = {"LLAMA_FFI_LIB": str(folder)}
    found = modules(site, **mine)
    assert set(found) == {"vulkan"} and found["vulkan"]["loaded"]
    assert found["vulkan"]["found_via"] == "LLAMA_FFI_LIB"
    done = site.python("lf.devices()", LLAMA_FFI_BACKEND="opencl", **mine)
    assert done.returncode == 1 and "only modules of its folder" in done.stderr


def test_a_failing_plugin_is_logged(site: Site, fake_gpu: Path) -> None:
    site.install("vulkan", fake_gpu, commit="f" * 40)
    done = site.python("import logging; logging.basicConfig(); lf.devices()")
    assert done.returncode == 0
    assert "WARNING:llama_ffi:the back end vulkan is not used" in done.stderr
    assert site.python("lf.devices()").stderr == ""


@pytest.mark.parametrize("way", ["-c", "-m"])
def test_a_plugin_in_the_current_folder_is_not_opened(tmp_path: Path, fake_gpu: Path, way: str) -> None:
    here = Site(tmp_path / "here")
    here.install("vulkan", fake_gpu)
    (here.folder / "program.py").write_text("import llama_ffi as lf; print(lf.available_backends())")
    away = Site(tmp_path / "away")
    args = ["-m", "program"] if way == "-m" else ["-c", (here.folder / "program.py").read_text()]
    done = away.run(*args, cwd=here.folder)
    assert done.returncode == 0, done.stderr
    assert "VULKAN" not in done.stdout
    assert "VULKAN" in here.run(*args, cwd=tmp_path).stdout or way == "-m", "elsewhere it is installed"


def test_finding_plugins_imports_nothing_slow(site: Site, fake_gpu: Path) -> None:
    site.install("vulkan", fake_gpu)
    slow = {"importlib.metadata", "ctypes", "email", "zipfile", "llama_ffi_vulkan", "logging"}
    done = site.python(f"lf.devices(); import sys; print([m for m in sys.modules if m in {slow!r}])")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
