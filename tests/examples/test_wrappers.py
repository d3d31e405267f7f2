"""docs/wrappers.md: every block of it runs, and what it says of dependencies is so."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import llama_ffi as lf
from vendor import pin

pytestmark = pytest.mark.model

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "wrappers.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


SHELL = "\n".join(blocks("sh"))


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which `python` and `llama-ffi` are this checkout's."""
    commands = folder / "bin"
    commands.mkdir()
    for name, module in (("python", ""), ("llama-ffi", "-m llama_ffi")):
        file = commands / name
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n', encoding="utf-8")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return os.environ | {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONIOENCODING": "utf-8",
        "LLAMA_FFI_CACHE": str(folder / "cache"),
    }


def run(command: list[str], folder: Path, env: dict[str, str]) -> list[str]:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_every_program_runs(number: int, tmp_path: Path) -> None:
    env = environment(tmp_path) | {"PYTHONWARNINGS": "error"}
    said = run([sys.executable, "-c", blocks("python")[number]], tmp_path, env)
    assert said and all(line.strip() for line in said)


def test_the_errors_are_those_that_the_comments_name(tmp_path: Path) -> None:
    program = next(block for block in blocks("python") if "nowhere.gguf" in block)
    said = run([sys.executable, "-c", program], tmp_path, environment(tmp_path))
    assert [line.split(" ")[0] for line in said[:2]] == ["ModelNotFoundError", "InvalidArgumentError"]
    assert "llama_no_such_function" in said[2] and "1000000" in said[3] and said[4].startswith("1 ")


def test_the_commands_run_one_after_the_other(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "vendor" / "fetch.py"), "--print-path"]
    source = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    env = environment(tmp_path)
    env |= {"FORK": source, "FORK_LIB": str(ROOT / "llama_ffi" / "_native")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", SHELL],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    said = done.stdout.splitlines()
    assert said[:2] == ["llama_cpp", "True"]
    assert "'CPU'" in said[2] and "'CPU'" in said[3]
    assert "fork" in said and any(line.startswith("shipped:  there was") for line in said)


def test_the_dependencies_can_be_had() -> None:
    toml = pin._toml()
    theirs = toml.loads(blocks("toml")[0])["project"]
    ours = toml.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (name, low, high), *rest = re.findall(
        r"^([a-z-]+)>=([\d.]+),<([\d.]+)$", "\n".join(theirs["dependencies"]), re.MULTILINE
    )
    assert not rest and name == ours["name"]
    assert SpecifierSet(f">={low},<{high}").contains(lf.__version__, prereleases=True)
    extras = re.findall(r"\[(\w+)\]", str(theirs["optional-dependencies"]))
    assert extras and set(extras) <= set(ours["optional-dependencies"])


def test_no_block_is_left_out() -> None:
    assert sorted(set(re.findall(r"```(\w+)\n", TEXT))) == ["python", "sh", "toml"]
