"""What .ci/run and .ci/vulkan-headers do about the system's packages; stand-ins play the system's tools."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
CI = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
OF_DPKG = re.findall(r"for package in (.*); do", RUN)[0].split()

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="scripts for bash")


def script(file: Path, text: str) -> None:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def system_packages(folder: Path, user: int, installed: list[str]) -> tuple[int, str, str]:
    """Run the function of .ci/run; return its status, its words, and what apt-get was called with."""
    script(folder / "id", f"echo {user}")
    script(folder / "dpkg", f'case " {" ".join(installed)} " in *" $2 "*) exit 0;; esac; exit 1')
    script(folder / "apt-get", f'echo "$@" >>{folder}/apt')
    for name in ("c++", "strace"):
        script(folder / name, "exit 0")
    body = RUN[RUN.index("system_packages() {") : RUN.index("# The README's first command")]
    code = f"set -u; python={sys.executable}\n{body}\nsystem_packages"
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", code], env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    asked = folder / "apt"
    return done.returncode, done.stderr, asked.read_text() if asked.exists() else ""


def test_nobody_needs_to_be_root_where_all_is_there(tmp_path: Path) -> None:
    assert system_packages(tmp_path, 1000, [*OF_DPKG, "spirv-headers"]) == (0, "", "")


def test_who_is_not_root_is_told_what_is_missing(tmp_path: Path) -> None:
    status, said, asked = system_packages(tmp_path, 1000, ["libvulkan-dev", "spirv-headers"])
    assert status == 1 and asked == ""
    assert "glslc" in said and "libopenblas-dev" in said and "libvulkan-dev" not in said


def test_root_installs_what_is_missing(tmp_path: Path) -> None:
    status, _, asked = system_packages(tmp_path, 0, ["libvulkan-dev", "spirv-headers"])
    assert status == 0
    update, install = asked.splitlines()
    assert update.startswith("update")
    rest = [name for name in OF_DPKG if name != "libvulkan-dev"]
    assert install.split()[-len(rest) :] == rest and "libvulkan-dev" not in install


def test_the_job_installs_what_the_script_wants() -> None:
    installed = set(
        re.findall(r"[\w+.-]+", CI[CI.index("apt-get install") : CI.index("# The newest variants")])
    )
    assert {*OF_DPKG, "strace", "g++", "spirv-headers"} <= installed


def headers(folder: Path, version: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run .ci/vulkan-headers where the headers define `version`, and apt has no mirror."""
    prefix = tmp_path / "system"
    (prefix / "include" / "vulkan").mkdir(parents=True)
    (prefix / "include" / "vulkan" / "vulkan.h").write_text(f"#define {version} 1\n")
    (prefix / "share" / "cmake" / "SPIRV-Headers").mkdir(parents=True)
    (prefix / "share" / "cmake" / "SPIRV-Headers" / "SPIRV-HeadersConfig.cmake").write_text("")
    tools = tmp_path / "tools"
    tools.mkdir()
    script(tools / "apt-get", "exit 0")
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    variables = {"PATH": path, "CMAKE_PREFIX_PATH": str(prefix), "PYTHON": sys.executable}
    command = [str(ROOT / ".ci" / "vulkan-headers"), str(folder)]
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VULKAN_SDK")} | variables
    return subprocess.run(command, env=env, capture_output=True, text=True, cwd=tmp_path)


@pytest.mark.skipif(shutil.which("c++") is None, reason="the compiler judges headers")
def test_headers_of_the_system_that_are_new_enough_do(tmp_path: Path) -> None:
    done = headers(tmp_path / "new", "VK_EXT_layer_settings", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "new enough" in done.stdout
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(not Path("/etc/os-release").exists(), reason="asks which Linux this is")
def test_old_headers_of_the_system_dont(tmp_path: Path) -> None:
    done = headers(tmp_path / "new", "VK_SOMETHING_OLD", tmp_path)
    assert done.returncode == 1
    # Debian's newer ones come from the mirror that apt has; Ubuntu's doesn't have them
    assert "apt knows no mirror" in done.stderr or "install libvulkan-dev and spirv-headers" in done.stderr
    assert not (tmp_path / "new").exists()
