"""What Ctrl-C and the exit leave behind: a thread that still reads, one that is joined late, references."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

import llama_ffi as lf

pytestmark = pytest.mark.model

INTERRUPTED = """
    import signal, threading, time
    import llama_ffi as lf

    def strike(*_):
        raise KeyboardInterrupt

    model = lf.Model.load(lf.tiny_model_path(), vocab_only=True)
    signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        model.vocab.tokenize("Once upon a time " * 400_000)
        print("it was too fast")
    except KeyboardInterrupt:
        pass
    worker = [each for each in threading.enumerate() if each.name == "llama_ffi-tokenize"]
    print(len(worker))
    model.close()
    del model
    # no join(): Python takes a thread whose join was interrupted for ended
    ends = time.monotonic() + 60
    while lf._core.handle.live() and time.monotonic() < ends:
        time.sleep(0.05)
    print("lived", lf._core.handle.live())
"""

JOINED = """
    import atexit, threading
    worker = None
    stop = threading.Event()
    atexit.register(lambda: (stop.set(), worker.join(20), print("joined", not worker.is_alive())))

    import llama_ffi as lf
    ctx = lf.Model.load(lf.tiny_model_path()).context(n_ctx=256)

    def decode():
        while not stop.is_set():
            ctx.memory.clear()
            ctx.decode(lf.Batch.from_tokens([1, 5, 6]))

    worker = threading.Thread(target=decode, daemon=True)
    worker.start()
"""


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no SIGALRM on this system")
def test_ctrl_c_during_a_long_tokenize_frees_nothing_under_c() -> None:
    done = run(INTERRUPTED, MALLOC_PERTURB_="165")  # freed memory is overwritten at once
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["1", "lived", "0"], "")


def test_an_exit_hook_may_join_a_daemon_thread() -> None:
    done = run(JOINED)
    assert (done.returncode, done.stdout, done.stderr) == (0, "joined True\n", "")


def test_a_lazy_grammar_that_is_triggered_again_and_again_keeps_nothing_more() -> None:
    with lf.Model.load(lf.tiny_model_path(), vocab_only=True) as model:
        trigger = model.vocab.tokenize("Once", add_special=False)[0]
        chain = lf.SamplerChain().add_grammar_lazy(model.vocab, 'root ::= " Once"', trigger_tokens=[trigger])
        chain.add_greedy()
        before = len(chain._handle.kept())
        for _ in range(5):
            chain.accept(trigger)
            chain.reset()
        assert len(chain._handle.kept()) == before
        chain.close()
