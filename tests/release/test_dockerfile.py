"""The Dockerfile: its stages, what it copies, what it runs. No image is built here."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

from build_backends import recipes
from tests.release.commands import lines, module_call

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "release" / "Dockerfile"


@pytest.fixture(scope="module")
def parsed() -> list[dict[str, str]]:
    parser = DockerfileParser(fileobj=io.BytesIO(FILE.read_bytes()))
    result: list[dict[str, str]] = parser.structure
    return result


def stages(parsed: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for each in parsed:
        if each["instruction"] == "FROM":
            image, _, name = each["value"].partition(" AS ")
            assert image and name, each
            found[name] = []
        elif found:
            found[next(reversed(found))].append(each)
    return found


def copies(instructions: list[dict[str, str]]) -> list[tuple[str, list[str]]]:
    """Return (stage or "", sources) of each COPY."""
    result = []
    for each in instructions:
        if each["instruction"] == "COPY":
            words = each["value"].split()
            stage = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else ""
            result.append((stage, words[:-1]))
    return result


def test_the_command_is_the_entry_point(parsed: list[dict[str, str]]) -> None:
    for target in ("cpu", "cuda"):
        said = {each["instruction"]: each["value"] for each in stages(parsed)[target]}
        assert json.loads(said["ENTRYPOINT"]) == ["llama-ffi"]
        assert json.loads(said["CMD"]) == ["--help"]
        assert said["USER"] == "llama"  # not root


def test_what_is_copied_exists(parsed: list[dict[str, str]]) -> None:
    known: list[str] = []
    ignored = (ROOT / "release" / "Dockerfile.dockerignore").read_text().splitlines()
    for name, instructions in stages(parsed).items():
        for stage, sources in copies(instructions):
            if stage:
                assert stage in known
                continue
            for source in sources:
                assert (ROOT / source).exists(), source
                assert f"!{source.removeprefix('./')}" in ignored
        known.append(name)


def test_variables_are_declared(parsed: list[dict[str, str]]) -> None:
    declared = {each["value"].partition("=")[0] for each in parsed if each["instruction"] == "ARG"}
    used = set(re.findall(r"\$\{(\w+)\}", FILE.read_text()))
    assert used <= declared
    backend = re.search(r"^ARG CUDA_BACKEND=(\w+)$", FILE.read_text(), re.MULTILINE)
    assert backend and recipes.RECIPES[backend[1]].is_plugin


def test_its_commands_take_their_arguments(parsed: list[dict[str, str]]) -> None:
    calls = []
    for each in parsed:
        if each["instruction"] == "RUN":
            text = each["value"].replace("${CUDA_BACKEND}", "cuda13").replace("${CUDA_ARCH}", "90-real")
            for command in lines(text):
                call = module_call(command)
                if call and call[0].startswith("build_backends"):
                    calls.append(call)
    assert calls == [["build_backends.wheel", "cuda13", "--arch", "90-real", "--out", "/wheels"]]
    done = subprocess.run(
        [sys.executable, "-m", "tests.release.commands"],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert json.loads(done.stdout) == [""]


def test_what_is_copied_is_enough_for_a_wheel(parsed: list[dict[str, str]], tmp_path: Path) -> None:
    """The same files, in a folder of their own; no library, which would take minutes."""
    context = tmp_path / "context"
    context.mkdir()
    left_out = shutil.ignore_patterns("_native", "__pycache__")
    for _, sources in copies(stages(parsed)["build"]):
        for source in sources:
            path = ROOT / source
            if path.is_dir():
                shutil.copytree(path, context / source, ignore=left_out)
            else:
                shutil.copy(path, context / source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    done = subprocess.run(
        [*command, str(tmp_path), str(context), "-C", "backend=none"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "llama_ffi/__init__.py" in names and "llama_ffi/data/tiny.gguf" in names
