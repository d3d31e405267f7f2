"""Which jobs of wheels.yml run when others fail, by GitHub's rules; no job runs here.

Those rules: a job without a condition, or with one that asks for no status, runs only if all jobs that it
needs, directly or through others, have succeeded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / ".github" / "workflows" / "wheels.yml"
JOBS: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["jobs"]
STATUS = re.compile(r"\b(success|failure|always|cancelled)\(\)")


def needed(name: str) -> list[str]:
    needs = JOBS[name].get("needs", [])
    return [needs] if isinstance(needs, str) else needs


def ancestors(name: str) -> set[str]:
    return {each for need in needed(name) for each in (need, *ancestors(need))}


def holds(condition: str, results: Mapping[str, str], succeeded: bool, ref: str) -> bool:
    """Evaluate the expressions that stand in this workflow."""
    text = condition.strip()
    text = text[3:-2] if text.startswith("${{") else text
    if not STATUS.search(text):
        text = f"success() && ({text})"
    text = text.replace("&&", " and ").replace("||", " or ").replace("!cancelled()", "not cancelled()")
    text = re.sub(r"needs\.(\w+)\.result", r"results['\1']", text).replace("github.ref", "ref")
    names = {
        "results": results,
        "ref": ref,
        "success": lambda: succeeded,
        "cancelled": lambda: False,
        "startsWith": str.startswith,
    }
    return bool(eval(text, {"__builtins__": {}}, names))


def run(*failing: str, ref: str = "refs/tags/v1") -> dict[str, str]:
    """Return what becomes of each job if those of `failing` fail when they run."""
    results: dict[str, str] = {}
    while len(results) < len(JOBS):
        for name, job in JOBS.items():
            if name in results or not set(needed(name)) <= set(results):
                continue
            succeeded = all(results[each] == "success" for each in ancestors(name))
            if not holds(job.get("if", "success()"), results, succeeded, ref):
                results[name] = "skipped"
            else:
                results[name] = "failure" if name in failing else "success"
    return results


def steps(results: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the steps of `collect` that run."""
    return [s for s in JOBS["collect"]["steps"] if holds(s.get("if", "success()"), results, True, "")]


def collected(results: Mapping[str, str]) -> set[str]:
    """Return which wheels `collect` takes."""
    given = [step["with"] for step in steps(results) if "download-artifact" in step.get("uses", "")]
    return {each.get("pattern", each.get("name")) for each in given}


def warnings(results: Mapping[str, str]) -> int:
    return sum("::warning" in step.get("run", "") for step in steps(results))


def test_all_is_released_when_nothing_fails() -> None:
    results = run()
    assert set(results.values()) == {"success"}
    assert collected(results) == {"dist-core-*", "dist-source", "dist-plugin-*"}
    assert warnings(results) == 0


def test_a_plugin_that_fails_keeps_nothing_else_back_and_is_told() -> None:
    results = run("plugin")
    assert {name for name, result in results.items() if result != "success"} == {"plugin"}
    assert collected(results) == {"dist-core-*", "dist-source", "dist-plugin-*"}
    assert warnings(results) == 1


def test_plugins_that_dont_run_beside_the_core_are_not_released() -> None:
    results = run("together")
    assert results["collect"] == results["publish"] == results["pages"] == "success"
    assert collected(results) == {"dist-core-*", "dist-source"}
    assert warnings(results) == 1
    assert warnings(run("plugin", "together")) == 2


@pytest.mark.parametrize("job", ["core", "source", "pythons"])
def test_without_a_whole_core_nothing_is_released(job: str) -> None:
    results = run(job)
    assert results["collect"] == results["publish"] == results["pages"] == "skipped"


def test_only_a_version_is_published() -> None:
    results = run(ref="refs/heads/main")
    assert results["collect"] == "success"
    assert results["publish"] == results["pages"] == "skipped"
    assert run("collect")["publish"] == "skipped"


def test_the_device_that_is_the_processor_is_named() -> None:
    from tests.devices.builds import LLVMPIPE

    job = JOBS["together"]
    assert any("--device Vulkan0" in step.get("run", "") for step in job["steps"])
    assert job["env"] == LLVMPIPE
