"""A plugin: one module with its manifest, where the loader looks, in a wheel, or built into the package."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from build_backends import build, command, elf, gate, stage, tags, wheel
from build_backends.errors import BuildError
from build_backends.recipes import RECIPES
from build_backends.settings import Settings, parse_settings
from build_backends.version import package_version
from vendor import tree
from vendor.cache import cache_folder

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files"),
]


def test_one_module_and_its_manifest(pinned, tmp_path) -> None:
    folder = build.build(Settings("rpc"))
    manifest = json.loads((folder / "manifest.json").read_text())
    module = folder / f"libggml-rpc-{pinned}.so"
    assert sorted(file.name for file in folder.iterdir()) == [module.name, "licenses", "manifest.json"]
    assert manifest["format"] == 1
    assert manifest["kind"] == "plugin"
    assert manifest["backend"] == "rpc"
    assert manifest["commit"].startswith(pinned)
    assert manifest["llama_ffi"] == package_version()
    assert manifest["module"] == module.name
    assert manifest["sha256"] == hashlib.sha256(module.read_bytes()).hexdigest()
    assert manifest["size"] == module.stat().st_size
    assert manifest["needed"] == []
    assert "-DGGML_RPC=ON" in manifest["flags"]
    assert elf.read(module).needed[0] == f"libggml-base-{pinned}.so"
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert stage.is_complete(copy)
    (copy / module.name).unlink()
    assert not stage.is_complete(copy)


def test_a_changed_guard_does_not_compile_a_module_again(pinned) -> None:
    first = build.build(Settings("rpc"))
    (build.PROJECT / "probe.c").write_text("int main(void) { return 0; }\n")
    assert build.build(Settings("rpc")) == first


def test_it_lands_where_the_loader_looks(pinned, capsys) -> None:
    assert command.main(["rpc", "--cmake-arg", "-DSOMETHING=1", "-D", "OTHER=2"]) == 0
    folder = cache_folder() / "backends" / f"rpc-{pinned}"
    said = capsys.readouterr()
    assert said.out == f"{folder}\n"
    assert f"built rpc for llama.cpp {pinned}; to run it needs nothing more" in said.err
    assert {"-DSOMETHING=1", "-DOTHER=2"} <= set(json.loads((folder / "manifest.json").read_text())["flags"])


def test_another_source_is_kept_apart(pinned, tmp_path, little_project, capsys) -> None:
    other = shutil.copytree(little_project, tmp_path / "fork")
    (other / "src/llama.c").write_text("int ggml(void);\nint llama(void) { return ggml() + 1; }\n")
    assert command.main(["rpc", "--source", str(other)]) == 0
    assert Path(capsys.readouterr().out.strip()).name == f"rpc-x{tree.digest(other)[:8]}"


def test_a_module_of_another_source_goes_beside_a_core_of_it(
    pinned, tmp_path, little_project, capsys
) -> None:
    other = shutil.copytree(little_project, tmp_path / "fork")
    (other / "src/llama.c").write_text("int ggml(void);\nint llama(void) { return ggml() + 2; }\n")
    tag, core = f"x{tree.digest(other)[:8]}", tmp_path / "core"
    assert command.main(["rpc", "--source", str(other)]) == 0
    said = capsys.readouterr().err
    assert "finds it by itself" not in said
    assert "only a core of the same tree takes it: `llama-ffi build native --source DIR --out FOLDER`" in said
    assert command.main(["native", "--source", str(other), "--out", str(core)]) == 0
    for _ in range(2):
        assert command.main(["rpc", "--source", str(other), "--out", str(core)]) == 0
        said = capsys.readouterr().err
        assert f"it stands beside its core; to use both: LLAMA_FFI_LIB={core}" in said
        manifest = json.loads((core / "manifest.json").read_text())
        assert manifest["backend"] == "native+rpc"
        assert manifest["modules"] == {"ggml-rpc": f"libggml-rpc-{tag}.so"}
        assert stage.damage(core) == []
    before = sorted(core.iterdir())
    assert command.main(["rpc", "--out", str(core)]) == 1  # of the pinned source
    assert f"holds a core of llama.cpp {tag}, the module is of {pinned}" in capsys.readouterr().err
    (core / manifest["libraries"]["guard"]).write_text("")
    assert command.main(["rpc", "--source", str(other), "--out", str(core)]) == 1
    assert "is not the one of its manifest: build that first" in capsys.readouterr().err
    assert sorted(core.iterdir()) == before


def test_folders_of_what_it_needs_are_for_this_machine_only(pinned, tmp_path, monkeypatch) -> None:
    toolkit = tmp_path / "toolkit"
    for place in ("bin", "lib64", "targets/x/lib", "empty/lib"):
        (toolkit / place).mkdir(parents=True)
    (toolkit / "lib64" / "libneeded.so.1").touch()
    (toolkit / "targets/x/lib" / "libother.so.2").touch()
    paths = [toolkit / "bin" / "nvcc", toolkit / "empty" / "lib" / "libx.so", Path("/usr/bin/cc")]
    needed = ["libneeded.so.1", "libother.so.2", "libc.so.6"]
    found = [str(toolkit / "lib64"), str(toolkit / "targets/x/lib")]
    assert [each for each in stage.look_in(needed, paths) if each.startswith(str(tmp_path))] == found
    assert not [each for each in stage.look_in(needed, paths) if each.startswith(("/usr/lib", "/lib"))]
    assert stage.look_in([], paths) == []
    # in a build, in a package with it inside, and not in a wheel
    monkeypatch.setattr(stage, "look_in", lambda needed, paths: found)
    monkeypatch.setenv("LLAMA_FFI_CACHE", str(tmp_path / "cache"))
    assert json.loads((build.build(Settings("rpc")) / "manifest.json").read_text())["look_in"] == found
    package = build.build_package(Settings("rpc"))
    assert package is not None
    assert json.loads((package / "manifest.json").read_text())["look_in"] == found
    with zipfile.ZipFile(make(tmp_path / "dist")) as archive:
        assert "look_in" not in json.loads(archive.read("llama_ffi_rpc/manifest.json"))


def test_a_wheel_is_for_the_kinds_that_its_recipe_lists(pinned, tmp_path, monkeypatch) -> None:
    recipe = replace(RECIPES["rpc"], arch="SOME_ARCH", archs=".*", wheel_arch="1;2")
    monkeypatch.setattr(gate.recipes, "RECIPES", {"rpc": recipe})

    def of(settings: Settings) -> list[str]:
        with zipfile.ZipFile(wheel.make(settings, tmp_path / "dist")) as archive:
            flags = json.loads(archive.read("llama_ffi_rpc/manifest.json"))["flags"]
        return [each for each in flags if "SOME_ARCH" in each]

    assert of(Settings("rpc")) == ["-DSOME_ARCH=1;2"]
    assert of(Settings("rpc", arch="3")) == ["-DSOME_ARCH=3"]
    assert of(Settings("rpc", {"SOME_ARCH": "4"})) == ["-DSOME_ARCH=4"]
    assert not any("SOME_ARCH" in each for each in build.all_defines(recipe, build.source.provide(), {}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vulcan"], "there is no back end 'vulcan' to build: use one of cpu, cuda, "),
        (["none"], "there is no back end 'none' to build"),
        (["rpc", "-D", "NAME"], "--cmake-arg NAME is no definition: write it as NAME=VALUE"),
        (["rpc", "--cmake-arg=-GNinja"], "--cmake-arg -GNinja is no definition"),
        (["rpc", "--cmake-arg"], "--cmake-arg wants a definition: NAME=VALUE"),
        (["rpc", "--arch", "90"], "the back end 'rpc' has no architectures to choose"),
        (["cuda13", "--arch", "banana"], "'banana' is no architecture of cuda13: write them as 90a-real;120"),
        (["hip", "--arch", "gfx1100;90"], "'90' is no architecture of hip: write them as gfx1100;gfx90a"),
        (["rpc", "-D", "CMAKE_BUILD_TYPE=Fast"], "CMAKE_BUILD_TYPE is 'Fast': use one of Release, RelWith"),
        (["rpc", "--source", "nowhere"], "nowhere is not a llama.cpp tree: CMakeLists.txt is missing there"),
    ],
)
def test_what_can_be_typed_wrong(cache, capsys, arguments, message) -> None:
    assert command.main(arguments) == 1
    assert message in capsys.readouterr().err
    assert not (cache / "build").exists()


def test_a_number_of_compilers_that_is_none(pinned, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("CMAKE_BUILD_PARALLEL_LEVEL", "many")
    assert command.main(["rpc", "-D", "N=1", "--out", str(tmp_path / "out")]) == 1
    assert "CMAKE_BUILD_PARALLEL_LEVEL is 'many': set how many" in capsys.readouterr().err


def test_no_folder_for_a_wheel_and_no_wheels_to_judge(cache, tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    assert wheel.main(["cpu", "--out", str(tmp_path / "file")]) == 1
    assert f"error: no wheel can be put into {tmp_path / 'file'}: File exists" in capsys.readouterr().err
    assert gate.main([str(tmp_path / "none.whl"), str(tmp_path / "file")]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{tmp_path / 'none.whl'}: no such file"
    assert said[1:] == [
        "file: 0.0 MB, refused",
        "  its name is no wheel's: NAME-VERSION-py3-none-PLATFORM.whl",
    ]


def test_built_into_the_package(pinned) -> None:
    folder = build.build_package(parse_settings({"backend": "rpc"}))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["backend"] == "native+rpc"
    assert manifest["modules"] == {"ggml-rpc": f"libggml-rpc-{pinned}.so"}
    assert manifest["libraries"]["llama"] == f"libllama-{pinned}.so"
    assert stage.is_complete(folder)
    assert build.build_package(parse_settings({"backend": "rpc"})) == folder
    assert build.build_package(parse_settings({"backend": "none"})) is None


def make(out):
    return wheel.make(Settings("rpc"), out)


def test_the_wheel(pinned, tmp_path) -> None:
    made = make(tmp_path / "dist")
    version = package_version()
    assert made.name.startswith(f"llama_ffi_rpc-{version}-py3-none-manylinux_2_")
    info = f"llama_ffi_rpc-{version}.dist-info"
    with zipfile.ZipFile(made) as archive:
        names = set(archive.namelist())
        metadata = archive.read(f"{info}/METADATA").decode()
        points = archive.read(f"{info}/entry_points.txt").decode()
        code = archive.read("llama_ffi_rpc/__init__.py").decode()
    assert {f"llama_ffi_rpc/libggml-rpc-{pinned}.so", "llama_ffi_rpc/manifest.json"} <= names
    assert {"llama_ffi_rpc/licenses/llama.cpp-LICENSE"} <= names
    assert {name.split("/")[0] for name in names} == {"llama_ffi_rpc", info}
    assert points == "[llama_ffi.backends]\nrpc = llama_ffi_rpc\n"
    assert f"Requires-Dist: llama-ffi=={version}\n" in metadata
    assert "import" not in code.replace("nothing to import", "")
    assert gate.problems(made) == []
    assert [file.name for file in (tmp_path / "dist").iterdir()] == [made.name]


def test_the_same_wheel_from_another_place(pinned, tmp_path, monkeypatch) -> None:
    first = make(tmp_path / "a")
    monkeypatch.setenv("LLAMA_FFI_CACHE", str(tmp_path / "another" / "cache"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    second = make(tmp_path / "b")
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()


def test_cuda_has_an_extra_with_nvidias_libraries(tmp_path) -> None:
    staged = tmp_path / "staged"
    staged.mkdir()
    (staged / "manifest.json").write_text('{"needed": ["libcuda.so.1"]}')
    wheel.plugin_project(RECIPES["cuda13"], staged, f"py3-none-{tags.platform_tag()}", tmp_path / "project")
    text = (tmp_path / "project" / "pyproject.toml").read_text()
    assert 'name = "llama-ffi-cuda13"' in text
    assert '[project.optional-dependencies]\nruntime = ["nvidia-cublas>=13,<14", ' in text
    assert '[project.entry-points."llama_ffi.backends"]\ncuda13 = "llama_ffi_cuda13"\n' in text
    assert "`libcuda.so.1`" in (tmp_path / "project" / "README.md").read_text()


def test_a_wheel_that_the_gate_refuses_is_not_left_behind(pinned, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(gate.recipes, "RECIPES", {"rpc": replace(RECIPES["rpc"], budget=10)})
    with pytest.raises(BuildError, match="more than the 0 MB it may have"):
        make(tmp_path / "dist")
    assert list((tmp_path / "dist").iterdir()) == []
