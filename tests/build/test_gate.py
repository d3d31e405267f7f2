"""The gate: a wheel that claims too old a system, or carries what it must not, is refused with the reason."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from build_backends import elf, gate, wheel
from build_backends.settings import Settings

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(sys.platform != "linux", reason="judges ELF files"),
]


@pytest.fixture
def good(pinned, tmp_path) -> Path:
    """A plugin's wheel that the gate lets pass."""
    return wheel.make(Settings("rpc"), tmp_path / "dist")


def changed(good: Path, tag: str | None, replaced: dict[str, bytes | None] | None = None) -> Path:
    """Return a copy of a wheel under another tag, with files (by name) replaced, or left out for None."""
    name, version, before = good.stem.split("-", 2)
    made = good.parent.parent / f"{name}-{version}-{tag or before}.whl"
    with zipfile.ZipFile(good) as archive, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as copy:
        for entry in archive.infolist():
            data: bytes | None = archive.read(entry)
            last = entry.filename.rpartition("/")[2]
            if last == "WHEEL" and tag:
                data = re.sub(rb"Tag: .*", b"Tag: " + tag.encode(), data or b"")
            data = (replaced or {}).get(last, data)
            if last == "RECORD":
                gone = [each.encode() for each, content in (replaced or {}).items() if content is None]
                lines = (data or b"").splitlines(keepends=True)
                data = b"".join(line for line in lines if not any(each in line for each in gone))
            if data is not None:
                copy.writestr(entry, data)
    return made


def compiled(folder: Path, code: str, *options: str, suffix: str = ".so") -> bytes:
    """Compile a shared library, and return its content."""
    source, library = folder / "sample.cpp", folder / f"sample{suffix}"
    source.write_text(code)
    subprocess.run(["c++", "-shared", "-fPIC", "-o", library, source, *options], check=True)
    return library.read_bytes()


def module_of(good: Path) -> str:
    return next(Path(name).name for name in zipfile.ZipFile(good).namelist() if name.endswith(".so"))


NEW_GLIBC = "#include <dlfcn.h>\nvoid * f() { return dlopen(nullptr, RTLD_NOW); }\n"
NEW_CXX = (
    "#include <condition_variable>\n"
    "void f(std::condition_variable & c, std::unique_lock<std::mutex> & l) { c.wait(l); }\n"
)


def test_what_the_gate_lets_pass(good, capsys) -> None:
    assert gate.main([str(good)]) == 0
    assert re.fullmatch(r"llama_ffi_rpc\S+\.whl: 0\.0 MB, good\n", capsys.readouterr().out)


@pytest.mark.parametrize("code", [NEW_GLIBC, NEW_CXX], ids=["glibc", "libstdc++"])
def test_a_lying_tag_is_refused(good, tmp_path, capsys, code) -> None:
    module = module_of(good)
    content = compiled(tmp_path, code, "-s")
    lying = changed(good, "py3-none-manylinux_2_17_x86_64", {module: content})
    found = gate.problems(lying)
    needed = re.search(r"tagged manylinux_2_17_x86_64, but auditwheel finds that it needs (\S+)", found[0])
    assert needed, found
    (tmp_path / module).write_bytes(content)
    glibc = elf.needed_version(elf.read(tmp_path / module), "GLIBC_")
    if glibc > (2, 17):
        text = ".".join(map(str, glibc))
        assert f"it is tagged manylinux_2_17_x86_64, but {module} needs glibc {text}" in found
    # under the tag that auditwheel names, nothing is wrong with the tag
    honest = changed(good, f"py3-none-{needed[1]}", {module: content})
    assert not [each for each in gate.problems(honest) if "tagged" in each]
    assert gate.main([str(lying)]) == 1
    assert "refused" in capsys.readouterr().out


def test_a_tag_that_promises_nothing(good) -> None:
    local = changed(good, "py3-none-linux_x86_64")
    assert gate.problems(local) == ["linux_x86_64 promises no system at all: an index refuses it"]
    assert gate.problems(local, local=True) == []
    other = changed(good, "py3-none-manylinux_2_39_x86_64", {"WHEEL": b"Tag: py3-none-any\n"})
    assert "its WHEEL file says ['py3-none-any'], its name py3-none-manylinux_2_39_x86_64" in gate.problems(
        other
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "is not stripped"),
        (["-s", "-Wl,-rpath,/opt/somewhere"], "looks for libraries in /opt/somewhere"),
        (["-s", "-Wl,-soname,libother.so.1"], "calls itself libother.so.1"),
        (["-s", "{other}"], "it needs libother-of-this-machine.so, which neither it nor every system has"),
    ],
)
def test_libraries_that_are_not_as_they_should_be(good, tmp_path, options, message) -> None:
    other = tmp_path / "libother-of-this-machine.so"
    other.write_bytes(compiled(tmp_path, "int other() { return 1; }\n", f"-Wl,-soname,{other.name}", "-s"))
    code = "int other(); int f() { return other(); }\n" if "{other}" in options else "int f() { return 1; }\n"
    content = compiled(tmp_path, code, *(each.format(other=other) for each in options))
    found = gate.problems(changed(good, None, {module_of(good): content}))
    assert any(message in each for each in found), found
    assert f"{module_of(good)} is not the one of its manifest" in found


def test_what_is_promised_besides(good, monkeypatch) -> None:
    assert gate.problems(changed(good, None, {"llama.cpp-LICENSE": None})) == [
        "llama.cpp's licence is missing"
    ]
    found = gate.problems(
        changed(good, None, {"METADATA": b"Metadata-Version: 2.1\nRequires-Dist: llama-ffi\n"})
    )
    assert found == ["it does not require llama-ffi==0.1.0"]
    assert "manifest can't be read" in gate.problems(changed(good, None, {"manifest.json": b"{"}))[0]
    for text in (b"[]", b'{"format": 1}', b'{"format": 1, "kind": "plugin", "module": 1}'):
        found = gate.problems(changed(good, None, {"manifest.json": text}))
        assert found[0].startswith("its manifest is none of ours")
    monkeypatch.setattr(gate.recipes, "RECIPES", {"rpc": replace(gate.recipes.RECIPES["rpc"], budget=1000)})
    assert re.fullmatch(r"it has 0\.0 MB, more than the 0 MB it may have", gate.problems(good)[0])


def test_folders_of_the_machine_that_built_it_are_refused(good) -> None:
    with zipfile.ZipFile(good) as archive:
        manifest = json.loads(archive.read("llama_ffi_rpc/manifest.json"))
    assert "look_in" not in manifest
    manifest["look_in"] = ["/usr/local/cuda/lib64"]
    found = gate.problems(changed(good, None, {"manifest.json": json.dumps(manifest).encode()}))
    assert found == ["its manifest names folders of a machine: /usr/local/cuda/lib64"]


PLATFORMS = {
    "win_amd64": (".dll", b"MZ"),
    "macosx_14_0_arm64": (".dylib", b"\xcf\xfa\xed\xfe"),
    "macosx_14_0_x86_64": (".dylib", b"\xcf\xfa\xed\xfe"),
}


class Core:
    """A core's wheel for a system that can't be built for here, of libraries that only begin as they do."""

    def __init__(self, folder: Path, platform: str, linked: bool = False) -> None:
        self.path = folder / f"llama_ffi-0.1.0-py3-none-{platform}.whl"
        suffix, start = PLATFORMS[platform]
        names = {name: f"{name}-{'a' * 9}{suffix}" for name in gate.CORE_PARTS}
        modules = {} if linked else {"ggml-cpu-x64": f"ggml-cpu-x64-{'a' * 9}{suffix}"}
        if linked:
            names["ggml-cpu"] = f"ggml-cpu-{'a' * 9}{suffix}"
        files = {name: start + name.encode() for name in (*names.values(), *modules.values())}
        self.files = {**files, "probe.json": b"{}", "licenses/llama.cpp-LICENSE": b"words"}
        self.manifest = {
            "format": 1,
            "commit": "a" * 40,
            "libraries": names,
            "modules": modules,
            "probe_sha256": hashlib.sha256(b"{}").hexdigest(),
            "files": {
                name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                for name, data in files.items()
            },
        }

    def problems(self) -> list[str]:
        with zipfile.ZipFile(self.path, "w") as archive:
            for name, data in self.files.items():
                archive.writestr(f"llama_ffi/_native/{name}", data)
            archive.writestr("llama_ffi/_native/manifest.json", json.dumps(self.manifest))
        return gate.problems(self.path)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_core_of_another_system_is_judged_by_its_manifest(tmp_path, platform) -> None:
    suffix, start = PLATFORMS[platform]
    assert Core(tmp_path, platform, linked=True).problems() == []
    # what the manifest names is there, and as it was
    core = Core(tmp_path, platform, linked=True)
    guard = core.manifest["libraries"]["guard"]
    del core.files[guard]
    assert core.problems() == [f"{guard}, which the manifest names, is missing"]
    core.files = {"licenses/llama.cpp-LICENSE": b"words"}
    assert len(core.problems()) == 7  # six libraries, the probe
    core = Core(tmp_path, platform, linked=True)
    core.files[guard] += b"more"
    assert core.problems() == [f"{guard} is not the one of its manifest"]
    # what is there is named by it, of this commit, and for this system
    core = Core(tmp_path, platform, linked=True)
    core.files[f"other{suffix}"] = start
    core.files["libthing-aaaaaaaaa.so"] = b"words"
    assert core.problems() == [
        f"{each} {words}"
        for each, words in sorted(
            [
                (f"other{suffix}", f"does not carry the commit {'a' * 9}"),
                (f"other{suffix}", "is not in its manifest"),
                ("libthing-aaaaaaaaa.so", "is not in its manifest"),
                ("libthing-aaaaaaaaa.so", f"is no library for {platform}"),
            ],
            key=lambda pair: pair[0],
        )
    ]


def test_a_core_is_whole(tmp_path) -> None:
    core = Core(tmp_path, "win_amd64")
    assert core.problems() == []
    for part in gate.CORE_PARTS:
        core = Core(tmp_path, "win_amd64")
        del core.files[core.manifest["libraries"].pop(part)]
        assert core.problems() == [f"it has no {part}"]
    core = Core(tmp_path, "win_amd64")
    name = core.manifest["modules"].pop("ggml-cpu-x64")
    content = core.files.pop(name)
    assert core.problems() == ["it has no back end for the CPU"]
    core.manifest["modules"]["ggml-cpu-haswell"] = name
    core.files[name] = content
    assert core.problems() == ["it has no ggml-cpu-x64, which runs on every processor"]
    core.manifest["libraries"] = {"llama": 5}
    assert [each.partition(":")[0] for each in core.problems()] == ["its manifest is none of ours"]


def test_links_are_refused(good) -> None:
    linked = changed(good, None, {})
    with zipfile.ZipFile(linked, "a") as archive:
        entry = zipfile.ZipInfo("llama_ffi_rpc/libx.so")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "libggml-rpc.so")
    assert "llama_ffi_rpc/libx.so is a link" in gate.problems(linked)


def test_files_that_are_no_wheels(tmp_path, capsys) -> None:
    broken = tmp_path / "llama_ffi-1-py3-none-any.whl"
    broken.write_bytes(b"PK")
    nothing = tmp_path / "nothing.whl"
    nothing.write_bytes(b"")
    assert gate.main([str(broken), str(nothing)]) == 1
    assert capsys.readouterr().out.count("refused") == 2


def test_without_auditwheel_it_says_what_to_install(good, monkeypatch, capsys) -> None:
    done = subprocess.CompletedProcess([], 1, "", "python: No module named auditwheel")
    monkeypatch.setattr(gate.subprocess, "run", lambda *arguments, **options: done)
    assert gate.main([str(good)]) == 1
    assert "python -m pip install 'llama-ffi[wheels]'" in capsys.readouterr().out


def test_damaged_libraries_are_named(tmp_path) -> None:
    whole = compiled(tmp_path, "int f() { return 1; }\n")
    file = tmp_path / "x.so"
    for content in (b"", b"\x7fELF", b"MZ" + whole[2:], whole[:100], whole[:64] + b"\xff" * 4000):
        file.write_bytes(content)
        with pytest.raises(elf.ElfError, match=r"x\.so is (no 64-bit|damaged)"):
            elf.read(file)
