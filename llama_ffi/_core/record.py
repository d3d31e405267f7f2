"""Which C functions the safe layer calls: written to a file while a program runs, for our tests.

With ``LLAMA_FFI_RECORD_CALLS=FILE`` each function that is called is appended to the file, once per process
and test, as ``name<TAB>test``; pytest says in the environment which test is running, children inherit it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from typing import Any

VARIABLE = "LLAMA_FFI_RECORD_CALLS"


class Recorded:
    """A library whose C functions leave a line in the file when they are called."""

    def __init__(self, lib: Any, names: Container[str], path: str) -> None:
        self._lib = lib
        self._names = names
        self._path = path

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._lib, name)
        if name in self._names:
            value = _recorded(name, value, self._path)
            setattr(self, name, value)
        return value


def _recorded(name: str, function: Callable[..., Any], path: str) -> Callable[..., Any]:
    seen: set[str] = set()

    def call(*args: Any) -> Any:
        test = os.environ.get("PYTEST_CURRENT_TEST", "")
        if test not in seen:
            seen.add(test)
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:  # one write: lines of several processes don't mix
                os.write(descriptor, f"{name}\t{test}\n".encode())
            finally:
                os.close(descriptor)
        return function(*args)

    return call


def recorded(lib: Any, names: Container[str]) -> Any:
    """Return ``lib``, or its recorded form if the environment asks for one."""
    path = os.environ.get(VARIABLE)
    return Recorded(lib, names, path) if path else lib
