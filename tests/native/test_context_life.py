"""What is left of a closed context, and two threads on one."""

from __future__ import annotations

import threading

import pytest

import llama_ffi as lf
from llama_ffi.errors import (
    BusyError,
    ClosedError,
    InvalidBatchError,
)

pytestmark = pytest.mark.native

PROMPT = [1, 9038, 2501, 263, 931, 727, 471, 263, 2217, 2913]


def test_closed_objects(random_model_path: object) -> None:
    model = lf.Model.load(random_model_path)  # type: ignore[arg-type]
    ctx = model.context(n_ctx=256, n_threads=1)
    memory, batch = ctx.memory, lf.Batch.from_tokens(PROMPT)
    model.close()
    model.close()
    with pytest.raises(ClosedError, match="model is closed"):
        model.context()
    ctx.decode(batch)  # its own reference keeps the model's C object alive
    ctx.close()
    assert ctx.closed
    for call in (
        lambda: ctx.decode(batch),
        ctx.logits,
        memory.seq_pos_max,
        lambda: memory.seq_rm(0),
        memory.clear,
        lambda: memory.ptr,
        lambda: ctx.n_threads,
        lambda: ctx.ptr,
        lambda: ctx.set_embeddings(True),
        ctx.__enter__,
    ):
        with pytest.raises(ClosedError, match="context is closed"):
            call()
    assert "closed" in repr(ctx)
    assert "closed" in repr(memory)


def test_two_threads_on_one_context(ctx: lf.Context) -> None:
    batch, errors, stop = lf.Batch.from_tokens([7] * 64), [], threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                ctx.memory.clear()
                ctx.decode(lf.Batch.from_tokens([7] * 64))
            except BusyError as error:
                errors.append(error)
            except InvalidBatchError:
                pass  # the other one came in between

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    threading.Event().wait(1.0)
    stop.set()
    for thread in threads:
        thread.join()
    ctx.memory.clear()
    ctx.decode(batch)
    assert errors
    assert "another thread" in str(errors[0])
