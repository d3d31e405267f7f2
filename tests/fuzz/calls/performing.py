"""Making one call: as its kind is made, with the C functions counted that it calls, and how it ended."""

from __future__ import annotations

import threading
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import llama_ffi as lf
from tests.fuzz.calls import values
from tests.fuzz.calls.surface import Call, target


def do(call: Call, receiver: Any, args: dict[str, Any]) -> Any:
    if call.kind == "property":
        return getattr(receiver, call.member)
    if call.kind != "method":
        result = target(call.name)(**args)
    elif call.member.startswith("__"):
        if call.member == "__exit__":
            return receiver.__exit__(None, None, None)
        result = getattr(receiver, call.member)(*args.values())
    else:
        result = getattr(receiver, call.member)(**args)
    if call.name in ("Context.borrow_logits", "Context.borrow_embeddings"):
        rows = result.__enter__()
        try:
            for each in (lambda: receiver.decode(lf.Batch.from_tokens([5])), receiver.close, receiver.cancel):
                if rows.shape[0] % 2:
                    try:
                        each()
                    except lf.LlamaError:
                        pass
            float(np.asarray(rows).sum())
        finally:
            result.__exit__(None, None, None)
        return np.asarray(rows)
    return result


def inside(call: Call, ctx: lf.Context) -> tuple[Any, bool]:
    """Call a method of a tensor that a decode shows."""
    box: list[tuple[Any, bool]] = []

    def look(tensor: Any) -> None:
        before = Counting.mine()
        box.append((do(call, tensor, {}), Counting.mine() > before))

    values.LOOK.append(look)
    try:
        ctx.decode(lf.Batch.from_tokens([5]))
    finally:
        values.LOOK.remove(look)
    return box[-1] if box else (None, False)


def ending(error: BaseException, call: Call) -> tuple[str, str]:
    """Return how a call that raised ended, and for findings where."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [each for each in frames if "/llama_ffi/" in each.filename.replace("\\", "/")]
    if isinstance(error, lf.errors.NativeAbortError):
        return "caught by the guard", str(error)[:300]
    if isinstance(error, lf.LlamaError):
        return type(error).__name__, str(error)[:200]
    if isinstance(error, values.OwnError | StopIteration):
        return type(error).__name__, ""
    if type(error).__name__ in call.raises:
        return type(error).__name__, ""
    if isinstance(error, TypeError) and (not ours or ("keyword argument" in str(error))):
        return "TypeError of the signature", ""
    where = ours[-1] if ours else frames[-1]
    place = f"{Path(where.filename).name}:{where.name}:{where.line}"
    return "other exception", f"{type(error).__name__}: {str(error)[:160]} [{place}]"


def beside(function: Callable[[], Any]) -> Callable[[], Any]:
    """Run ``function`` in a second thread; returns what waits for its result."""
    box: list[Any] = []
    thread = threading.Thread(target=lambda: box.append(function()), daemon=True)
    thread.start()

    def wait() -> Any:
        thread.join()
        return box[0]

    return wait


class Counting:
    """The library, counting the C functions that each thread calls."""

    counts: ClassVar[Counter[int]] = Counter()

    def __init__(self, lib: Any, names: Any) -> None:
        self._lib, self._names = lib, names

    @classmethod
    def mine(cls) -> int:
        return cls.counts[threading.get_ident()]

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._lib, name)
        if name in self._names:
            plain, counts, ident = value, self.counts, threading.get_ident

            def value(*args: Any) -> Any:
                counts[ident()] += 1
                return plain(*args)

            setattr(self, name, value)
        return value
