"""Workers: other processes, on this machine or others, whose devices a model uses as if they were here.

:func:`serve` (the command ``llama-ffi rpc-worker``) is the one end; ``Model.load(rpc=["host:port"])`` the
other. The protocol has no authentication and no encryption: whoever reaches the port can make the worker
compute, read what it holds, and most likely crash it. Keep it on the loopback or a network of your own.

llama.cpp ends the process of the model when a worker goes away, on a thread of its own that nothing here can
stop. ``isolate=True`` gives the model a process of its own, so that it is that one: see
:class:`~llama_ffi.IsolatedModel`.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from . import backends
from ._core import binding, check, rpc_wire
from ._core import text as text_
from .backends import Backend, Device
from .errors import BackendError, InvalidArgumentError, MissingFunctionError, RpcConnectError

__all__ = ["SECONDS", "Worker", "endpoints", "remote_devices", "serve", "worker"]

SECONDS = 5.0
"""How long a worker may take to answer."""

_uses: dict[str, weakref.WeakSet[Use]] = {}
"""The models of this process that use a worker, by its endpoint: all through one connection."""
_meeting = threading.Lock()
"""One thread at a time meets workers: a worker that is being met answers nobody else."""

_BEGINS = 10.0
_ENDS = 2.0
_TRIES = 5


@dataclass(frozen=True)
class Worker:
    """What an RPC worker says of itself."""

    endpoint: str
    """host:port"""
    version: tuple[int, int, int]
    """the protocol's"""
    memory: tuple[backends.DeviceMemory, ...]
    """of each of its devices"""


def worker(endpoint: str, *, timeout: float = SECONDS) -> Worker:
    """Ask a worker whether it is there, which protocol it speaks, and what memory its devices have.

    Arguments:
        endpoint: "host:port".
        timeout: seconds for all of it.

    Returns:
        what it said, a copy.

    Raises:
        RpcConnectError: nobody answers there, something else does, the worker is busy (it serves one process
            at a time), or it speaks another version of the protocol.
        InvalidArgumentError: no endpoint.

    Threads: any.
    """
    rpc_wire.endpoint("endpoint", endpoint)
    seconds = max(check.seconds("timeout", timeout), 0.001)
    answer = rpc_wire.ask(endpoint, seconds, _protocol())
    return Worker(endpoint, answer.version, tuple(backends.DeviceMemory(*each) for each in answer.memory))


def endpoints(rpc: str | Iterable[str]) -> list[str]:
    """Return the endpoints that ``Model.load(rpc=…)`` was given, checked, as a list."""
    listed = [rpc] if isinstance(rpc, str) else check.listed("rpc", rpc, "endpoints")
    if not listed:
        raise InvalidArgumentError("rpc names no worker; leave it out, or give it 'host:port'")
    for index, each in enumerate(listed):
        rpc_wire.endpoint(f"rpc[{index}]", each)
        if each in listed[:index]:
            raise InvalidArgumentError(f"rpc names {each} twice")
    return listed


def remote_devices(rpc: str | Iterable[str]) -> list[Device]:
    """Return the devices of workers, in their order; each is asked first whether it is there.

    C: ggml_backend_reg_get_proc_address of the function that adds a worker, ggml_backend_reg_dev_count,
    ggml_backend_reg_dev_get

    Arguments:
        rpc: the workers' endpoints, "host:port".

    Returns:
        the devices, borrowed; they are in no list of :func:`llama_ffi.devices`.

    Raises:
        RpcConnectError: a worker isn't there, is busy or speaks another version.
        BackendError: this library has no RPC.
        InvalidArgumentError: no endpoint, or one that is named twice.

    Threads: any.
    """
    listed = endpoints(rpc)
    with _meeting:
        return _met(listed)


def _met(listed: Sequence[str]) -> list[Device]:
    active = binding.active()
    add = active.ffi.cast("ggml_backend_reg_t (*)(const char *)", _function("ggml_backend_rpc_add_server"))
    found: list[Device] = []
    for each in listed:
        said = None if _uses.get(each) else worker(each)  # busy with us, it wouldn't answer
        pointer = add(text_.encode_c(each, "rpc"))
        if pointer == active.NULL:
            raise RpcConnectError(f"RPC worker {each}: llama.cpp found no devices there")
        devices = Backend(pointer).devices
        if said is not None and len(devices) != len(said.memory):  # C asks once per process
            raise RpcConnectError(
                f"RPC worker {each}: it has {len(said.memory)} devices now and had {len(devices)} when this "
                f"process first met it; use another port for another worker"
            )
        found += devices
    return found


class Use:
    """What a model keeps that uses workers, as long as C keeps its connections to them."""

    __slots__ = ("__weakref__", "endpoints")

    def __init__(self, rpc: str | Iterable[str]) -> None:
        self.endpoints = endpoints(rpc)

    def devices(self, others: Iterable[str | Device] | None) -> list[str | Device]:
        """Begin, and return the devices of a model: the workers', then those named, or all GPUs."""
        with _meeting:
            remote = _met(self.endpoints)
            for each in self.endpoints:
                _uses.setdefault(each, weakref.WeakSet()).add(self)
        if others is None:
            local = backends.devices()
            gpus = [device for device in local if device.type == "GPU"]
            return [*remote, *(gpus or [device for device in local if device.type == "IGPU"])]
        if isinstance(others, str | Device):
            others = [others]
        return [*remote, *check.listed("devices", others, "devices or their names")]

    def end(self) -> None:
        """Count no more: the load has failed, and the workers are to be asked again before the next one."""
        for each in self.endpoints:
            _uses.get(each, weakref.WeakSet()).discard(self)


def serve(
    host: str = "127.0.0.1",
    port: int = rpc_wire.PORT,
    *,
    devices: Iterable[str | Device] | str | None = None,
    n_threads: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    ready: Callable[[str], object] | None = None,
) -> None:
    """Be a worker: lend this process's devices to one process after another, until Ctrl-C.

    llama.cpp prints what it does on the standard output of C. There is no authentication: see the module.

    C: ggml_backend_reg_get_proc_address of the function that runs a worker

    Arguments:
        host: the IPv4 address to listen on, or a name of this machine.
        port: 1 to 65535; 0 = any that is free.
        devices: the devices to lend, or their names; None = all GPUs, or the CPU if there is none.
        n_threads: threads of the CPU device; None = half of the processors.
        cache: a folder in which large tensors are kept, so that the next load needn't send them; it is made.
        ready: called with "host:port" when the worker answers.

    Raises:
        RpcConnectError: the port is taken, or the address is not of this machine.
        BackendError: this library has no RPC, or there is no such device.
        InvalidArgumentError: an argument is out of its range.
        OSError: the folder for the cache can't be made.
        KeyboardInterrupt: Ctrl-C; whoever is connected loses the worker.

    Threads: the main one, where Ctrl-C arrives; one worker per process.
    """
    address = _address(host)
    wanted = check.integer("port", port, 0, 65535)
    threads = max((os.cpu_count() or 2) // 2, 1) if n_threads is None else n_threads
    threads = check.integer("n_threads", threads, 1, 512)
    check.function("ready", ready)
    lent = _lent(devices)
    folder = None
    if cache is not None:
        os.makedirs(cache, exist_ok=True)
        folder = text_.encode_path(cache)
    active = binding.active()
    start = active.ffi.cast(
        "void (*)(const char *, const char *, size_t, size_t, ggml_backend_dev_t *)",
        _function("ggml_backend_rpc_start_server"),
    )
    pointers = active.ffi.new("ggml_backend_dev_t[]", [device.ptr for device in lent])
    folder_c = active.NULL if folder is None else active.ffi.new("char[]", folder)
    for attempt in range(_TRIES):
        chosen = _free_port(address, wanted)
        name = active.ffi.new("char[]", f"{address}:{chosen}".encode())
        thread = threading.Thread(
            target=start, args=(name, folder_c, threads, len(lent), pointers), name="rpc-worker", daemon=True
        )
        thread.start()
        try:
            if _answers(thread, address, chosen):
                if ready is not None:
                    ready(f"{address}:{chosen}")
                while thread.is_alive():
                    thread.join(1.0)  # with an end, so that Ctrl-C is noticed on Windows too
                raise RpcConnectError(
                    f"the RPC worker on {address}:{chosen} ended by itself; its last lines say why"
                )
        finally:
            _stop(thread, chosen)
        if wanted or attempt == _TRIES - 1:
            break
    raise RpcConnectError(f"no RPC worker can listen on {address}:{chosen}; its last lines say why")


def _protocol() -> tuple[int, int] | None:
    raw = binding.active().raw
    try:
        return int(raw.RPC_PROTO_MAJOR_VERSION), int(raw.RPC_PROTO_MINOR_VERSION)
    except AttributeError:  # bindings for headers without RPC
        return None


def _function(name: str) -> Any:
    try:
        backend = Backend.find("RPC")
    except BackendError:
        raise BackendError(
            "this libllama was built without RPC (GGML_RPC); the one that comes with llama_ffi has it"
        ) from None
    function = backend.function(name)
    # older versions have no such function, and start a worker with other arguments
    if function is None or backend.function("ggml_backend_rpc_add_server") is None:
        raise MissingFunctionError(f"this library's RPC is too old: it has no {name} as we know it")
    return function


def _address(host: str) -> str:
    """Return the IPv4 address of a host: C takes nothing else."""
    check.instance("host", host, str)
    try:
        return str(socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError):
        raise InvalidArgumentError(
            f"host is {host!r}; it must be an IPv4 address of this machine, such as 127.0.0.1, or its name"
        ) from None


def _lent(devices: Iterable[str | Device] | str | None) -> list[Device]:
    if devices is None:
        local = backends.devices()
        return [each for each in local if each.type not in ("CPU", "ACCEL")] or [Device.find("CPU")]
    named: Sequence[str | Device]
    named = [devices] if isinstance(devices, str | Device) else check.listed("devices", devices, "devices")
    found = [each if isinstance(each, Device) else Device.find(each) for each in named]
    if not found or len(set(found)) != len(found):
        raise InvalidArgumentError("devices must name one device or more, each once")
    return found


def _free_port(address: str, wanted: int) -> int:
    """Return a port that can be listened on now.

    Raises:
        RpcConnectError: it can't; C would say so on its standard error, without the reason.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        if os.name != "nt":  # as C does it: a port whose last connections are still dying is free
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((address, wanted))
            trial.listen(1)
        except OSError as error:
            raise RpcConnectError(f"can't listen on {address}:{wanted}: {error.strerror}") from error
        return int(trial.getsockname()[1])


def _answers(thread: threading.Thread, address: str, port: int) -> bool:
    """Wait until the worker has answered us; False if it has ended instead."""
    where = f"{'127.0.0.1' if address == '0.0.0.0' else address}:{port}"
    deadline = time.monotonic() + _BEGINS
    while thread.is_alive() and time.monotonic() < deadline:
        try:
            rpc_wire.ask(where, SECONDS, None)
        except RpcConnectError:
            time.sleep(0.02)
        else:
            return True
    return False


def _stop(thread: threading.Thread, port: int) -> None:
    """Shut the sockets of the worker down, upon which C's thread ends: it knows no other way.

    Where the descriptors can't be listed it stays, and ends with the process.
    """
    if not thread.is_alive() or sys.platform == "win32":
        return
    deadline = time.monotonic() + _ENDS
    while thread.is_alive() and time.monotonic() < deadline:
        for descriptor in os.listdir("/dev/fd"):
            try:
                ours = socket.socket(fileno=os.dup(int(descriptor)))
            except OSError:
                continue
            with ours:
                try:
                    if ours.family == socket.AF_INET and ours.getsockname()[1] == port:
                        ours.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        thread.join(0.1)
