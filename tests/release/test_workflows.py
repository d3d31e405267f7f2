"""The workflows: valid, and everything that their jobs call is there and takes the arguments it is given.

No job runs here. What can be known without running: the form (GitHub's schema), references between jobs, and
each command up to where it has read its arguments.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.release.commands import expanded, lines, module_call

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TOOLS = {"sudo", "python", "llama-ffi", "docker", ".ci/run", "apt-get", "echo"}
HAS_CIBUILDWHEEL = sys.version_info >= (3, 11)  # it wants that itself; our jobs run it on 3.12
OWN = ("build_backends.", "release.", "llama_ffi", "build", *["cibuildwheel"] * HAS_CIBUILDWHEEL)


def workflow(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return result


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield (where, command) of every line of every job, for all values of its matrix."""
    for path in WORKFLOWS:
        for name, job in workflow(path)["jobs"].items():
            matrix = job.get("strategy", {}).get("matrix", {})
            for step in job["steps"]:
                for text in expanded(step.get("run", ""), matrix):
                    for command in lines(text):
                        yield f"{path.name}: {name}", command


def test_there_are_workflows() -> None:
    assert {path.name for path in WORKFLOWS} == {"ci.yml", "images.yml", "wheels.yml"}


def test_they_have_the_form_of_workflows() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*command, *map(str, WORKFLOWS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_finds_mistakes(tmp_path: Path) -> None:
    wrong = tmp_path / "x.yml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "runs-at:"))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    assert subprocess.run([*command, str(wrong)], capture_output=True).returncode == 1


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_jobs_refer_to_each_other(path: Path) -> None:
    text, jobs = path.read_text(encoding="utf-8"), workflow(path)["jobs"]
    uploaded: set[str] = set()
    for job in jobs.values():
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= set(jobs)
        matrix = job.get("strategy", {}).get("matrix", {})
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), step
            if "uses" in step:
                assert re.fullmatch(r"[\w.-]+/[\w.-]+(/[\w.-]+)*@[\w./-]+", step["uses"])
            if step.get("uses", "").startswith("actions/upload-artifact"):
                uploaded.update(expanded(step["with"]["name"], matrix))
    for job in jobs.values():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/download-artifact") and "name" in step["with"]:
                assert step["with"]["name"] in uploaded
    # what a job of one value of its matrix asks for must be a name of the matrix
    for name in re.findall(r"matrix\.([a-z_]+)", text):
        matrices = [job.get("strategy", {}).get("matrix", {}) for job in jobs.values()]
        assert any(name in matrix or any(name in e for e in matrix.get("include", [])) for matrix in matrices)


def test_every_command_is_there_and_takes_its_arguments() -> None:
    calls, places = [], []
    for place, command in commands():
        assert command[0] in TOOLS, (place, command)
        if command[0].startswith("."):
            assert (ROOT / command[0]).is_file() and (ROOT / command[0]).stat().st_mode & 0o111
        call = module_call(command)
        if call is not None and call[0].startswith(OWN):
            calls.append(call)
            places.append(place)
    modules = {call[0] for call in calls}
    assert {"build_backends.wheel", "build_backends.gate", "release.sbom", "release.index"} <= modules
    done = subprocess.run(
        [sys.executable, "-m", "tests.release.commands"],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [(p, c, s) for p, c, s in zip(places, calls, said, strict=True) if s] == []


def test_wrong_arguments_are_noticed() -> None:
    calls = [
        ["release.index", "dist"],
        ["build_backends.wheel", "vulcan"],
        ["release.nothing"],
        ["llama_ffi", "generate", "x", "--devise", "CPU"],
        ["release.index", "dist", "--out", "site", "--more"],
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.release.commands"],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    first, second, third, fourth, fifth = json.loads(done.stdout)
    assert "--out" in first
    assert "vulcan" in second
    assert "nothing" in third
    assert "--devise" in fourth
    assert "--more" in fifth


def test_what_pip_is_asked_for() -> None:
    from build_backends.settings import parse_settings

    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    known = set(re.findall(r"^(\w+) = \[", extras, re.MULTILINE))
    assert "test" in known
    seen = 0
    for place, command in commands():
        if command[:4] != ["python", "-m", "pip", "install"]:
            continue
        seen += 1
        rest = command[4:]
        while "-C" in rest:
            at = rest.index("-C")
            key, _, value = rest[at + 1].partition("=")
            parse_settings({key: value})
            del rest[at : at + 2]
        for word in rest:
            match = re.fullmatch(r"\.\[([\w,]+)\]", word)
            assert match or word == "dist/*.whl", (place, word)
            if match:
                assert set(match[1].split(",")) <= known
    assert seen > 3


def test_the_cores_are_built_for_every_platform() -> None:
    core = workflow(ROOT / ".github" / "workflows" / "wheels.yml")["jobs"]["core"]
    builds = {entry["build"].partition("-")[2] for entry in core["strategy"]["matrix"]["include"]}
    linux = {f"{libc}_{machine}" for libc in ("manylinux", "musllinux") for machine in ("x86_64", "aarch64")}
    assert builds == {*linux, "macosx_arm64", "macosx_x86_64", "win_amd64", "win_arm64"}


@pytest.mark.parametrize("system", ["linux", "macos", "windows"] if HAS_CIBUILDWHEEL else [])
def test_cibuildwheel_takes_its_configuration(system: str) -> None:
    command = [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers"]
    options = ["--config-file", "release/cibuildwheel.toml", "--platform", system]
    done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("cp312-") for line in done.stdout.split())


def test_no_registry_is_named() -> None:
    files = [*WORKFLOWS, *(path for path in (ROOT / "release").iterdir() if path.is_file())]
    for path in files:
        assert not re.search(
            r"quay\.io|ghcr\.io|docker\.io|pypi\.org|pythonhosted", path.read_text(encoding="utf-8")
        )
