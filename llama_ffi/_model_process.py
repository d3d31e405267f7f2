"""The process that an :class:`llama_ffi.IsolatedModel` runs in: it holds the model and does what it is asked.

Requests are worked off one after another by the main thread. A second thread reads them, so that a cancel
reaches a generation that is being computed, and ends the process when its parent is gone. Contexts never
compute at the same time here: two that share an RPC worker would exchange each other's graphs.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from ._core import frames, logs, rpc_wire
from ._core.model_process import LOG_MARK
from .errors import ArgumentTypeError

_FUNCTIONS = ("embed", "rerank", "score", "perplexity")
_LOOKS_FOR_PARENT = 2.0
_IDLE, _INTERVAL, _COUNT = 10, 5, 4
"""Seconds of silence, and between questions, and how many of those: a machine that vanishes is noticed."""


class Server:
    """The model, and the generations that go on."""

    def __init__(self, channel: frames.Frames) -> None:
        self.channel = channel
        self.requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.model: Any = None
        self.running: dict[int, Any] = {}
        self.stopped = False
        """Whether the load was cancelled."""

    def read(self) -> None:
        """Read until the parent is gone, then end the process, whatever it computes."""
        while (message := self.channel.receive()) is not None:
            if "cancel" not in message:
                self.requests.put(message)
            elif message["cancel"] == 0:
                self.stopped = True
            else:
                generation = self.running.get(message["cancel"])
                if generation is not None:
                    generation.cancel()
        os._exit(0)

    def work(self) -> None:
        """Answer requests, one after another."""
        while True:
            request = self.requests.get()
            for number in request.get("dropped", ()):
                self.drop(number)
            try:
                answer = {"id": request["id"], "ok": self.do(request)}
            except Exception as error:
                answer = {"id": request["id"], "error": _told(error)}
            try:
                self.channel.send(answer)
            except OSError:
                os._exit(0)

    def do(self, request: Mapping[str, Any]) -> Any:
        """Do what a request asks for; its name is that of a method."""
        methods: Mapping[str, Callable[..., Any]] = {
            "load": self.load,
            "look": self.look,
            "call": self.call,
            "generate": self.generate,
            "chat": self.chat,
            "next": self.next,
            "nothing": lambda: None,
        }
        arguments = {k: v for k, v in request.items() if k not in ("id", "do", "dropped")}
        return methods[request["do"]](**_decoded(arguments))

    def load(
        self, paths: list[str], options: dict[str, Any], use: dict[str, Any], progress: bool
    ) -> dict[str, Any]:
        from . import use as choose
        from .model import Model

        if use["library"] is not None or use["bindings"] is not None:
            choose(library=use["library"], bindings=use["bindings"])
        if progress:
            options["progress"] = self.tell
        self.model = model = Model.load(paths if len(paths) > 1 else paths[0], **options)
        for each in options.get("rpc") or ():
            keep_alive(each)
        names = ("arch", "desc", "n_params", "size", "n_ctx_train", "n_embd", "n_layer", "vocab_only")
        return {**{name: getattr(model, name) for name in names}, "n_tokens": model.vocab.n_tokens}

    def tell(self, fraction: float) -> bool:
        self.channel.send({"event": fraction})
        return not self.stopped

    def look(self, where: str, name: str, args: list[Any] | None = None) -> Any:
        """Return an attribute of the model or its vocabulary, called if there are arguments."""
        thing = self.model if where == "model" else self.model.vocab
        value = getattr(thing, name)
        if args is not None:
            value = value(*args)
        return frames.encode(name, value)

    def call(self, name: str, args: list[Any], options: dict[str, Any]) -> Any:
        """Call one of the functions that take a model and return a result."""
        import llama_ffi

        if name not in _FUNCTIONS:
            raise ValueError(f"{name!r} can't be asked of an isolated model")
        return frames.encode(name, getattr(llama_ffi, name)(self.model, *args, **options))

    def generate(self, number: int, prompt: Any, options: dict[str, Any]) -> Any:
        from .generation import generate

        self.running[number] = generation = generate(prompt, model=self.model, **options)
        return _usage(generation)

    def chat(self, number: int, messages: list[Any], options: dict[str, Any]) -> Any:
        from .chat import replies

        stream: Any = replies.answer(self.model, messages, True, options)
        self.running[number] = generation = stream._generation
        return _usage(generation)

    def next(self, number: int, seen: int) -> dict[str, Any]:
        """Return the next piece, None at the end, and what else there is to know of the generation."""
        generation = self.running[number]
        piece = next(generation, None)
        return {
            "piece": piece,
            "made": generation.tokens[seen:],
            "finish": generation.finish_reason,
            "timings": frames.encode("timings", generation.timings),
            "usage": frames.encode("usage", generation.usage),
        }

    def drop(self, number: int) -> None:
        generation = self.running.pop(number, None)
        if generation is not None:
            generation.close()


def keep_alive(endpoint: str) -> None:
    """Let the kernel ask after the worker, so that one whose machine vanished doesn't leave us waiting."""
    try:
        host, port = rpc_wire.endpoint("endpoint", endpoint)
        there = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
        descriptors = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:  # Windows
        return
    options = [("TCP_KEEPIDLE", _IDLE), ("TCP_KEEPINTVL", _INTERVAL), ("TCP_KEEPCNT", _COUNT)]
    options.append(("TCP_USER_TIMEOUT", 1000 * (_IDLE + _INTERVAL * _COUNT)))
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            with socket.socket(fileno=os.dup(descriptor)) as connection:
                if connection.getpeername() != there:
                    continue
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for name, value in options:
                    if hasattr(socket, name):
                        connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def main() -> None:
    """Answer the parent over the standard input and output until it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which tells us
    source: BinaryIO = sys.stdin.buffer
    target = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what C prints must not mix with our answers
    errors = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace", buffering=1)

    def log(level: int, line: str) -> None:
        with contextlib.suppress(OSError):
            errors.write(f"{LOG_MARK}{level} {line}\n")

    logs.add_sink(log)
    server = Server(frames.Frames(source, target))
    threading.Thread(target=server.read, daemon=True).start()
    if hasattr(os, "getppid"):
        threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    server.work()


def _watch(parent: int) -> None:
    """End with the parent also where a fork of it holds the other end of our standard input."""
    while os.getppid() == parent:
        time.sleep(_LOOKS_FOR_PARENT)
    os._exit(0)


def _decoded(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {key: frames.decode(each, _argument_class) for key, each in arguments.items()}


def _argument_class(name: str) -> Any:
    import llama_ffi

    for module in (llama_ffi, llama_ffi.chat):
        if name in module.__all__:
            return getattr(module, name)
    raise ArgumentTypeError(f"an isolated model takes no {name}")


def _usage(generation: Any) -> dict[str, Any]:
    return {
        "timings": frames.encode("timings", generation.timings),
        "usage": frames.encode("usage", generation.usage),
    }


def _told(error: Exception) -> dict[str, Any]:
    message = error.args[0] if isinstance(error, KeyError) and error.args else error
    return {
        "class": type(error).__name__,
        "message": str(message),
        "code": getattr(error, "code", None),
        "log": list(getattr(error, "log", ())),
    }
