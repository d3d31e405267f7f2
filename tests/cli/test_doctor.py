"""`llama-ffi doctor`: what it says of a good installation, of a foreign library, and of broken ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.model

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, object]]:
    """Return the findings of `doctor --json` by topic."""
    return {finding["topic"]: finding for finding in json.loads(done.stdout)}


def test_a_good_installation(llama: Run) -> None:
    import llama_ffi

    done = llama("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.split()[1]: line for line in done.stdout.splitlines() if not line.startswith(" ")}
    assert all(line.startswith(("ok", "note")) for line in lines.values())
    info = llama_ffi.library_info()
    assert info.commit[:12] in lines["library"]
    assert f"(found via {info.found_via})" in lines["library"]
    assert lines["verified"].endswith(info.verified_by)
    for path in llama_ffi.library_paths().values():
        assert str(path) in done.stdout
    assert "cure" not in done.stdout
    assert "ok    model" in done.stdout


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Our libraries under upstream's names, without a manifest and a guard."""
    from llama_ffi import library_paths

    for key, path in library_paths().items():
        if key not in ("guard", "mtmd"):
            (tmp_path / path.name).symlink_to(path)
            (tmp_path / f"lib{key}.so").symlink_to(path)
    return tmp_path


def test_a_foreign_library(llama: Run, foreign: Path) -> None:
    from llama_ffi._lib.foreign import indistinguishable
    from llama_ffi.raw import ffi

    done = llama("doctor", "--json", env={"LLAMA_FFI_LIB": str(foreign)})
    assert (done.returncode, done.stderr) == (0, "")
    found = findings(done)
    # The switch that CI sets is listed too: it is a variable of ours.
    assert f"LLAMA_FFI_LIB={foreign}" in found["environment"]["text"].split(", ")
    assert found["verified"]["status"] == "note"
    named = found["verified"]["details"]
    assert named == [f"{struct}: {left} and {right}" for struct, left, right in indistinguishable(ffi)]
    assert "llama_context_params: type_k and type_v" in named
    assert found["guard"]["status"] == "note"
    assert "ends the process" in str(found["guard"]["text"])
    assert found["functions"]["status"] == "note"
    assert "mtmd_tokenize" in found["functions"]["details"], "this build has no libmtmd"
    assert found["model"]["status"] == "ok"


@pytest.mark.parametrize(
    ("variable", "value", "words", "cure"),
    [
        (
            "LLAMA_FFI_LIB",
            "/nowhere",
            "names /nowhere, which doesn't exist",
            "correct or unset LLAMA_FFI_LIB",
        ),
        ("LLAMA_FFI_BINDINGS", "none-such", "no bindings 'none-such'", "unset LLAMA_FFI_BINDINGS"),
    ],
)
def test_broken(llama: Run, variable: str, value: str, words: str, cure: str) -> None:
    done = llama("doctor", env={variable: value})
    assert done.returncode == 1
    bad = [line for line in done.stdout.splitlines() if line.startswith("bad")]
    assert len(bad) == 1
    assert words in bad[0]
    assert cure in done.stdout
    assert "ok    model" not in done.stdout


def test_a_library_that_ends_the_process(llama: Run, foreign: Path) -> None:
    from llama_ffi import library_paths

    (foreign / "crash.c").write_text(
        "#include <stdlib.h>\n__attribute__((constructor)) static void die(void) { abort(); }\n"
    )
    (foreign / "libllama.so").unlink()
    command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", str(foreign / "crash.c")]
    subprocess.run([*command, "-o", str(foreign / "libllama.so")], check=True)
    (foreign / library_paths()["llama"].name).unlink()
    done = llama("doctor", "--json", env={"LLAMA_FFI_LIB": str(foreign)})
    assert done.returncode == 1
    loading = findings(done)["loading"]
    assert loading["text"] == "loading the library ends the process (SIGABRT)"
    assert loading["cure"]


def test_as_a_function() -> None:
    code = "import llama_ffi as lf; print(*(f.topic for f in lf.diagnose()), sep='|', end='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # what depends on the machine: variables that are set, plugins, GPUs that nothing uses
    topics = [each for each in done.stdout.split("|") if each not in ("environment", "back end", "hardware")]
    assert topics == [
        *(
            "versions",
            "library",
            "bindings",
            "verified",
            "guard",
            "functions",
            "back ends",
            "devices",
            "model",
        )
    ]
