"""Models in a process of their own: the same answers, and what ends that process is an error in this one."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import llama_ffi as lf
from llama_ffi.errors import (
    ArgumentTypeError,
    BusyError,
    CancelledError,
    ClosedError,
    ForkedError,
    InvalidArgumentError,
    ModelFileError,
    ModelLoadError,
    ModelNotFoundError,
    ModelProcessLostError,
    RpcConnectError,
    RpcWorkerLostError,
    UnsupportedError,
)

from .processes import PROMPT, Start, run

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def shared() -> Iterator[lf.IsolatedModel]:
    """One for the tests that leave it as it is."""
    with lf.IsolatedModel.load(lf.tiny_model_path()) as model:
        yield model


@pytest.fixture
def model() -> Iterator[lf.IsolatedModel]:
    with lf.IsolatedModel.load(lf.tiny_model_path()) as model:
        yield model


def gone(pid: int, seconds: float = 30) -> bool:
    """Wait until there is no process of that number, not even a dead one."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


# --- the same answers ---


def test_two_workers(worker: Start, greedy: Callable[..., str], by_cpu: str) -> None:
    one, two = worker(), worker()
    endpoints = [one.endpoint, two.endpoint]
    with lf.Model.load(lf.tiny_model_path(), rpc=endpoints, isolate=True) as model:
        assert isinstance(model, lf.IsolatedModel) and model.rpc == tuple(endpoints)
        assert greedy(model) == by_cpu
        # a worker serves one process at a time, and says so by saying nothing
        with pytest.raises(RpcConnectError, match="said nothing"):
            lf.rpc.worker(one.endpoint, timeout=0.2)
    assert lf.rpc.worker(one.endpoint).memory


def test_what_it_says(shared: lf.IsolatedModel, greedy: Callable[..., str], by_cpu: str) -> None:
    assert greedy(shared) == by_cpu
    with lf.Model.load(lf.tiny_model_path(), devices=[]) as here:
        for name in ("arch", "desc", "n_params", "size", "n_ctx_train", "n_embd", "n_layer"):
            assert getattr(shared, name) == getattr(here, name), name
        assert shared.n_tokens == here.vocab.n_tokens
        assert shared.metadata == dict(here.metadata)
        assert shared.chat_template() == here.chat_template()
        tokens = here.vocab.tokenize("Tom said “hi” 🙂")
        assert shared.tokenize("Tom said “hi” 🙂") == tokens
        assert shared.detokenize(np.array(tokens)) == here.vocab.detokenize(tokens)
        assert (shared.embed(["a dog", "the sun"]) == lf.embed(here, ["a dog", "the sun"])).all()
        ours, theirs = lf.score(here, PROMPT), shared.score(PROMPT)
        assert theirs.tokens == ours.tokens and (theirs.log_probs == ours.log_probs).all()
        text = by_cpu * 3
        assert shared.perplexity(text, n_ctx=64) == lf.perplexity(here, text, n_ctx=64)
        chat = [{"role": "user", "content": "hi"}]
        options = {"template": "chatml", "max_tokens": 8, "temp": 0}
        assert shared.chat(chat, **options).content == here.chat(chat, **options).content
    assert f"process {shared.pid}" in repr(shared)


def test_generations_side_by_side(shared: lf.IsolatedModel, greedy: Callable[..., str], by_cpu: str) -> None:
    """Also on threads; each gets what it would get alone."""
    options = {"max_tokens": 48, "temp": 0, "n_threads": 1}
    one, two = shared.generate(PROMPT, **options), shared.generate(PROMPT.encode(), **options)
    pieces = [[], []]
    for first, second in zip(one, two, strict=True):
        pieces[0].append(first)
        pieces[1].append(second)
    assert "".join(pieces[0]) == "".join(pieces[1]) == by_cpu
    assert one.finish_reason == "length" and one.usage.completion_tokens == len(one.tokens) == 48
    assert next(one, None) is None
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(greedy(shared))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [by_cpu] * 3


def test_a_stream(shared: lf.IsolatedModel) -> None:
    with shared.chat(
        [{"role": "user", "content": "hi"}], stream=True, template="chatml", max_tokens=5
    ) as stream:
        text = "".join(stream)
    assert stream.reply.content == text and stream.reply.finish_reason in ("length", "stop")


def test_errors_of_the_other_process(shared: lf.IsolatedModel) -> None:
    with pytest.raises(InvalidArgumentError, match="max_tokens is -5"):
        shared.generate("x", max_tokens=-5)
    with pytest.raises(TypeError, match="nonsense"):
        shared.generate("x", nonsense=1)
    with pytest.raises(ArgumentTypeError, match="sampler: a SamplerChain lives in its own process"):
        shared.generate("x", sampler=lf.SamplerChain())
    with pytest.raises(ArgumentTypeError, match="keys that aren't text"):
        shared.chat([{1: "user"}])  # type: ignore[dict-item]
    with pytest.raises(UnsupportedError, match="classifier"):
        shared.rerank("a", ["b"])
    assert shared.tokenize("still there")


def test_a_load_that_fails(tmp_path: os.PathLike[str]) -> None:
    with pytest.raises(ModelNotFoundError):
        lf.IsolatedModel.load("/no/such/model.gguf")
    bad = os.path.join(tmp_path, "bad.gguf")
    lf.gguf.edit(lf.tiny_model_path(), bad, set={"general.architecture": "no such thing"})
    with pytest.raises(ModelLoadError, match="unknown model architecture") as caught:
        lf.IsolatedModel.load(bad)
    assert caught.value.log
    with pytest.raises(ModelLoadError, match=r"wasn't done after 0\.001 seconds"):
        lf.IsolatedModel.load(lf.tiny_model_path(), timeout=0.001)
    with pytest.raises(InvalidArgumentError, match="timeout"):
        lf.IsolatedModel.load(lf.tiny_model_path(), timeout=-1)
    with pytest.raises(TypeError, match="nonsense"):
        lf.IsolatedModel.load(lf.tiny_model_path(), nonsense=1)


def test_progress() -> None:
    told: list[float] = []
    lf.IsolatedModel.load(lf.tiny_model_path(), progress=told.append).close()
    assert told[0] >= 0 and told[-1] == 1.0

    def stop(fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lf.IsolatedModel.load(lf.tiny_model_path(), progress=stop)


# --- ends ---


def test_a_worker_is_lost(worker: Start, greedy: Callable[..., str], by_cpu: str) -> None:
    one, two = worker(), worker()
    endpoints = [one.endpoint, two.endpoint]
    model = lf.IsolatedModel.load(lf.tiny_model_path(), rpc=endpoints)
    generation = model.generate(PROMPT, max_tokens=400, n_ctx=512, temp=0, n_threads=1)
    begin = [next(generation) for _ in range(4)]
    two.kill()
    with pytest.raises(RpcWorkerLostError, match=f"RPC worker {two.endpoint} is gone") as caught:
        begin.extend(generation)
    assert isinstance(caught.value, ConnectionError) and caught.value.code == -signal.SIGABRT
    assert any("Remote RPC server crashed" in line for line in caught.value.log)
    assert by_cpu.startswith("".join(begin)) or "".join(begin).startswith(by_cpu)
    with pytest.raises(RpcWorkerLostError, match="is gone"):  # and no other call waits
        model.tokenize("a")
    assert not model.alive and "its process is gone" in repr(model) and gone(model.pid)
    model.close()
    with pytest.raises(RpcConnectError, match=two.endpoint):
        lf.Model.load(lf.tiny_model_path(), rpc=endpoints, isolate=True)
    with lf.Model.load(lf.tiny_model_path(), rpc=one.endpoint, isolate=True) as again:
        assert greedy(again) == by_cpu


def test_a_worker_is_lost_between_two_calls(worker: Start) -> None:
    one = worker()
    with lf.IsolatedModel.load(lf.tiny_model_path(), rpc=one.endpoint) as model:
        one.kill()
        with pytest.raises(RpcWorkerLostError):
            "".join(model.generate(PROMPT, n_threads=1))


def test_the_process_dies_of_something_else(model: lf.IsolatedModel) -> None:
    os.kill(model.pid, signal.SIGKILL)
    with pytest.raises(ModelProcessLostError, match=r"died \(SIGKILL\)") as caught:
        model.tokenize("a")
    assert type(caught.value) is ModelProcessLostError and caught.value.code == -signal.SIGKILL
    assert gone(model.pid), "a zombie"


def test_the_process_dies_of_the_file() -> None:
    """As the check of files would let one through that it doesn't know."""
    code = """
import os, signal, threading, time
import llama_ffi as lf
from llama_ffi._core import model_process
start = model_process._start
def dying():
    process = start()
    os.kill(process.pid, signal.SIGSEGV)
    return process
model_process._start = dying
try:
    lf.IsolatedModel.load(lf.tiny_model_path())
except lf.errors.ModelFileError as error:
    assert "died (SIGSEGV)" in str(error), error
    print("alive")
"""
    done = run(code)
    assert done.stdout == "alive\n", done.stdout + done.stderr
    assert issubclass(ModelFileError, OSError)


def test_close_while_another_thread_waits(model: lf.IsolatedModel) -> None:
    os.kill(model.pid, signal.SIGSTOP)
    found: list[BaseException] = []

    def ask() -> None:
        try:
            model.tokenize("a")
        except lf.LlamaError as error:
            found.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.1)
    model.close()
    thread.join(30)
    assert [type(error) for error in found] == [ClosedError]


def test_close_and_after(model: lf.IsolatedModel) -> None:
    generation = model.generate(PROMPT)
    pid = model.pid
    assert model.alive
    model.close()
    model.close()
    assert model.closed and not model.alive and gone(pid) and "closed" not in repr(model)[:20]
    with pytest.raises(ClosedError):
        model.tokenize("a")
    with pytest.raises(ClosedError):
        next(generation)
    generation.cancel()
    generation.close()


def test_a_model_that_nobody_has_any_more() -> None:
    model = lf.IsolatedModel.load(lf.tiny_model_path())
    pid = model.pid
    del model
    gc.collect()
    assert gone(pid)


def test_generations_that_nobody_has_any_more(model: lf.IsolatedModel) -> None:
    """Their contexts are freed in the other process, or its memory would grow."""
    kept = []
    for _ in range(20):
        generation = model.generate(PROMPT, n_ctx=64, n_threads=1)
        next(generation)
        kept.append(generation)
        if len(kept) == 5:
            kept.clear()
    del generation
    gc.collect()
    assert len(model._process.dropped) <= 5
    model.tokenize("a")
    assert not model._process.dropped


def test_the_parent_is_killed() -> None:
    """Nothing of ours runs in it then; the child notices by its standard input."""
    code = "import llama_ffi as lf\nm = lf.IsolatedModel.load(lf.tiny_model_path())\n"
    code += "print(m.pid, flush=True)\ninput()"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None and parent.stdin is not None
    pid = int(parent.stdout.readline())
    os.kill(pid, 0)
    parent.kill()
    parent.wait()
    assert gone(pid)
    parent.stdout.close()
    parent.stdin.close()


def test_the_parent_ends_without_closing() -> None:
    code = "import llama_ffi as lf\nm = lf.IsolatedModel.load(lf.tiny_model_path())\nprint(m.pid)"
    done = run(code)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert gone(int(done.stdout))


# --- cancel, Ctrl-C, threads, fork ---


def test_cancel(shared: lf.IsolatedModel) -> None:
    generation = shared.generate(PROMPT, max_tokens=-1, n_threads=1)
    next(generation)
    generation.cancel()
    with pytest.raises(CancelledError):
        for _ in generation:
            pass
    assert shared.tokenize("still there")


def test_ctrl_c() -> None:
    """It ends the call, not the other process; the model can be used on."""
    code = f"""
import os, signal, threading, time
import llama_ffi as lf
signal.signal(signal.SIGINT, signal.default_int_handler)
model = lf.IsolatedModel.load(lf.tiny_model_path())
text = "".join(model.generate({PROMPT!r}, max_tokens=20, temp=0, n_threads=1))
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    while True:
        for piece in model.generate({PROMPT!r}, max_tokens=400, n_ctx=512, n_threads=1):
            pass
except KeyboardInterrupt:
    print("interrupted")
assert "".join(model.generate({PROMPT!r}, max_tokens=20, temp=0, n_threads=1)) == text
model.close()
"""
    done = run(code)
    assert done.stdout == "interrupted\n" and done.returncode == 0, done.stdout + done.stderr


def test_ctrl_c_while_the_other_process_hangs(model: lf.IsolatedModel) -> None:
    """As with a worker that is alive and doesn't answer: it is killed after a while, and says so."""
    os.kill(model.pid, signal.SIGSTOP)
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            model.tokenize("a")
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, old)
    with pytest.raises(ModelProcessLostError, match="didn't answer an interrupt"):
        model.tokenize("a")


def test_one_generation_on_two_threads(shared: lf.IsolatedModel) -> None:
    generation = shared.generate(PROMPT, n_threads=1)
    generation._inside.acquire()  # as another thread would hold it inside next()
    with pytest.raises(BusyError, match="next"):
        next(generation)
    with pytest.raises(BusyError, match="cancel"):
        generation.close()
    generation._inside.release()
    generation.close()
    assert next(generation, None) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_after_a_fork() -> None:
    code = """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import llama_ffi as lf
model = lf.IsolatedModel.load(lf.tiny_model_path())
child = os.fork()
if child == 0:
    try:
        model.tokenize("a")
    except lf.errors.ForkedError:
        model.close()
        os._exit(7)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print(len(model.tokenize("a")) > 0)
"""
    done = run(code)
    assert done.stdout == "True\n", done.stdout + done.stderr
    assert issubclass(ForkedError, RuntimeError)


def test_the_log_of_the_other_process() -> None:
    code = """
import logging, sys
import llama_ffi as lf
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(name)s %(levelname)s %(message)s")
lf.IsolatedModel.load(lf.tiny_model_path()).close()
"""
    done = run(code)
    assert "llama_ffi INFO" in done.stdout and "general.architecture" in done.stdout, done.stdout
