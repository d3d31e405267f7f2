"""Looking at what a model computes: a function that sees tensors while a decode computes them.

C asks about each node of the graph whether it is wanted, computes up to a wanted one, and shows it. Saying no
afterwards doesn't stop C: it would leave the rest of that part out and report success. So stopping goes by
the cancel flag, and the decode is undone.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ._core import check
from ._core.binding import Binding
from ._core.callbacks import Callback
from .errors import ArgumentTypeError, ClosedError, UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DTYPES = {"f32": "f4", "f16": "f2", "f64": "f8", "i8": "i1", "i16": "i2", "i32": "i4", "i64": "i8"}


class ComputedTensor:
    """A tensor that has just been computed; for the function given as ``Context(on_tensor=…)``.

    It can be read while that function runs; keep what :meth:`to_numpy` returns.

    C: struct ggml_tensor, borrowed

    Threads: the one that decodes.
    """

    __slots__ = ("_active", "_pointer", "name", "op", "shape", "type")

    name: str
    """as llama.cpp calls it, "l_out-1" for example"""
    op: str
    """the operation that made it, "MUL_MAT" for example"""
    shape: tuple[int, ...]
    """in numpy's order, the row length last; always four dimensions"""
    type: str
    """of its values, "f32" for example"""

    def __init__(self, active: Binding, pointer: Any, name: str) -> None:
        """Made by a decode."""
        lib, string = active.lib, active.ffi.string
        self._active = active
        self._pointer = pointer
        self.name = name
        self.op = string(lib.ggml_op_name(pointer.op)).decode()
        self.shape = tuple(reversed(list(pointer.ne)))
        self.type = string(lib.ggml_type_name(pointer.type)).decode().lower()

    def __repr__(self) -> str:
        return f"<llama_ffi.ComputedTensor {self.name!r}: {self.type} {self.shape}, {self.op}>"

    def to_numpy(self) -> NDArray[np.generic]:
        """Return its values.

        C: ggml_backend_tensor_get

        Returns:
            :attr:`shape`, with the dtype of its type, bf16 as float32; copy.

        Raises:
            ClosedError: the function that it was given to has returned.
            UnsupportedError: its type is quantized.

        Threads: the one that decodes.
        """
        import numpy as np

        tensor, ffi, lib = self._pointer, self._active.ffi, self._active.lib
        if tensor is None:
            raise ClosedError(f"tensor {self.name!r} is gone; copy it while on_tensor runs")
        code = "u2" if self.type == "bf16" else _DTYPES.get(self.type)
        if code is None:
            raise UnsupportedError(f"tensor {self.name!r} is of type {self.type}, which numpy doesn't have")
        size = lib.ggml_nbytes(tensor)
        data = np.empty(size, np.uint8)
        lib.ggml_backend_tensor_get(tensor, ffi.from_buffer(data), 0, size)
        strides = tuple(reversed(list(tensor.nb)))
        values: NDArray[Any] = np.ndarray(self.shape, code, data, strides=strides).copy()
        if self.type == "bf16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return values


OnTensor = Callable[[ComputedTensor], Any]


class Watch:
    """Calls the function of one context."""

    __slots__ = (
        "__weakref__",
        "_active",
        "_cancel",
        "_function",
        "_known",
        "_patterns",
        "callback",
        "stopped",
    )

    def __init__(self, active: Binding, function: OnTensor, names: Any, cancel: bytearray) -> None:
        if not callable(function):
            raise ArgumentTypeError(f"on_tensor must be a function, not {type(function).__name__}")
        self._active = active
        self._function = function
        self._patterns = None if names is None else _names(names)
        self._known: dict[bytes, tuple[str, bool]] = {}
        self._cancel = cancel
        self.stopped = False
        # what C keeps knows us weakly: a function that refers to its context can be collected with it
        me = weakref.ref(self)

        def see(tensor: Any, ask: bool, _user_data: Any) -> bool:
            watch = me()
            return watch is not None and watch._see(tensor, ask)

        self.callback = Callback(active.ffi, "ggml_backend_sched_eval_callback", see, False)

    def _see(self, tensor: Any, ask: bool) -> bool:
        if self.stopped:
            return False
        name = self._active.ffi.string(tensor.name)
        known = self._known.get(name)
        if known is None:
            text = name.decode("utf-8", "replace")
            patterns = self._patterns
            wanted = patterns is None or any(fnmatchcase(text, each) for each in patterns)
            known = self._known[name] = text, wanted
        if ask:
            return known[1]
        shown = ComputedTensor(self._active, tensor, known[0])
        try:
            if self._function(shown) is False:
                self.stop()
        except BaseException:
            self.stop()
            raise
        finally:
            shown._pointer = None
        return not self.stopped

    def stop(self) -> None:
        """Let C stop as soon as it can; what it has computed is undone."""
        self.stopped = True
        self._cancel[0] = 1

    def begin(self) -> None:
        """Prepare for a call of C."""
        self.stopped = False

    @property
    def ended(self) -> bool:
        """Whether the function has ended the call of C, by False or by raising."""
        return self.stopped or self.callback.failed

    def reraise(self) -> None:
        """Raise what the function has raised."""
        self.stopped = False
        self.callback.reraise()


def _names(value: str | Iterable[str]) -> list[str]:
    names = [value] if isinstance(value, str) else check.listed("tensor_names", value, "texts")
    for each in names:
        if not isinstance(each, str):
            raise ArgumentTypeError(f"tensor_names must be texts, not {type(each).__name__}")
    return names
