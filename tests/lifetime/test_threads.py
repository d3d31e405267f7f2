"""Threads on the real library: one at a time where C needs it, any number where it doesn't."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import llama_ffi as lf
from llama_ffi.errors import BusyError, ClosedError

pytestmark = pytest.mark.model

LONG = 400  # tokens: some tenths of a second on a slow machine


@pytest.fixture
def model(tiny_model: Path) -> Iterator[lf.Model]:
    with lf.Model.load(tiny_model) as loaded:
        yield loaded


def start(function: Callable[..., object], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    return thread


def decoding(context: lf.Context) -> threading.Thread:
    """Start a long decode in another thread and return when it is under way."""
    thread = start(context.decode, lf.Batch.from_tokens([5] * LONG))
    while not context._handle.busy:
        assert thread.is_alive(), "the decode was over before it was seen"
    return thread


def long_context(model: lf.Model) -> lf.Context:
    return model.context(n_ctx=512, n_batch=512, n_ubatch=512, n_threads=1)


def test_a_second_thread_is_refused(model: lf.Model) -> None:
    context, chain = long_context(model), lf.SamplerChain().add_greedy()
    thread = decoding(context)
    for call in (
        lambda: context.decode(lf.Batch.from_tokens([5])),
        lambda: context.logits(-1),
        context.memory.clear,
        lambda: chain.sample(context),
    ):
        with pytest.raises(BusyError, match="another thread is inside a call on this context"):
            call()
    thread.join()
    assert chain.sample(context) >= 0


def test_close_waits_for_the_running_call(model: lf.Model) -> None:
    context = long_context(model)
    thread = decoding(context)
    context.close()
    assert not context._handle.busy, "closed during the call"
    thread.join()
    with pytest.raises(ClosedError):
        context.decode(lf.Batch.from_tokens([5]))


def test_closing_the_model_under_a_decode(tiny_model: Path) -> None:
    model = lf.Model.load(tiny_model)
    context = long_context(model)
    thread = decoding(context)
    model.close()
    thread.join()
    assert context.logits(-1).shape == (model.vocab.n_tokens,), "the context keeps its model's C object"


def test_dropping_everything_under_a_decode(tiny_model: Path) -> None:
    thread = decoding(long_context(lf.Model.load(tiny_model)))
    thread.join()


def test_many_threads_on_one_model(model: lf.Model) -> None:
    """They tokenize, look things up and decode on contexts of their own; all get the same token."""
    begin, tokens, problems = threading.Barrier(8), [], []

    def work(number: int) -> None:
        try:
            begin.wait()
            for _ in range(5):
                prompt = model.vocab.tokenize("Once upon a time")
                assert model.vocab.detokenize(prompt).strip().endswith("time")
                with model.context(n_ctx=256, n_batch=32, n_threads=1) as context:
                    context.decode(lf.Batch.from_tokens(prompt))
                    with lf.SamplerChain().add_greedy() as chain:
                        tokens.append(chain.sample(context))
        except BaseException as error:
            problems.append((number, error))

    threads = [start(work, number) for number in range(8)]
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(tokens) == 40 and len(set(tokens)) == 1


def test_two_threads_fight_for_a_context(model: lf.Model) -> None:
    """Whoever comes second gets BusyError, whatever the moment; nothing else happens."""
    context = model.context(n_ctx=256, n_batch=32, n_threads=1)
    done, refused, problems = [], [], []

    def work() -> None:
        for _ in range(50):
            try:
                context.memory.clear()
                context.decode(lf.Batch.from_tokens([5, 6]))
                done.append(1)
            except BusyError:
                refused.append(1)
            except lf.errors.InvalidBatchError:
                done.append(1)  # the other thread has decoded between the two calls
            except BaseException as error:
                problems.append(error)

    threads = [start(work) for _ in range(3)]
    for thread in threads:
        thread.join()
    assert problems == []
    assert done and len(done) + len(refused) == 150
