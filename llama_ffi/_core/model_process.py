"""The parent's side of a model in a process of its own: start it, ask it, notice its death, end it.

Three threads look at the child: one reads its answers, one its standard error (llama.cpp's log and what ggml
says before it aborts) and collects its status when that ends, so that no zombie stays; the caller's waits.
The child ends by itself when its standard input does, so it never outlives us.
"""

from __future__ import annotations

import builtins
import contextlib
import itertools
import os
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from .. import errors
from ..errors import (
    ClosedError,
    ForkedError,
    LlamaError,
    ModelLoadError,
    ModelProcessLostError,
    RpcConnectError,
    RpcWorkerLostError,
    UnsupportedError,
)
from . import binding, child_python, frames, isolate, logs, rpc_wire

_RUN = "from llama_ffi._model_process import main; main()"
_LINES = 200
_INFO = 20
_PATIENCE = 2.0
"""Seconds that the child may take to answer a cancel, or to end."""
_WORKER_PATIENCE = 1.0
LOG_MARK = "\x1e"
"""In front of a line of llama.cpp's log, with its level; the rest is the process's own standard error."""

_RESULTS = frozenset({"ChatReply", "Perplexity", "Ranked", "Score", "Timings", "Usage"})
"""What an answer may hold besides plain data; no other name that a child sends is looked up."""

_SAYS_RPC = ("Remote RPC server crashed", "RPC handshake failed", "Failed to connect to", "ggml-rpc")


class ModelProcess:
    """A child process that holds one model.

    Threads: any; requests take turns.
    """

    def __init__(self, name: str, endpoints: list[str]) -> None:
        self.name = name
        self.endpoints = endpoints
        self.lines: deque[str] = deque(maxlen=_LINES)
        self.dropped: deque[int] = deque()
        """Generations that nobody has any more; told with the next request."""
        self._pid = os.getpid()
        self._numbers = itertools.count(1)
        self._turn = threading.Lock()
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._lost: LlamaError | None = None
        self._closed = False
        self._process = _start()
        assert self._process.stdin is not None and self._process.stdout is not None
        self._frames = frames.Frames(self._process.stdout, self._process.stdin.raw)  # type: ignore[attr-defined]
        self._readers = [
            threading.Thread(target=_read_answers, args=(self._frames, self._answers), daemon=True),
            threading.Thread(target=_read_errors, args=(self._process, self.lines), daemon=True),
        ]
        for thread in self._readers:
            thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def alive(self) -> bool:
        return not self._closed and self._lost is None and self._process.poll() is None

    def ask(
        self,
        what: str,
        arguments: Mapping[str, Any],
        *,
        seconds: float | None = None,
        event: Callable[[dict[str, Any]], None] | None = None,
        cancels: int = 0,
    ) -> Any:
        """Send a request and return the answer.

        Arguments:
            what: the request's name.
            arguments: what goes with it, encoded.
            seconds: how long it may take, None = for ever.
            event: called with what the child tells in between.
            cancels: the number of the generation that is cancelled if the wait is interrupted.

        Raises:
            what the child raised, by its class; ModelProcessLostError, RpcWorkerLostError: it has ended.
            ClosedError, ForkedError: it can't be asked any more.
        """
        if self._pid != os.getpid():
            raise ForkedError("this model runs in a process of the one that was forked; load it again here")
        self._check()
        with self._turn:
            self._check()
            number = next(self._numbers)
            dropped = [self.dropped.popleft() for _ in range(len(self.dropped))]
            request = {"id": number, "do": what, "dropped": dropped, **arguments}
            try:
                answer = self._wait(number, seconds, event) if self._send(request) else None
            except BaseException:  # Ctrl-C, or what event() raised: the answer is still to come
                self._give_up(cancels)
                raise
            if answer is None:
                self._check()  # closed meanwhile, by another thread
                raise self._gone()
        if "error" in answer:
            raise _error(answer["error"])
        try:
            return frames.decode(answer.get("ok"), _result_class)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise LlamaError(f"{self.name}: its process answered nonsense ({error!r})") from None

    def cancel(self, generation: int) -> None:
        """Stop a generation; never waits."""
        if self.alive and self._pid == os.getpid():
            with contextlib.suppress(OSError, ValueError):
                self._frames.send({"cancel": generation})

    def close(self) -> None:
        """End the child: it is asked to, and killed if it doesn't; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._pid != os.getpid():
            return
        process = self._process
        if process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                process.stdin.close()  # upon which it ends
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._kill()
        for thread in self._readers:
            if thread is not threading.current_thread():
                thread.join(_PATIENCE)
        self._frames.close()
        if process.stderr is not None:
            process.stderr.close()

    def _check(self) -> None:
        if self._closed:
            raise ClosedError("this isolated model is closed")
        if self._lost is not None:
            raise type(self._lost)(str(self._lost), code=self._lost.code, log=self._lost.log)

    def _send(self, request: Mapping[str, Any]) -> bool:
        try:
            self._frames.send(request)
        except (OSError, ValueError):  # nobody reads any more
            return False
        return True

    def _wait(
        self, number: int, seconds: float | None, event: Callable[[dict[str, Any]], None] | None
    ) -> dict[str, Any] | None:
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            try:
                # a wait without an end can't be interrupted on Windows
                answer = self._answers.get(timeout=1.0 if left is None else min(left, 1.0))
            except queue.Empty:
                if left is not None and left <= 1.0:
                    self._kill()
                    raise ModelLoadError(
                        f"{self.name}: the process that loads it wasn't done after {seconds:g} seconds",
                        log=list(self.lines)[-20:],
                    ) from None
                continue
            if answer is None or answer.get("id") == number:
                return answer
            if "event" in answer and event is not None:
                event(answer)

    def _give_up(self, generation: int) -> None:
        """Bring the conversation back to a beginning after an interrupted request: cancel it, or kill.

        Whether the request was sent and its answer received nobody knows, so there is another one behind it.
        """
        self.cancel(generation)
        number = next(self._numbers)
        deadline = time.monotonic() + _PATIENCE
        try:
            if self._frames.torn or not self._send({"id": number, "do": "nothing"}):
                self._kill()
            while self._process.poll() is None:
                answer = self._answers.get(timeout=max(deadline - time.monotonic(), 0.0))
                if answer is None or answer.get("id") == number:
                    break
        except (queue.Empty, KeyboardInterrupt):
            self._kill()
        if self._process.poll() is not None:
            self._lost = ModelProcessLostError(
                f"{self.name}: its process was ended because it didn't answer an interrupt; load it again"
            )

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)

    def _gone(self) -> LlamaError:
        """Return, and keep, the error for a child that has ended by itself."""
        try:
            status = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:  # it closed its output and lives: nothing can be asked of it
            self._kill()
            status = self._process.returncode
        for thread in self._readers:
            thread.join(_PATIENCE)
        said = list(self.lines)
        how = isolate.how(status)
        missing = self._missing() if self.endpoints else []
        if missing or (self.endpoints and any(mark in line for line in said[-20:] for mark in _SAYS_RPC)):
            who = (
                f"the RPC worker {missing[0]} is gone"
                if len(missing) == 1
                else (
                    f"the RPC workers {', '.join(missing)} are gone"
                    if missing
                    else f"the connection to an RPC worker broke ({', '.join(self.endpoints)}: each answers)"
                )
            )
            self._lost = RpcWorkerLostError(
                f"{self.name}: {who}, and llama.cpp ended the model's process ({how}); start the worker "
                f"again and load the model again",
                code=status,
                log=said[-20:],
            )
        else:
            self._lost = ModelProcessLostError(
                f"{self.name}: the model's process has died ({how}); .log has its last lines; load it again",
                code=status,
                log=said[-20:],
            )
        return self._lost

    def _missing(self) -> list[str]:
        """Return the workers that don't answer."""
        missing = []
        for each in self.endpoints:
            try:
                rpc_wire.ask(each, _WORKER_PATIENCE, None)
            except RpcConnectError:
                missing.append(each)
        return missing


def order() -> dict[str, Any]:
    """Return which library and bindings the child shall use: ours."""
    library, bindings = binding._chosen
    return {
        "library": None if library is None else os.fspath(library),
        "bindings": None if bindings is None else os.fspath(bindings),
    }


def _start() -> subprocess.Popen[bytes]:
    command = child_python.command(_RUN, "isolate=True")
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}  # else ggml starts a debugger, if there is one
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
    except OSError as error:
        raise UnsupportedError(f"isolate=True can't start {command[0]}: {error.strerror}") from error


def _read_answers(source: frames.Frames, answers: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    while True:
        message = source.receive()
        answers.put(message)
        if message is None:
            return


def _read_errors(process: subprocess.Popen[bytes], lines: deque[str]) -> None:
    stream = process.stderr
    assert stream is not None
    with contextlib.suppress(OSError, ValueError):  # closed under us
        for data in stream:
            line = data.decode("utf-8", "replace").rstrip("\n")
            if line.startswith(LOG_MARK):
                level, _, line = line[1:].partition(" ")
                number = int(level) if level.isdigit() else _INFO
                logs.deliver(number, line)
                if number < _INFO:
                    continue
            if line:
                lines.append(line)
    process.wait()


def _error(told: Mapping[str, Any]) -> Exception:
    """Return the child's error as one of ours."""
    name, message = str(told.get("class", "")), str(told.get("message", ""))
    cls = getattr(errors, name, None)
    if isinstance(cls, type) and issubclass(cls, LlamaError):
        return cls(message, code=told.get("code"), log=told.get("log", ()))
    cls = getattr(builtins, name, None)
    if isinstance(cls, type) and issubclass(cls, Exception):
        return cls(message)
    return LlamaError(f"{name} in the model's process: {message}", log=told.get("log", ()))


def _result_class(name: str) -> Any:
    if name not in _RESULTS:
        raise LlamaError(f"the model's process sent a {name!r}, which is no result")
    import llama_ffi

    return getattr(llama_ffi, name)
