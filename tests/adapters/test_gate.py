"""Loading and freeing adapters while other threads look at them: refused or put off, never at once."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import llama_ffi as lf
from llama_ffi._core import callbacks, handle
from llama_ffi._core.gate import Gate
from llama_ffi.errors import BusyError
from tests.adapters.lora_files import logits

pytestmark = pytest.mark.model


@contextmanager
def elsewhere(block: object) -> Iterator[None]:
    """Hold the context manager ``block`` in another thread."""
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with block:  # type: ignore[attr-defined]
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(30)
    try:
        yield
    finally:
        leave.set()
        thread.join()


def test_readers_share_writers_do_not() -> None:
    gate = Gate()
    with elsewhere(gate.reading("a")), gate.reading("b"):
        pass
    with elsewhere(gate.reading("a")), pytest.raises(BusyError, match=r"^b: another"), gate.writing("b"):
        pass
    for second in (gate.reading("b"), gate.writing("b")):
        with elsewhere(gate.writing("a")), pytest.raises(BusyError, match=r"^b: another"), second:
            pass
    with gate.writing("a"):
        pass
    with gate.writing("a"), gate.reading("b"):
        pass  # one thread looks at what it is changing itself


def test_a_callback_inside_of_a_reading_ends_nothing() -> None:
    gate = Gate()
    with gate.reading("a"):
        depth = callbacks.enter()
        with gate.reading("b"):
            assert not gate.open()
        callbacks.leave(depth)
        assert gate._readers, "the outer call goes on"
    assert not gate._readers


def test_what_ctrl_c_left_behind_is_taken_over() -> None:
    gate = Gate()
    gate.reading("a").__enter__()  # Ctrl-C struck: nobody will leave
    with gate.reading("b"):
        pass
    assert not gate._readers
    gate.writing("a").__enter__()
    assert not gate.open(), "a finalizer can't know: it waits"
    with gate.writing("b"):
        pass
    assert gate.open()


def test_contexts_and_loads_exclude_each_other(model: lf.Model, ctx: lf.Context, lora_path: Path) -> None:
    lora = model.load_lora(lora_path)
    with elsewhere(model._gate.reading("x")):
        with pytest.raises(BusyError, match=r"load_lora\(\): another thread is making a context"):
            model.load_lora(lora_path)
        model.context(n_ctx=256, n_threads=1).close()
    with elsewhere(model._gate.writing("x")):
        with pytest.raises(BusyError, match="making a context: another thread is loading"):
            model.context(n_ctx=256, n_threads=1)
        logits(ctx)  # plans nothing anew
        ctx.set_loras([(lora, 1.0)])
        with pytest.raises(BusyError, match=r"decode\(\): another thread is loading"):
            logits(ctx)
    logits(ctx)
    with elsewhere(model._gate.writing("x")):
        logits(ctx)


def test_freeing_waits_for_the_readers(model: lf.Model, lora_path: Path) -> None:
    gc.collect()
    before = handle.live()
    lora = model.load_lora(lora_path)
    with elsewhere(model._gate.reading("x")):
        lora.close()
        gc.collect()
        assert handle.live() == before + 1, "freed under a reader"
        handle.drain()
        assert handle.live() == before + 1
    handle.drain()
    assert handle.live() == before


RACE = """
    import random, sys, threading, time
    import llama_ffi as lf
    from llama_ffi.errors import BusyError

    base, path, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    model = lf.Model.load(base, n_gpu_layers=0)
    ends, counts, problems = time.monotonic() + seconds, {"done": 0, "busy": 0}, []

    def attempt(function):
        while time.monotonic() < ends:
            try:
                function()
                counts["done"] += 1
            except BusyError:
                counts["busy"] += 1
            except BaseException as error:
                problems.append(repr(error))
                return

    def load():
        loras = [model.load_lora(path) for _ in range(3)]
        random.shuffle(loras)
        loras.pop().close()

    def contexts():
        with model.context(n_ctx=256, n_threads=1) as ctx:
            ctx.decode(lf.Batch.from_tokens([5, 6, 7]))

    ctx, own = model.context(n_ctx=256, n_threads=1), model.load_lora(path)

    def swap():
        ctx.set_loras([(own, random.random())] if random.random() < 0.8 else [])
        ctx.memory.clear()
        ctx.decode(lf.Batch.from_tokens([5, 6, 7]))

    threads = [threading.Thread(target=attempt, args=[f]) for f in (load, load, contexts, swap)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert not problems, problems
    assert counts["done"] > 10 and counts["busy"] > 0, counts
    print("fine")
"""


def test_threads_load_free_swap_and_make_contexts(base_path: Path, lora_path: Path) -> None:
    """In a child, because a mistake would be the end of the process."""
    import os
    import subprocess
    import sys
    import textwrap

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RACE), str(base_path), str(lora_path), "3"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "GGML_NO_BACKTRACE": "1", "MALLOC_PERTURB_": "165"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")
