"""The guard library: failed assertions and C++ exceptions as Python errors.

Behind every check of the safe layer stands this one: the C functions that it calls are wrapped, in C++,
in a try/catch and in a ggml abort callback that throws. A wrapped function that fails returns zeros
and leaves a note for its thread; the number of notes that nobody has fetched is one integer in memory,
so looking for a failure costs a load.

``raw.lib`` is not guarded. Without the guard library (a foreign build) the plain functions are used.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import LibraryLoadError, NativeAbortError
from . import callbacks
from .functions import Functions

SWITCH = "LLAMA_FFI_GUARD"
"""Environment variable; "0" leaves the guard out, to prove that it is what catches."""

_ABORT = 1


class Guard:
    """The opened guard library."""

    def __init__(self, path: Path, *, pinned: bool) -> None:
        from .._abi._guard import GUARDED, ffi

        self._ffi = ffi
        # lazily: a function that the library lacks disables itself alone, not the guard of all others
        self.lib: Any = ffi.dlopen(str(path), 0 if os.name == "nt" else ffi.RTLD_LAZY | ffi.RTLD_LOCAL)
        expected = GUARDED if pinned else ()  # `bind` wraps what there is
        stale = [name for name in expected if self.lib.llama_ffi_guard_function(name.encode()) == ffi.NULL]
        if stale:
            raise LibraryLoadError(
                f"{path} doesn't guard {stale[0]} ({len(stale)} functions in all): it was built for another "
                f"version of this package; build or install again"
            )
        self._pending = self.lib.llama_ffi_guard_pending()
        self.lib.llama_ffi_guard_install()
        callbacks.set_guard_depth = self.lib.llama_ffi_guard_set_depth

    def wrap(self, ffi: Any, name: str, plain: Any) -> Callable[..., Any]:
        """Return the guarded form of the C function ``plain``, or ``plain`` itself if there is none."""
        address = self.lib.llama_ffi_guard_function(name.encode())
        if address == self._ffi.NULL:
            return plain  # type: ignore[no-any-return]
        call, pending, fetch = ffi.cast(ffi.typeof(plain), address), self._pending, self._raise

        def guarded(*args: Any) -> Any:
            result = call(*args)
            if pending[0]:
                fetch()
            return result

        def guarded_pair(first: Any, second: Any) -> Any:  # llama_decode: without packing its arguments
            result = call(first, second)
            if pending[0]:
                fetch()
            return result

        return guarded_pair if len(ffi.typeof(plain).args) == 2 else guarded

    def _raise(self) -> None:
        string = self._ffi.string
        function, message = self._ffi.new("const char **"), self._ffi.new("const char **")
        kind = self.lib.llama_ffi_guard_fetch(function, message)
        if kind == 0:
            return  # another thread's failure, which that thread is about to fetch
        name = string(function[0]).decode("utf-8", "replace")
        words = string(message[0]).decode("utf-8", "replace")
        what = "failed an assertion" if kind == _ABORT else "threw an exception"
        raise NativeAbortError(
            f"{name} {what}: {words}. This is a case that llama_ffi should have refused before the call; "
            f"please report it"
        )

    def struct_return(self, ffi: Any, function: Any, buffer: Any) -> None:
        """Let ``function``, which takes nothing and returns a struct, write into ``buffer``."""
        void = self._ffi.cast("void *", int(ffi.cast("uintptr_t", function)))
        self.lib.llama_ffi_struct_return(void, self._ffi.cast("void *", int(ffi.cast("uintptr_t", buffer))))

    def memory_breakdown(self, context: Any) -> list[tuple[Any, int, int, int]] | None:
        """Return (buffer type as ``void *``, bytes of model, context, compute) per buffer type of a context.

        None: this llama.cpp doesn't tell.
        """
        room = 64  # a few per device
        while True:
            entries = self._ffi.new("struct llama_ffi_memory_use[]", room)
            count = self.lib.llama_ffi_memory_breakdown(context, entries, room)
            if self._pending[0]:
                self._raise()
            if count < 0:
                return None
            if count <= room:
                used = (entries[index] for index in range(count))
                return [(use.buffer_type, use.model, use.context, use.compute) for use in used]
            room = count

    def receiver(self, callback: Any) -> Any:
        """Return the log callback ``callback`` as the guard's own type for it."""
        return self._ffi.cast("llama_ffi_log_receiver", callback)

    def function(self, name: str) -> Any:
        """Return the address (``void *``) of one of the guard's own C functions, for C to call."""
        return self._ffi.cast("void *", self._ffi.addressof(self.lib, name))


class GuardedFunctions:
    """``raw.lib`` with the guarded form of each function that has one."""

    def __init__(self, ffi: Any, functions: Functions, guard: Guard) -> None:
        self._ffi = ffi
        self._functions = functions
        self._guard = guard

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self._functions, name)
        # the guard can't be linked against what is opened at run time
        if callable(value) and not self._functions.in_module(name):
            value = self._guard.wrap(self._ffi, name, value)
        setattr(self, name, value)
        return value


def open_guard(path: Path | None, *, pinned: bool) -> Guard | None:
    """Return the guard of this build, or None if it has none or the switch is off."""
    if path is None or os.environ.get(SWITCH) == "0":
        return None
    return Guard(path, pinned=pinned)
