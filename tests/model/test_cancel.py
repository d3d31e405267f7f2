"""Stopping a decode: cancel() from another thread, Ctrl-C; the memory is as before the call."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading

import pytest

import llama_ffi as lf
from llama_ffi.errors import BusyError, CancelledError, NoOutputsError

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model() -> lf.Model:
    return lf.Model.load(lf.tiny_model_path())


def test_cancel_before_a_decode_stops_that_decode_only(model: lf.Model) -> None:
    ctx = model.context(n_ctx=512)
    ctx.decode(lf.Batch.from_tokens([1, 2, 3]))
    ctx.cancel()
    with pytest.raises(CancelledError, match="cancelled") as caught:
        ctx.decode(lf.Batch.from_tokens([4, 5], pos0=3))
    assert caught.value.code == 2
    assert ctx.memory.seq_pos_max(0) == 2
    with pytest.raises(NoOutputsError):
        ctx.logits(-1)
    ctx.decode(lf.Batch.from_tokens([4, 5], pos0=3))
    assert ctx.memory.seq_pos_max(0) == 4


def test_cancel_from_another_thread_restores_the_memory(model: lf.Model) -> None:
    ctx = model.context(n_ctx=4096, n_batch=4096, n_ubatch=64)
    ctx.decode(lf.Batch.from_tokens([1, 2, 3]))
    prompt = lf.Batch.from_tokens([7] * 4000, pos0=3)
    running = threading.Event()
    undone: list[int] = []
    decode = ctx._decoder._decode

    def first_slice(*arguments: object) -> int:
        code: int = decode(*arguments)
        undone.append(code)
        running.set()
        return code

    ctx._decoder._decode = first_slice
    canceller = threading.Thread(target=lambda: (running.wait(60), ctx.cancel()))
    canceller.start()
    with pytest.raises(CancelledError, match="the memory is as before"):
        ctx.decode(prompt)
    canceller.join()
    assert len(undone) < 4000 // 64, "it ran to its end"
    assert ctx.memory.seq_pos_max(0) == 2
    ctx._decoder._decode = decode
    ctx.decode(lf.Batch.from_tokens([4], pos0=3))


def test_c_stops_at_the_next_node(model: lf.Model) -> None:
    """Without slices: the flag is set while C computes, and C itself notices it."""
    ctx = model.context(n_ctx=4096, n_batch=4096, n_ubatch=4096)
    flag, decode = ctx._decoder._cancel, ctx._decoder._decode

    def set_inside(*arguments: object) -> int:
        flag[0] = 1
        code: int = decode(*arguments)
        return code

    ctx._decoder._decode = set_inside
    with pytest.raises(CancelledError) as caught:
        ctx.decode(lf.Batch.from_tokens([7] * 4000))
    assert caught.value.code == 2
    assert ctx.memory.seq_pos_max(0) == -1


INTERRUPTED = """
    import os, signal, threading
    import llama_ffi as lf

    model = lf.Model.load(lf.tiny_model_path())
    ctx = model.context(n_ctx=4096, n_batch=4096, n_ubatch=64)
    ctx.decode(lf.Batch.from_tokens([1, 2, 3]))
    calls, decode = [], ctx._decoder._decode

    def counted(*arguments):
        if len(calls) == 2:
            threading.Timer(0, os.kill, (os.getpid(), signal.SIGINT)).start()
        calls.append(decode(*arguments))
        return calls[-1]

    ctx._decoder._decode = counted
    try:
        ctx.decode(lf.Batch.from_tokens([7] * 4000, pos0=3))
        print("ran to its end")
    except KeyboardInterrupt:
        print(len(calls) < 4000 // 64, ctx.memory.seq_pos_max(0))
    ctx._decoder._decode = decode
    ctx.decode(lf.Batch.from_tokens([4], pos0=3))
    print(ctx.memory.seq_pos_max(0))
"""


def test_ctrl_c_during_a_long_prompt() -> None:
    code = textwrap.dedent(INTERRUPTED)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["True", "2", "3"], "")


def test_slices_give_the_same_logits(model: lf.Model) -> None:
    tokens = [1, *range(300, 500)]
    whole, sliced = model.context(n_ctx=512, n_ubatch=512), model.context(n_ctx=512, n_ubatch=32)
    for ctx in (whole, sliced):
        ctx.decode(lf.Batch.from_tokens(tokens))
    expected = whole.logits(-1)
    assert ((sliced.logits(-1) - expected) ** 2).mean() <= 1e-5 * (expected**2).mean()
    assert (sliced.logits(len(tokens) - 1) == sliced.logits(-1)).all(), "the index counts the whole batch"
    with pytest.raises(NoOutputsError):
        sliced.logits(0)


def test_cancel_a_generation_from_another_thread(model: lf.Model) -> None:
    generation = lf.generate([7] * 400, model=model, max_tokens=100_000, n_ctx=512, seed=1)
    pieces: list[str] = []
    outcome: list[BaseException] = []
    started = threading.Event()

    def read() -> None:
        try:
            for piece in generation:
                pieces.append(piece)
                started.set()
                proceed.wait(60)
        except CancelledError as error:
            outcome.append(error)

    proceed = threading.Event()
    reader = threading.Thread(target=read)
    reader.start()
    assert started.wait(60)
    generation.cancel()
    proceed.set()
    reader.join(60)
    assert len(outcome) == 1
    assert len(pieces) == 1, "it went on after cancel()"
    generation.close()


def test_close_while_another_thread_reads_is_refused(model: lf.Model) -> None:
    generation = lf.generate("Once", model=model, max_tokens=4, seed=1)
    context = generation._context
    inside, finish = threading.Event(), threading.Event()
    decode = context._decoder._decode

    def slow(*arguments: object) -> int:
        inside.set()
        finish.wait(60)
        code: int = decode(*arguments)
        return code

    context._decoder._decode = slow
    reader = threading.Thread(target=lambda: next(generation))
    reader.start()
    assert inside.wait(60)
    with pytest.raises(BusyError, match="cancel"):
        generation.close()
    finish.set()
    reader.join(60)
    generation.close()
    assert context.closed
