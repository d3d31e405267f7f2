"""Other projects on this back end, unmodified, as they come from the package index.

`pytest -m third_party` installs them once (123 packages, 400 MB in the cache); each test runs a program in
their environment. What they import as ``llama_cpp`` is llama-cpp-python's Python code on our library.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import llama_ffi as lf
from llama_ffi import compat, testing
from vendor.pin import IndexSource

from . import environment

pytestmark = [pytest.mark.third_party, pytest.mark.model]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PROGRAMS = HERE / "programs"

LLGUIDANCE = IndexSource(
    project="llguidance",
    version="1.5.0",
    filename="llguidance-1.5.0.tar.gz",
    size=1086056,
    sha256="2ea30af852590449dce8acf7fed809a3aeccbc890bb90e446654c26d812a17f6",
    prefix="llguidance-1.5.0",
)

Run = Callable[..., str]


@pytest.fixture(scope="session")
def python() -> Path:
    return environment.interpreter()


@pytest.fixture
def run(python: Path, tmp_path: Path) -> Run:
    """Run a program in their environment and return what it prints."""

    def run(*arguments: object) -> str:
        entries = [compat.shim_folder(), ROOT]
        done = subprocess.run(
            [str(python), *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(map(str, entries)), "PYTHONIOENCODING": "utf-8"}
            | {"HOME": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            encoding="utf-8",
            timeout=500,
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
        return done.stdout

    return run


def test_the_wrapper_has_no_library_of_its_own(run: Run) -> None:
    code = (
        "import llama_cpp, pathlib; home = pathlib.Path(llama_cpp.__file__).parent\n"
        "print(llama_cpp.__version__, len(list(home.rglob('*.so*'))), llama_cpp.llama_cpp.__name__)"
    )
    assert run("-c", code).split() == ["0.3.36", "0", "llama_ffi.compat.llama_cpp"]


def test_llguidance_own_test(run: Run, tmp_path: Path) -> None:
    """Its test_llamacpp.py, unmodified; the vocabulary that it would download lies where it keeps it."""
    with tarfile.open(environment.source_of(LLGUIDANCE)) as archive:
        member = archive.extractfile(f"{LLGUIDANCE.prefix}/python/torch_tests/test_llamacpp.py")
        assert member is not None
        (tmp_path / "test_llamacpp.py").write_bytes(member.read())
    command = [sys.executable, str(ROOT / "vendor" / "fetch.py"), "--print-path"]
    source = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    kept = tmp_path / ".pytest_cache" / "d" / "llama_vocab"
    kept.mkdir(parents=True)
    shutil.copy(Path(source) / "models" / "ggml-vocab-llama-bpe.gguf", kept / "vocab.gguf")
    said = run("-m", "pytest", "-q", "--rootdir", tmp_path, "test_llamacpp.py")
    assert "1 passed" in said


@pytest.mark.parametrize("kind", ["shipped", "random"])
def test_guidance(run: Run, tmp_path: Path, kind: str) -> None:
    model = lf.tiny_model_path()
    if kind == "random":
        model = tmp_path / "random.gguf"
        testing.save_random_model(str(model), "llama", seed=3)
    said = run(PROGRAMS / "guidance_batches.py", model).splitlines()
    assert sum(line.startswith("prompt of") for line in said) == 6
    assert {"logits agree", "tokens go round"} <= set(said)


def test_outlines(run: Run) -> None:
    said = run(PROGRAMS / "outlines_json.py", lf.tiny_model_path()).splitlines()
    assert [line.split(":")[0] for line in said] == [
        "JSON by schema, outlines_core",
        "JSON by schema, llguidance",
        "a pydantic class",
        "pattern and choice",
        "stream",
        "chat",
    ]


def test_langchain(run: Run, tmp_path: Path) -> None:
    encoder = tmp_path / "encoder.gguf"
    testing.save_random_model(str(encoder), "bert", metadata={"bert.pooling_type": 1})
    said = run(PROGRAMS / "langchain_stream.py", lf.tiny_model_path(), encoder).splitlines()
    assert [line.split(":")[0] for line in said] == [
        "LlamaCpp",
        "chain, async, stop",
        "ChatLlamaCpp",
        "LlamaCppEmbeddings",
    ]


def test_llama_index(run: Run) -> None:
    said = run(PROGRAMS / "llama_index_stream.py", lf.tiny_model_path()).splitlines()
    assert [line.split(":")[0] for line in said] == ["complete", "chat"]


# --- cyllama ---


def test_cyllama_names_are_those_recorded(run: Run) -> None:
    recorded = json.loads((HERE.parent / "cyllama" / "names.json").read_text(encoding="utf-8"))
    assert json.loads(run(HERE.parent / "cyllama" / "names.py")) == recorded


def test_a_program_says_the_same_on_cyllama_and_on_ours(run: Run) -> None:
    program = PROGRAMS / "cyllama_today.py"
    theirs = json.loads(run(program, "cyllama.llama.llama_cpp", lf.tiny_model_path()).splitlines()[-1])
    ours = json.loads(run(program, "llama_ffi.compat.cyllama", lf.tiny_model_path()).splitlines()[-1])
    assert theirs.keys() == ours.keys() and len(ours) > 20
    different = {name for name in theirs if theirs[name] != ours[name]}
    assert different == set(), [(name, theirs[name], ours[name]) for name in sorted(different)]
