"""The end of the interpreter: what is idle is freed, in the right order; what is in use is left alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakelib.conftest import environment

OPEN = """
import llama_ffi as lf
model = lf.Model.load(PATH)
context, other = model.context(), model.context()
chain = lf.SamplerChain().add_grammar(model.vocab, 'root ::= "a"').add_dist(1)
sampler = lf.Sampler.infill(model.vocab)
"""
CYCLE = (
    OPEN
    + """
class Node: pass
node = Node()
node.me, node.things = node, [model, context, other, chain, sampler]
del model, context, other, chain, sampler
"""
)
GENERATING = """
import llama_ffi as lf
pieces = lf.generate("abc", model=PATH, max_tokens=9)
next(pieces)
"""
DECODING = (
    OPEN
    + """
import threading
from tests.fakelib.fake import Fake
fake = Fake(FOLDER)
fake.delay(30)
threading.Thread(target=context.decode, args=(lf.Batch.from_tokens([5]),), daemon=True).start()
assert fake.wait_for_a_call()
"""
)


def last_word(script: str, library: Path, model: Path, report: Path) -> str:
    """Run ``script`` to its end and return what the ledger says when the process is gone."""
    source = (
        f"from pathlib import Path\nPATH, FOLDER = Path({str(model)!r}), Path({str(library)!r})\n{script}"
    )
    env = environment(library, FAKE_LLAMA_REPORT=str(report))
    done = subprocess.run([sys.executable, "-c", source], env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return report.read_text(encoding="utf-8")


@pytest.mark.parametrize("script", [OPEN, CYCLE], ids=["open objects", "a cycle"])
def test_what_is_idle_is_freed(script: str, fake_library: Path, fake_model: Path, tmp_path: Path) -> None:
    words = last_word(script, fake_library, fake_model, tmp_path / "report")
    assert words.startswith("mistakes 0 live")
    assert "context 0" in words and "chain 0" in words


def test_what_a_suspended_generator_uses_is_left(
    fake_library: Path, fake_model: Path, tmp_path: Path
) -> None:
    """Its frame holds the pointers, and it may be closed after everything else: whatever is left is left."""
    assert last_word(GENERATING, fake_library, fake_model, tmp_path / "report").startswith("mistakes 0 live")


def test_what_a_daemon_thread_uses_is_left(fake_library: Path, fake_model: Path, tmp_path: Path) -> None:
    words = last_word(DECODING, fake_library, fake_model, tmp_path / "report")
    assert words.startswith("mistakes 0 live model 1 context 1 ")
