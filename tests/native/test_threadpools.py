"""Thread pools: same results, shared between contexts, closed in any order."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi._core import handle
from llama_ffi.errors import ArgumentTypeError, BusyError, ClosedError, InvalidArgumentError

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> lf.Model:
    return lf.Model.load(tiny_model)


def context(model: lf.Model) -> lf.Context:
    return model.context(n_ctx=256, n_batch=64, n_threads=1)


def row(ctx: lf.Context) -> np.ndarray:
    """Decode a prompt and one token, so that both kinds of pool are used."""
    ctx.memory.clear()
    ctx.decode(lf.Batch.from_tokens([1, 20, 300, 40]))
    ctx.decode(lf.Batch.from_tokens([50], pos0=4))
    return ctx.logits(-1)


@pytest.fixture(scope="module")
def expected(model: lf.Model) -> np.ndarray:
    with context(model) as ctx:
        return row(ctx)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"poll": 0},
        {"poll": 100, "strict": True},
        {"priority": "low"},
        {"cpus": [min(os.sched_getaffinity(0))], "strict": True},
    ],
)
def test_same_results_with_a_pool(
    model: lf.Model, expected: np.ndarray, parameters: dict[str, object]
) -> None:
    def compute() -> None:  # in a thread of its own, which keeps the pool's processors and priority
        with lf.ThreadPool(2, **parameters) as pool, context(model) as ctx:  # type: ignore[arg-type]
            ctx.attach_threadpool(pool)
            assert (ctx.n_threads, ctx.n_threads_batch) == (2, 2)
            rows.append(row(ctx))
            pool.pause()
            pool.pause()
            rows.append(row(ctx))  # wakes it
            pool.resume()
            ctx.detach_threadpool()
            rows.append(row(ctx))

    rows: list[np.ndarray] = []
    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    assert len(rows) == 3
    for each in rows:
        np.testing.assert_allclose(each, expected, rtol=1e-4, atol=1e-4)


def test_two_pools(model: lf.Model, expected: np.ndarray) -> None:
    with lf.ThreadPool(1) as one, lf.ThreadPool(2, poll=0) as several, context(model) as ctx:
        ctx.attach_threadpool(one, several)
        assert (ctx.n_threads, ctx.n_threads_batch) == (1, 2)
        np.testing.assert_allclose(row(ctx), expected, rtol=1e-4, atol=1e-4)
        ctx.attach_threadpool(several, one)
        np.testing.assert_allclose(row(ctx), expected, rtol=1e-4, atol=1e-4)


def test_the_pool_limits_the_threads(model: lf.Model) -> None:
    with lf.ThreadPool(2, poll=0) as pool, context(model) as ctx:
        ctx.attach_threadpool(pool)
        ctx.set_n_threads(1)
        with pytest.raises(InvalidArgumentError, match="more than the attached pools"):
            ctx.set_n_threads(3)
        with pytest.raises(InvalidArgumentError, match="more than the attached pools"):
            ctx.set_n_threads(1, 3)
        ctx.detach_threadpool()
        ctx.set_n_threads(3)


def test_a_closed_pool_lives_as_long_as_it_is_needed(model: lf.Model, expected: np.ndarray) -> None:
    gc.collect()
    before = handle.live()
    ctx = context(model)
    pool = lf.ThreadPool(2, poll=0)
    ctx.attach_threadpool(pool)
    np.testing.assert_allclose(row(ctx), expected, rtol=1e-4, atol=1e-4)
    pool.close()
    pool.close()
    assert pool.closed
    with pytest.raises(ClosedError):
        pool.pause()
    with pytest.raises(ClosedError):
        ctx.attach_threadpool(pool)
    np.testing.assert_allclose(row(ctx), expected, rtol=1e-4, atol=1e-4)
    ctx.detach_threadpool()  # C still has its address, and reads it at the next decode
    gc.collect()
    np.testing.assert_allclose(row(ctx), expected, rtol=1e-4, atol=1e-4)
    assert handle.live() == before + 2
    ctx.close()
    assert handle.live() == before


def test_a_forgotten_pool_goes_with_its_contexts(model: lf.Model) -> None:
    gc.collect()
    before = handle.live()
    first, second = context(model), context(model)
    first.attach_threadpool(lf.ThreadPool(2, poll=0))
    second.attach_threadpool(lf.ThreadPool(1), lf.ThreadPool(2, poll=0))
    row(first), row(second)
    assert handle.live() == before + 5
    first.close()
    second.close()
    gc.collect()
    assert handle.live() == before


def test_attaching_again_and_again_keeps_each_pool_once(model: lf.Model) -> None:
    with lf.ThreadPool(1) as pool, context(model) as ctx:
        for _ in range(5):
            ctx.attach_threadpool(pool)
        assert sum(kept is pool.ptr for kept in ctx._handle.kept()) == 1


def test_contexts_that_share_a_pool_take_turns(model: lf.Model, expected: np.ndarray) -> None:
    """In C the second context would replace the graph that the first one's threads are computing."""
    pool = lf.ThreadPool(2, poll=0)
    contexts = [context(model) for _ in range(2)]
    for ctx in contexts:
        ctx.attach_threadpool(pool)
        np.testing.assert_allclose(row(ctx), expected, rtol=1e-4, atol=1e-4)  # one after the other
    started = threading.Barrier(2)
    errors: list[BaseException] = []

    def compute(ctx: lf.Context) -> None:
        started.wait()
        done = 0
        while done < 4:
            try:
                got = row(ctx)
            except BusyError:
                continue
            except BaseException as error:
                errors.append(error)
                return
            done += 1
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)

    threads = [threading.Thread(target=compute, args=(ctx,)) for ctx in contexts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_a_pool_in_use_is_busy(model: lf.Model) -> None:
    """While a context computes, neither another one nor pause() may touch the pool."""
    pool = lf.ThreadPool(2, poll=0)
    with context(model) as first, context(model) as second:
        first.attach_threadpool(pool)
        second.attach_threadpool(pool)
        refused: list[BaseException] = []

        def others() -> None:
            for use in (pool.pause, pool.resume, lambda: row(second), second.detach_threadpool):
                try:
                    use()
                except BusyError as error:
                    refused.append(error)

        with first._handle:  # as during a decode
            thread = threading.Thread(target=others)
            thread.start()
            thread.join()
        assert len(refused) == 4 and all("thread pool" in str(error) for error in refused)
        row(second)
        pool.pause()
        row(first)


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"n_threads": 0}, InvalidArgumentError),
        ({"n_threads": 513}, InvalidArgumentError),
        ({"n_threads": "2"}, ArgumentTypeError),
        ({"n_threads": True}, ArgumentTypeError),
        ({"n_threads": 1, "poll": 101}, InvalidArgumentError),
        ({"n_threads": 1, "poll": -1}, InvalidArgumentError),
        ({"n_threads": 1, "priority": "urgent"}, InvalidArgumentError),
        ({"n_threads": 1, "cpus": [512]}, InvalidArgumentError),
        ({"n_threads": 1, "cpus": [-1]}, InvalidArgumentError),
        ({"n_threads": 1, "cpus": "0"}, ArgumentTypeError),
        ({"n_threads": 1, "cpus": 3}, ArgumentTypeError),
        ({"n_threads": 1, "cpus": [0.5]}, ArgumentTypeError),
    ],
)
def test_pools_that_cannot_be(parameters: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        lf.ThreadPool(**parameters)  # type: ignore[arg-type]


def test_processors_of_others() -> None:
    allowed = os.sched_getaffinity(0)
    foreign = next(number for number in range(512) if number not in allowed)
    with pytest.raises(InvalidArgumentError, match=f"cpus names {foreign}; this process may use"):
        lf.ThreadPool(1, cpus=[foreign])


def test_only_pools_can_be_attached(model: lf.Model) -> None:
    with context(model) as ctx, lf.ThreadPool(1) as pool:
        with pytest.raises(ArgumentTypeError, match="pool must be a ThreadPool"):
            ctx.attach_threadpool(2)  # type: ignore[arg-type]
        with pytest.raises(ArgumentTypeError, match="batch_pool must be a ThreadPool"):
            ctx.attach_threadpool(pool, "x")  # type: ignore[arg-type]
        ctx.detach_threadpool()
    with pytest.raises(ClosedError):
        ctx.attach_threadpool(lf.ThreadPool(1))
    with pytest.raises(ClosedError):
        ctx.detach_threadpool()


def test_the_one_who_makes_a_pool_is_not_moved() -> None:
    before = os.sched_getaffinity(0)
    with lf.ThreadPool(2, cpus=[min(before)], strict=True):
        assert os.sched_getaffinity(0) == before
