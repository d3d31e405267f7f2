"""What all tests share: the markers' meaning and the expectation switch.

A test marked `native` needs the built libraries, one marked `model` also the trained model that
ships. Where they are missing such a test is skipped, so that a checkout without a build can still
test what it has.

On a machine that is supposed to have everything a skip must not look like a pass. The *expectation
switch*, `--no-skips` or `LLAMA_FFI_EXPECT_NO_SKIPS=1`, turns every skip and every expected failure, at
collection or at run time, into a failure that names its reason. CI sets it. What a machine can't have is
named: a test whose reason for skipping stands word by word in `LLAMA_FFI_MAY_SKIP` stays skipped.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "llama_ffi"
SWITCH = "LLAMA_FFI_EXPECT_NO_SKIPS"
MAY_SKIP = "LLAMA_FFI_MAY_SKIP"

# A failing GGML_ASSERT in a child process would start a debugger and print for seconds.
os.environ.setdefault("GGML_NO_BACKTRACE", "1")

# Who is started in the background ignores Ctrl-C, and so do its children: nothing could be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips",
        action="store_true",
        default=os.environ.get(SWITCH, "") not in ("", "0"),
        help=f"turn every skip and xfail into a failure (also: {SWITCH}=1)",
    )


def missing_parts() -> dict[str, str]:
    """Return, for each marker whose requirement this checkout lacks, the reason to skip."""
    missing: dict[str, str] = {}
    if "LLAMA_FFI_LIB" not in os.environ and not (PACKAGE / "_native" / "manifest.json").is_file():
        missing["native"] = missing["model"] = (
            "the native libraries are not built: run `pip install -e .` in the checkout"
        )
    elif not any((PACKAGE / "data").glob("*.gguf")):
        missing["model"] = f"no model in {PACKAGE / 'data'}"
    return missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = missing_parts()
    for item in items:
        for marker, reason in missing.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # An expected failure is reported as a skip that carries `wasxfail`; an unexpected pass already fails
    # because the settings make xfail strict.
    if report.skipped and item.config.getoption("--no-skips") and not may_skip(report):
        fail_report(report, getattr(report, "wasxfail", None))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and collector.config.getoption("--no-skips"):
        fail_report(report, None)
    return report


def may_skip(report: pytest.TestReport) -> bool:
    """Tell whether the report is of a skip whose reason the environment names (several by semicolons)."""
    named = [reason.strip() for reason in os.environ.get(MAY_SKIP, "").split(";")]
    if hasattr(report, "wasxfail") or not isinstance(report.longrepr, tuple):
        return False
    return report.longrepr[2].removeprefix("Skipped: ") in [reason for reason in named if reason]


def fail_report(report: pytest.TestReport | pytest.CollectReport, xfail_reason: str | None) -> None:
    """Turn a skip's report into a failure's, keeping the reason."""
    if xfail_reason is not None:
        del report.wasxfail  # type: ignore[union-attr]  # else the terminal still counts it as xfailed
        reason = f"expected to fail: {xfail_reason or 'no reason given'}"
    elif isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
    else:
        reason = str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid}: {reason} (skips count as failures here: --no-skips or {SWITCH}=1)"


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """Path of the trained model that ships."""
    import llama_ffi  # not at import time: a checkout without a build still collects

    return Path(llama_ffi.tiny_model_path())
