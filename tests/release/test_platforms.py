"""docs/platforms.md: what it says about CI is what the workflow does."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from build_backends import recipes

ROOT = Path(__file__).resolve().parents[2]
STATES = {"run", "built", "emulated", "CI", "never", ""}
SYSTEMS = {
    "manylinux_x86_64": "Linux x86-64, glibc",
    "musllinux_x86_64": "Linux x86-64, musl",
    "manylinux_aarch64": "Linux arm64, glibc",
    "musllinux_aarch64": "Linux arm64, musl",
    "macosx_arm64": "macOS arm64",
    "macosx_x86_64": "macOS x86-64",
    "win_amd64": "Windows x86-64",
    "win_arm64": "Windows arm64",
}
RUNNERS = {
    "ubuntu-24.04-arm": "Linux arm64, glibc",
    "ubuntu-24.04": "Linux x86-64, glibc",
    "ubuntu-22.04": "Linux x86-64, glibc",
    "ubuntu-22.04-arm": "Linux arm64, glibc",
    "windows-2022": "Windows x86-64",
}


def table() -> dict[tuple[str, str], str]:
    """Return the state of each (platform, back end)."""
    text = (ROOT / "docs" / "platforms.md").read_text(encoding="utf-8").partition("\n- **run**")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", text, re.M)
    ]
    names = [name.strip("`") for name in rows[0][1:]]
    return {(row[0], name): state for row in rows[2:] for name, state in zip(names, row[1:], strict=True)}


def test_the_table_is_whole() -> None:
    found = table()
    assert set(found.values()) == STATES
    assert {platform for platform, _ in found} == set(SYSTEMS.values())
    # Metal is a part of `cpu` on a Mac, and `none` is nothing
    assert {name for _, name in found} == set(recipes.RECIPES) - {"none", "metal"}


def test_what_ci_builds_is_what_the_workflow_builds() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "wheels.yml").read_text(encoding="utf-8"))["jobs"]
    cores = {
        SYSTEMS[entry["build"].partition("-")[2]] for entry in jobs["core"]["strategy"]["matrix"]["include"]
    }
    built = {(system, name) for system in cores for name in ("cpu", "rpc")}  # every core has RPC
    for entry in jobs["plugin"]["strategy"]["matrix"]["include"]:
        built.add((RUNNERS[entry["os"]], entry["backend"]))
    found = table()
    assert {cell for cell, state in found.items() if state == "CI"} <= built
    # what the workflow builds and the table doesn't call CI has been built here
    assert {found[cell] for cell in built} <= {"CI", "run", "built"}
