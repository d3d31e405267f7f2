"""The states in which an interpreter can end: a program of its own, one state per run.

    python -m tests.lifetime.states STATE MODEL

Each function leaves something open and returns; what follows is the interpreter's own end. A state's
expected exit status is 0 unless ``STATUS`` says otherwise, and nothing may appear on stderr.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_ffi as lf

STATUS = {"exit_with_a_status": 3, "exit_in_a_callback": 5}
SMALL: dict[str, Any] = {"n_ctx": 256, "n_batch": 32, "n_threads": 1}

kept: list[Any] = []
"""What the module's end finds."""

# Python's advice, from 3.12 on, to whoever forks beside threads: here it is the point.
warnings.filterwarnings("ignore", ".*multi-threaded.*", DeprecationWarning)


def prompt(model: lf.Model) -> lf.Batch:
    return lf.Batch.from_tokens(model.vocab.tokenize("Once upon a time"))


def objects(path: Path) -> list[Any]:
    """Return one of everything, all in use."""
    model = lf.Model.load(path, progress=lambda fraction: True)
    context = model.context(**SMALL)
    chain = lf.SamplerChain().add_grammar(model.vocab, 'root ::= "a"').add_dist(1)
    sampler = lf.Sampler.dry(model.vocab, 0.5)
    batch = prompt(model)
    context.decode(batch)
    return [model, context, chain, sampler, batch, chain.clone(), context.memory]


def decode_for_ever(context: lf.Context, batch: lf.Batch) -> None:
    while True:
        context.memory.clear()
        context.decode(batch)


def begin(target: Callable[..., object], *arguments: Any) -> None:
    """Start a daemon thread and let it get under way."""
    threading.Thread(target=target, args=arguments, daemon=True).start()
    time.sleep(0.05)


def open_objects(path: Path) -> None:
    kept.extend(objects(path))


def open_objects_in_a_cycle(path: Path) -> None:
    things = objects(path)
    things.append(things)
    kept.append(things)


def garbage_in_a_cycle(path: Path) -> None:
    gc.disable()
    things = objects(path)
    things.append(things)


def everything_closed(path: Path) -> None:
    for each in objects(path):
        close = getattr(each, "close", None)
        if close is not None:
            close()


def exit_with_a_status(path: Path) -> None:
    kept.extend(objects(path))
    sys.exit(3)


def exit_in_a_callback(path: Path) -> None:
    lf.Model.load(path, progress=lambda fraction: sys.exit(5))


def held_pointers(path: Path) -> None:
    kept.extend(each.ptr for each in objects(path) if hasattr(each, "ptr"))


def generator_in_flight(path: Path) -> None:
    pieces = lf.generate("Once upon a time", model=path, max_tokens=50, temp=0, n_threads=1)
    next(pieces)
    kept.append(pieces)


def generator_not_begun(path: Path) -> None:
    kept.append(lf.generate("Once upon a time", model=path, n_threads=1))


def pending_callbacks(path: Path) -> None:
    """Log handlers of all kinds are in place while objects are freed at the end."""
    import logging

    logging.basicConfig(level=logging.DEBUG, filename=os.devnull)
    kept.append(lf.log.to_file(os.devnull))
    kept.extend(objects(path))


def daemon_thread_decoding(path: Path) -> None:
    model, context, *_ = things = objects(path)
    kept.extend(things)
    begin(decode_for_ever, context, prompt(model))


def daemon_thread_generating(path: Path) -> None:
    def generate() -> None:
        while True:
            for _ in lf.generate("Once", model=path, max_tokens=20, n_threads=1):
                pass

    begin(generate)


def daemon_thread_loading(path: Path) -> None:
    """Loading logs a lot: the thread is often inside of the log callback."""

    def load() -> None:
        while True:
            lf.Model.load(path).close()

    begin(load)


def thread_that_ends(path: Path) -> None:
    model, context, *_ = things = objects(path)
    kept.extend(things)
    context.memory.clear()
    threading.Thread(target=context.decode, args=(prompt(model),)).start()


def after_a_fork(path: Path) -> None:
    """Both processes end like any other; the child's status becomes the parent's."""
    kept.extend(objects(path))
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            sys.exit(f"the child ended with {status}")
    elif not kept[0].closed:
        sys.exit("the child's model is open")


def child_with_objects_of_its_own(path: Path) -> None:
    kept.extend(objects(path))
    child = os.fork()
    if child == 0:
        kept.extend(objects(path))
        return
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        sys.exit(f"the child ended with {status}")


def fork_beside_a_decode(path: Path) -> None:
    daemon_thread_decoding(path)
    after_a_fork(path)


def after_a_failed_load(path: Path) -> None:
    damaged = Path(f"{path}.damaged-{os.getpid()}")
    damaged = Path(os.environ.get("TMPDIR", "/tmp")) / damaged.name
    damaged.write_bytes(path.read_bytes()[:100_000])
    try:
        lf.Model.load(damaged)
    except lf.errors.ModelLoadError as error:
        kept.append(error)
    else:
        sys.exit("the damaged file was loaded")
    finally:
        damaged.unlink()


def exit_hooks_that_use_objects(path: Path) -> None:
    """One hook runs before ours and may use everything; one after it and gets ClosedError."""

    def use(allowed: bool) -> None:
        try:
            _ = kept[1].n_threads
        except lf.errors.ClosedError:
            if allowed:
                os._exit(1)
        else:
            if not allowed:
                os._exit(2)

    atexit.register(use, False)
    kept.extend(objects(path))
    atexit.register(use, True)


STATES: dict[str, Callable[[Path], None]] = {
    function.__name__: function
    for function in (
        open_objects,
        open_objects_in_a_cycle,
        garbage_in_a_cycle,
        everything_closed,
        exit_with_a_status,
        exit_in_a_callback,
        held_pointers,
        generator_in_flight,
        generator_not_begun,
        pending_callbacks,
        daemon_thread_decoding,
        daemon_thread_generating,
        daemon_thread_loading,
        thread_that_ends,
        after_a_fork,
        child_with_objects_of_its_own,
        fork_beside_a_decode,
        after_a_failed_load,
        exit_hooks_that_use_objects,
    )
}

if __name__ == "__main__":
    STATES[sys.argv[1]](Path(sys.argv[2]))
