"""The gate: a wheel that claims too old a system, or carries what it must not, is refused with the reason."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
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
    monkeypatch.setattr(gate, "PLUGIN_BUDGET", 1000)
    assert re.fullmatch(r"it has 0\.0 MB, more than the 0 MB it may have", gate.problems(good)[0])


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
