"""Behind every check stands the guard: what gets past a check is an error, not the end of the process.

Three runs of each known killer, each in a process of its own: with the check, without the check, and
without check and guard. The last one has to die, or the other two prove nothing.
"""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

from llama_ffi._core import binding
from tests.lifetime.conftest import ROOT, Child
from tests.lifetime.killers import KILLERS, SIGNALS

pytestmark = pytest.mark.model

IN_THE_LIBRARY = {"more_sequences_than_outputs": "ContextCreateError"}
"""Where libllama catches the guard's exception itself and returns NULL."""


def outcome(child: Child, *arguments: object, guard: str = "1") -> tuple[int, list[str]]:
    done = child("tests.lifetime.killers", *arguments, LLAMA_FFI_GUARD=guard)
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("killer", [*KILLERS, *SIGNALS])
def test_the_check_refuses(child: Child, killer: str, tiny_model: Path) -> None:
    status, (error, *rest) = outcome(child, killer, tiny_model)
    assert status == 0 and rest == ["alive"]
    assert error.split()[0].endswith("Error") and not error.startswith("NativeAbortError")


@pytest.mark.parametrize("killer", KILLERS)
def test_the_guard_catches(child: Child, killer: str, tiny_model: Path) -> None:
    status, (error, *rest) = outcome(child, killer, tiny_model, "unchecked")
    assert status == 0 and rest == ["alive"]
    assert error.split()[0] == IN_THE_LIBRARY.get(killer, "NativeAbortError")


@pytest.mark.skipif(sys.platform == "win32", reason="processes don't die of signals there")
@pytest.mark.parametrize("killer", [*KILLERS, *SIGNALS])
def test_without_both_it_kills(child: Child, killer: str, tiny_model: Path) -> None:
    status, _words = outcome(child, killer, tiny_model, "unchecked", guard="0")
    assert -status in (signal.SIGABRT, signal.SIGFPE, signal.SIGSEGV)


def test_poisoned_objects_can_only_be_closed(child: Child, tiny_model: Path) -> None:
    done = child("tests.lifetime.poisoned", tiny_model)
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")


def test_every_function_of_the_table_is_guarded() -> None:
    """A library that was staged with an older guard would leave the newer functions unguarded."""
    table = (ROOT / "build_backends" / "native" / "guard" / "calls.cpp").read_text(encoding="utf-8")
    names = re.findall(r'^    \{ "(\w+)", ', table, re.MULTILINE)
    guard = binding.active().guard
    assert guard is not None and len(names) > 100
    missing = [name for name in names if not guard.lib.llama_ffi_guard_function(name.encode())]
    assert missing == []
