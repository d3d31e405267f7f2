"""The programs of the pages that take something for granted: a model's file, a name that is told in words.

`test_documents_run.py` runs the pages that need nothing. A page with Python blocks is in one of the two, has
a test of its own, or stands in ELSEWHERE with the reason.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples import test_documents_run

pytestmark = pytest.mark.model

ROOT = Path(__file__).resolve().parents[2]

PROMPT = """
import llama_ffi as lf
path, messages = lf.tiny_model_path(), [{"role": "user", "content": "What colour is grass?"}]
"""

FILES = """
import shutil
import numpy as np
import llama_ffi as lf
text = "Once upon a time there was a brave girl named Lily. " * 100
shutil.copy(lf.tiny_model_path(), "model-f16.gguf")
with lf.gguf.read(lf.tiny_model_path()) as file:
    shapes = {name: tensor.shape for name, tensor in file.tensors.items()}
lf.ImportanceMatrix(
    {
        name: lf.ImportanceEntry(np.ones(shape[-1], np.float32), np.ones(1, np.int64))
        for name, shape in shapes.items()
        if len(shape) == 2
    }
).save("model.imatrix")
"""

STORE = """
import llama_ffi as lf
model = lf.Model.load(lf.tiny_model_path())
session = model.session(n_ctx=256, seed=1)
session.feed("Once upon a time")
tokens = session.tokens + [5]
"""

METADATA = """
import numpy as np
from llama_ffi import testing
metadata = testing.random_metadata("llama")
fill = lambda name, shape, type: 0.01
"""

PROGRAMS = {
    "README.md": ("", slice(None), ()),
    "docs/chat.md": (PROMPT, slice(None), ()),
    "docs/quantization.md": (
        FILES,
        slice(None),
        ("model-f16.gguf", "model-iq2_m.gguf", "model-q4_k_m.gguf", "model-q4_k_s.gguf", "model.imatrix"),
    ),
    "docs/states.md": (STORE, slice(1, 2), ("states",)),
    "docs/testing.md": (METADATA, slice(None), ("moe.gguf",)),
}
"""Page → what a reader has by then, which blocks, the files that they leave."""

ELSEWHERE = {
    "docs/samplers.md": "tests/native/test_sampler_documents.py",
    "docs/wrappers.md": "tests/examples/test_wrappers.py",
    "docs/llama_cpp_python.md": "wants llama-cpp-python; tests/compat does what it says",
    "docs/rpc.md": "wants workers on two machines; tests of RPC start one",
}


def blocks(page: str) -> list[str]:
    return re.findall(r"```py(?:thon)?\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", PROGRAMS)
def test_the_blocks_run(page: str, tmp_path: Path) -> None:
    before, which, files = PROGRAMS[page]
    chosen = blocks(page)[which]
    assert chosen
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([before, *chosen])],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)


def test_every_page_with_programs_is_run_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")]
    with_programs = {page.relative_to(ROOT).as_posix() for page in pages if blocks(str(page))}
    marks = test_documents_run.test_the_blocks_run.pytestmark
    plain = {f"docs/{name}" for mark in marks if mark.name == "parametrize" for name in mark.args[1]}
    assert with_programs == {*PROGRAMS, *plain, *ELSEWHERE}
