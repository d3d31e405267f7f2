"""Building: names, manifest, cache; neither an interruption nor a second process leaves half a result."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from little_llama import FILES

from build_backends import build, command, stage
from build_backends.settings import Settings, parse_settings
from vendor import tree

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.native  # needs cmake, ninja and a compiler, as the libraries do


def elf(file: Path) -> str:
    return subprocess.run(["readelf", "-d", str(file)], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def runs(monkeypatch):
    """Count how often cmake is run."""
    from build_backends import cmake

    real, calls = cmake.run, []

    def counted(*arguments):
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(cmake, "run", counted)
    return calls


def test_libraries_manifest_probe_and_licences(little_project) -> None:
    folder = build.build(Settings())
    manifest = json.loads((folder / "manifest.json").read_text())
    tag = "x" + tree.digest(little_project)[:8]
    suffix = ".dylib" if sys.platform == "darwin" else ".so"
    assert manifest["libraries"] == {
        "ggml-base": f"libggml-base-{tag}{suffix}",
        "ggml-cpu": f"libggml-cpu-{tag}{suffix}",
        "ggml": f"libggml-{tag}{suffix}",
        "guard": f"libllama_ffi_guard-{tag}{suffix}",
        "llama": f"libllama-{tag}{suffix}",
        "mtmd": f"libmtmd-{tag}{suffix}",
    }
    assert manifest["format"] == 1
    assert manifest["modules"] == {}
    assert manifest["backend"] == "native"
    assert manifest["llama_version"] == "9.9.9"
    assert manifest["commit"] == "0" * 40  # no repository, not the pinned tree
    assert manifest["headers_sha256"] == tree.headers_digest(little_project)
    assert "-DGGML_OPENMP=OFF" in manifest["flags"]
    assert manifest["compiler"]
    assert manifest["system"]
    assert (folder / "probe.json").read_bytes() == b'{"a":1,"b":2}'
    assert manifest["probe_sha256"] == hashlib.sha256(b'{"a":1,"b":2}').hexdigest()
    assert sorted(file.name for file in (folder / "licenses").iterdir()) == [
        "llama.cpp-LICENSE",
        "llama.cpp-LICENSE-other",
        "thing-LICENSE",
    ]
    assert not [file for file in folder.rglob("*") if file.is_symlink()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files")
def test_each_file_is_named_as_its_soname_and_looks_beside_itself(little_project) -> None:
    folder = build.build(Settings())
    for name in json.loads((folder / "manifest.json").read_text())["libraries"].values():
        text = elf(folder / name)
        assert f"soname: [{name}]" in text
        assert "[$ORIGIN]" in text
        content = (folder / name).read_bytes()
        assert str(folder.parent).encode() not in content
        assert str(little_project).encode() not in content


def test_a_second_build_compiles_nothing(little_project, runs) -> None:
    assert build.build(Settings()) == build.build(Settings())
    assert len(runs) == 1


def test_other_inputs_are_another_build(little_project, runs, monkeypatch) -> None:
    results = {build.build(Settings())}
    results.add(build.build(parse_settings({"cmake.define.SOMETHING": "1"})))
    monkeypatch.setenv("CFLAGS", "-O1")
    results.add(build.build(Settings()))
    (little_project / "src/llama.c").write_text(FILES["src/llama.c"] + "int more;\n")
    results.add(build.build(Settings()))
    assert len(results) == len(runs) == 4


def test_a_changed_probe_compiles_only_the_probe(little_project, cache) -> None:
    first = build.build(Settings())
    (build.PROJECT / "probe.c").write_text('#include <stdio.h>\nint main(void) { puts("[3]"); }\n')
    second = build.build(Settings())
    assert second != first
    assert second.parent == first.parent
    assert (second / "probe.json").read_bytes() == b"[3]"
    log = (second.parent / "build.log").read_text()
    assert "probe.c" in log
    assert "llama.c.o" not in log


def test_a_result_that_lost_a_file_is_made_again(little_project, runs) -> None:
    folder = build.build(Settings())
    next(folder.glob("libllama-*")).unlink()
    assert not stage.is_complete(folder)
    assert stage.is_complete(build.build(Settings()))
    assert len(runs) == 2


def test_publishing_replaces_as_a_whole(little_project, tmp_path) -> None:
    folder = build.build(Settings())
    target = tmp_path / "package" / "_native"
    stage.publish(folder, target)
    assert stage.is_complete(target)
    before = target.stat().st_ino
    stage.publish(folder, target)
    assert target.stat().st_ino == before  # nothing to do
    (target / "stale.so").write_text("")
    (target / "manifest.json").write_text("{}")
    stage.publish(folder, target)
    assert stage.is_complete(target)
    assert not (target / "stale.so").exists()
    assert [file.name for file in target.parent.iterdir()] == ["_native"]


DRIVER = """\
import sys
from pathlib import Path
from build_backends import build
build.PROJECT = Path(sys.argv[1])
from build_backends.settings import Settings
print(build.build(Settings()))
"""


def start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(build.PROJECT)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_two_processes_build_once(little_project) -> None:
    both = [start() for _ in range(2)]
    ends = [process.communicate(timeout=500) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert ends[0][0] == ends[1][0]
    assert sum("configuring" in error for _, error in ends) == 1


def test_a_killed_build_is_gone_on_with(little_project, tmp_path, monkeypatch, cache) -> None:
    compiler = shutil.which(os.environ.get("CXX") or "c++")
    slow = tmp_path / "slow-c++"
    slow.write_text(
        "#!/bin/sh\n"
        f'cd "{tmp_path}"\n'
        'case "$*" in *calls.cpp*) [ -e go ] || { touch waiting; sleep 300; };; esac\n'
        'cd "$OLDPWD"\n'
        f'exec {compiler} "$@"\n'
    )
    slow.chmod(0o755)
    monkeypatch.setenv("CXX", str(slow))
    monkeypatch.setenv("CMAKE_BUILD_PARALLEL_LEVEL", "2")  # one waits, the other compiles the rest
    victim = start()
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if (tmp_path / "waiting").exists() and list(cache.rglob("libggml-base-*")):
            break
        time.sleep(0.05)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert not list(cache.rglob("manifest.json"))
    (tmp_path / "go").touch()
    result = build.build(Settings())
    assert stage.is_complete(result)
    assert "base.c.o" not in (result.parent / "build.log").read_text()  # was compiled before the kill


def test_command_line_puts_the_result_where_it_is_wanted(little_project, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert command.main(["native", "--out", str(out), "-D", "SOMETHING=1"]) == 0
    assert stage.is_complete(out)
    assert "-DSOMETHING=1" in json.loads((out / "manifest.json").read_text())["flags"]
    assert capsys.readouterr().out == f"{out}\n"
