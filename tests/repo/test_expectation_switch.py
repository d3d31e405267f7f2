"""The expectation switch: with it no skip, expected failure or missing library looks like a pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
SWITCH = {"LLAMA_FFI_EXPECT_NO_SKIPS": "1"}

SAMPLES = {
    "skip": "import pytest\ndef test(): pytest.skip('no reason today')\n",
    "mark": "import pytest\n@pytest.mark.skip(reason='marked')\ndef test(): pass\n",
    "skipif": "import pytest\n@pytest.mark.skipif(True, reason='condition')\ndef test(): pass\n",
    "importorskip": "import pytest\npytest.importorskip('no_such_module_anywhere')\ndef test(): pass\n",
    "module": "import pytest\npytest.skip('whole module', allow_module_level=True)\n",
    "xfail": "import pytest\n@pytest.mark.xfail(reason='known')\ndef test(): assert False\n",
    "fixture": (
        "import pytest\n@pytest.fixture\ndef lib(): pytest.skip('no library')\ndef test(lib): pass\n"
    ),
    "native": "import pytest\n@pytest.mark.native\ndef test(): pass\n",
    "model": "import pytest\n@pytest.mark.model\ndef test(): pass\n",
}
REASONS = (
    "no reason today",
    "marked",
    "condition",
    "no_such_module_anywhere",
    "whole module",
    "expected to fail: known",
    "no library",
    "the native libraries are not built",
)


def run_pytest(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a copy of the tests' folder that has neither libraries nor a model beside it."""
    tests = folder / "tests"
    tests.mkdir(exist_ok=True)
    shutil.copy(CONFTEST, tests)
    markers = "[pytest]\nmarkers =\n  native: n\n  model: m\n"
    (folder / "pytest.ini").write_text(markers)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LLAMA_FFI_", "PYTEST_"))}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, "tests"]
    return subprocess.run(
        command, cwd=folder, env={**env, **environment}, capture_output=True, text=True, timeout=120
    )


def write_samples(folder: Path, *names: str) -> Path:
    tests = folder / "tests"
    tests.mkdir()
    for name in names:
        (tests / f"test_{name}.py").write_text(SAMPLES[name])
    (tests / "test_passes.py").write_text("def test(): pass\n")
    return folder


def test_without_the_switch_a_skip_passes(tmp_path: Path) -> None:
    result = run_pytest(write_samples(tmp_path, *SAMPLES))
    assert result.returncode == 0, result.stdout
    assert "8 skipped" in result.stdout
    assert "1 xfailed" in result.stdout


def test_with_the_switch_each_skip_is_a_failure_that_names_its_reason(tmp_path: Path) -> None:
    result = run_pytest(write_samples(tmp_path, *SAMPLES), "--continue-on-collection-errors", **SWITCH)
    assert result.returncode != 0
    summary = result.stdout.splitlines()[-1]
    assert "skipped" not in summary
    assert "xfailed" not in summary
    assert "1 passed" in summary
    for name in SAMPLES:
        assert f"test_{name}.py" in result.stdout
    for reason in REASONS:
        assert reason in result.stdout
    assert result.stdout.count("skips count as failures here") >= len(SAMPLES)


def test_a_module_that_skips_itself_stops_the_run(tmp_path: Path) -> None:
    result = run_pytest(write_samples(tmp_path, "module"), **SWITCH)
    assert result.returncode != 0
    assert "whole module" in result.stdout


def test_the_option_does_the_same_and_0_is_off(tmp_path: Path) -> None:
    folder = write_samples(tmp_path, "skip")
    result = run_pytest(folder, "--no-skips")
    assert result.returncode == 1
    assert "no reason today" in result.stdout
    assert run_pytest(folder, LLAMA_FFI_EXPECT_NO_SKIPS="0").returncode == 0


def test_what_may_be_skipped_is_named(tmp_path: Path) -> None:
    folder = write_samples(tmp_path, "skip", "mark", "module", "xfail")
    allowed = {"LLAMA_FFI_MAY_SKIP": "another reason; no reason today"}
    result = run_pytest(folder, "--continue-on-collection-errors", **SWITCH, **allowed)
    assert result.returncode == 1
    assert "1 failed, 1 passed, 1 skipped, 2 errors" in result.stdout, result.stdout
    for reason in ("marked", "whole module", "known"):
        assert reason in result.stdout
    for name in ("mark", "module", "xfail"):
        (folder / "tests" / f"test_{name}.py").unlink()
    assert run_pytest(folder, **SWITCH, **allowed).returncode == 0
    assert run_pytest(folder, **SWITCH, LLAMA_FFI_MAY_SKIP="no reason").returncode == 1


def test_the_switch_holds_in_parallel_runs(tmp_path: Path) -> None:
    folder = write_samples(tmp_path, "skip", "module", "xfail")
    result = run_pytest(folder, "--no-skips", "-p", "xdist", "-n", "2")
    assert result.returncode != 0
    for reason in ("no reason today", "whole module", "known"):
        assert reason in result.stdout
