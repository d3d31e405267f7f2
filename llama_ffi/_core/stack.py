"""Run one call on a stack that is large enough for it.

libstdc++'s ``std::regex`` recurses once per character, about 350 bytes each, and llama.cpp's BPE
tokenizers use it for some vocabularies: a run of 30,000 letters overflows the usual 8 MB and the process
dies of a signal. No check can foresee it (it depends on the vocabulary's patterns and the text's runs),
so long texts are tokenized on a thread whose stack is sized for them. It is virtual memory: only what
the recursion really touches is used.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

_PER_BYTE = 768
"""Stack per byte of text; measured: at most 350 with gcc 12 and -O2."""

_BASE = 2 * 1024 * 1024
_PAGE = 64 * 1024
_LARGEST = 1 << (40 if sys.maxsize > 2**32 else 29)

THRESHOLD = 512
"""Texts up to this many bytes fit into the smallest stacks in use (512 KB, threads on macOS)."""

_lock = threading.Lock()
"""Held while the process-wide default stack size is ours."""


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def call(function: Callable[[], Any], n_bytes: int) -> Any:
    """Return ``function()``, run on a stack that is large enough for a text of ``n_bytes``.

    Ctrl-C ends the waiting; ``function`` then runs to its end by itself, so it must own what it uses.

    Raises:
        MemoryError: the system doesn't give a stack of that size.
    """
    if n_bytes <= THRESHOLD:
        return function()
    outcome: list[Any] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(function())
        except BaseException as error:
            failure.append(error)

    size = min(_LARGEST, _BASE + (n_bytes * _PER_BYTE + _PAGE - 1) // _PAGE * _PAGE)
    thread = threading.Thread(target=run, name="llama_ffi-tokenize", daemon=True)
    with _lock:
        usual = threading.stack_size(size)
        try:
            thread.start()
        except RuntimeError as error:
            raise MemoryError(
                f"no stack of {size} bytes is to be had for a text of {n_bytes} bytes"
            ) from error
        finally:
            threading.stack_size(usual)
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
