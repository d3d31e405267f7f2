"""Models on RPC workers: two share one, and what happens when they aren't there or go away."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import llama_ffi as lf
from llama_ffi.errors import (
    ArgumentTypeError,
    BackendError,
    InvalidArgumentError,
    RpcConnectError,
)

from .processes import RpcWorker, Start, run

pytestmark = pytest.mark.model


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Somebody who listens and is no worker."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def endpoint_of(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


def test_two_workers_share_a_model(worker: Start, greedy: Callable[..., str], by_cpu: str) -> None:
    one, two = worker(), worker()
    with lf.Model.load(lf.tiny_model_path(), rpc=[one.endpoint, two.endpoint]) as model:
        with model.context(n_ctx=128) as context:
            used = {use.device: use.model for use in context.memory_breakdown().entries}
        remote = [weights for device, weights in used.items() if device and device.startswith("RPC")]
        assert len(remote) == 2 and all(weights > 0 for weights in remote), used
        assert greedy(model) == by_cpu
        # both are busy with this process, which may use them for another model all the same
        with lf.Model.load(lf.tiny_model_path(), rpc=one.endpoint) as second:
            assert greedy(second) == by_cpu
    # and are free again, also for others
    said = lf.rpc.worker(one.endpoint)
    assert said.endpoint == one.endpoint and said.version[0] == lf.raw.lib.RPC_PROTO_MAJOR_VERSION
    assert len(said.memory) == 1 and said.memory[0].total > 0


def test_two_threads_meet_a_worker_at_once(worker: Start, greedy: Callable[..., str], by_cpu: str) -> None:
    """The first one's load keeps the worker busy: the second knows that, and waits for no answer."""
    one = worker()
    loading, second = threading.Event(), threading.Event()
    found: list[str] = []

    def hold(fraction: float) -> None:
        loading.set()
        second.wait(60)

    def first() -> None:
        with lf.Model.load(lf.tiny_model_path(), rpc=one.endpoint, progress=hold) as model:
            found.append(greedy(model))

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert loading.wait(60)
        with lf.Model.load(lf.tiny_model_path(), rpc=one.endpoint) as model:
            second.set()
            thread.join()
            assert [*found, greedy(model)] == [by_cpu, by_cpu]
    finally:
        second.set()
        thread.join()


def test_a_load_that_failed_is_no_user_of_its_worker(worker: Start) -> None:
    one = worker()

    def stop(fraction: float) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as kept:  # and with it the frames of the load
        lf.Model.load(lf.tiny_model_path(), rpc=one.endpoint, progress=stop)
    one.process.kill()
    one.process.wait()
    with pytest.raises(RpcConnectError, match="can't connect"):
        lf.Model.load(lf.tiny_model_path(), rpc=one.endpoint)
    del kept


def test_a_worker_that_was_started_again(worker: Start, greedy: Callable[..., str], by_cpu: str) -> None:
    one = worker()
    with lf.Model.load(lf.tiny_model_path(), rpc=one.endpoint) as model:
        assert greedy(model) == by_cpu
    one.kill()
    port = one.endpoint.rpartition(":")[2]
    with pytest.raises(RpcConnectError, match=f"rpc-worker --port {port}"):
        lf.Model.load(lf.tiny_model_path(), rpc=one.endpoint)
    worker("--port", port)
    with lf.Model.load(lf.tiny_model_path(), rpc=one.endpoint) as model:
        assert greedy(model) == by_cpu


def test_the_loss_of_a_worker_ends_a_process_that_is_not_isolated(worker: Start) -> None:
    """What docs/limits.md says: if llama.cpp learns to survive it, the text is wrong."""
    one = worker()
    code = f"""
import os, signal
import llama_ffi as lf
model = lf.Model.load(lf.tiny_model_path(), rpc={one.endpoint!r})
pieces = lf.generate("Once upon a time", model=model, max_tokens=200, n_threads=1)
next(pieces)
os.kill({one.process.pid}, signal.SIGKILL)
for piece in pieces:
    pass
print("survived")
"""
    done = run(code)
    assert done.returncode == -signal.SIGABRT, done.stdout + done.stderr
    assert "Remote RPC server crashed" in done.stderr


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = endpoint_of(server)
    with pytest.raises(RpcConnectError, match=r"can't connect .*`llama-ffi rpc-worker --port") as caught:
        lf.Model.load(lf.tiny_model_path(), rpc=[free])
    assert isinstance(caught.value, ConnectionError) and isinstance(caught.value, BackendError)
    with pytest.raises(RpcConnectError, match=r"host 'no-such-host\.invalid' can't be found"):
        lf.rpc.worker("no-such-host.invalid:50052")


def test_somebody_who_says_nothing(listener: socket.socket) -> None:
    """Also what a busy worker looks like: the wait has an end."""
    begin = time.monotonic()
    with pytest.raises(RpcConnectError, match=r"said nothing for 0\.3 seconds.*one process at a time"):
        lf.rpc.worker(endpoint_of(listener), timeout=0.3)
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"", "closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "doesn't speak"),
        ((28).to_bytes(8, "little") + bytes([3, 1, 0, 0]) + bytes(24), "speaks version 3.1"),
        ((28).to_bytes(8, "little") + bytes([7, 0]), "closed the connection"),
        ((2**63).to_bytes(8, "little"), "doesn't speak"),
    ],
    ids=["nothing", "http", "another version", "cut off", "huge"],
)
def test_somebody_else(listener: socket.socket, answer: bytes, what: str) -> None:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(33)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(RpcConnectError, match=what):
        lf.rpc.worker(endpoint_of(listener))
    thread.join()


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "127.0.0.1",
        ":50052",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "h:1x",
        "[::1]:50052",
        "a b:1",
    ],
)
def test_what_is_no_endpoint(endpoint: str) -> None:
    """llama.cpp aborts on some of these, and takes others for something else."""
    with pytest.raises(InvalidArgumentError, match=r"rpc\[0\]"):
        lf.Model.load(lf.tiny_model_path(), rpc=[endpoint])
    with pytest.raises(InvalidArgumentError, match="endpoint"):
        lf.rpc.worker(endpoint)


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="twice"):
        lf.Model.load(lf.tiny_model_path(), rpc=["127.0.0.1:9", "127.0.0.1:9"])
    with pytest.raises(InvalidArgumentError, match="no worker"):
        lf.Model.load(lf.tiny_model_path(), rpc=[])
    with pytest.raises(ArgumentTypeError, match="rpc"):
        lf.Model.load(lf.tiny_model_path(), rpc=50052)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="port"):
        lf.rpc.serve(port=-1)
    with pytest.raises(InvalidArgumentError, match="IPv4"):
        lf.rpc.serve("no-such-host.invalid")
    with pytest.raises(InvalidArgumentError, match="devices"):
        lf.rpc.serve(devices=[])
    with pytest.raises(BackendError, match="no device"):
        lf.rpc.serve(devices="nope")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        lf.rpc.serve(cache=tmp_path / "file" / "folder")


def test_the_worker_command(worker: Start, tmp_path: Path) -> None:
    one = worker("--cache", str(tmp_path / "cache"))
    assert one.ready == f"RPC worker ready on {one.endpoint}\n"
    assert (tmp_path / "cache").is_dir()
    second = RpcWorker(tmp_path / "second.log", "--port", one.endpoint.rpartition(":")[2])
    assert second.process.wait(60) == 1 and second.endpoint == ""
    second.close()
    assert "can't listen on 127.0.0.1" in second.log.read_text()
    one.process.send_signal(signal.SIGINT)
    assert one.process.wait(60) == 130
    said = one.log.read_text()
    assert "WARNING" not in said and "Traceback" not in said, said


def test_ctrl_c_while_a_model_uses_it(worker: Start) -> None:
    one = worker()
    model = lf.IsolatedModel.load(lf.tiny_model_path(), rpc=one.endpoint)
    next(model.generate("Once", n_threads=1))
    one.process.send_signal(signal.SIGINT)
    assert one.process.wait(60) == 130
    model.close()


def test_a_worker_for_everybody_warns(worker: Start) -> None:
    one = worker("--host", "0.0.0.0")
    assert one.endpoint.startswith("0.0.0.0:")
    assert "no authentication" in one.log.read_text()
    port = one.endpoint.rpartition(":")[2]
    assert lf.rpc.worker(f"127.0.0.1:{port}").memory


def test_what_a_worker_does_not_print(worker: Start) -> None:
    """The standard output holds the one line that scripts wait for; C's own lines are elsewhere."""
    one = worker()
    lf.rpc.worker(one.endpoint)
    one.process.send_signal(signal.SIGINT)
    assert one.process.stdout is not None
    assert one.process.stdout.read() == ""
    assert "Accepted client connection" in one.log.read_text()
    assert os.path.exists(one.log)
