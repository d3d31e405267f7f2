"""Quantization while it runs: progress, cancelling, Ctrl-C, two at a time."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

import llama_ffi as lf
from llama_ffi import errors

from .quantizing import TEXT, types

pytestmark = pytest.mark.model


def test_progress_and_cancelling(plain: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    lf.quantize(plain, tmp_path / "out.gguf", "q8_0", n_threads=1, progress=seen.append)
    assert seen[0] == 0.0
    assert seen[-1] == 1.0
    assert seen == sorted(seen)
    assert len(seen) == 1 + len(types(plain))
    target = tmp_path / "cancelled.gguf"
    calls: list[float] = []

    def stop(done: float) -> bool:
        calls.append(done)
        return done < 0.3

    with pytest.raises(errors.QuantizeError, match="cancelled"):
        lf.quantize(plain, target, "q8_0", n_threads=2, progress=stop)
    assert 0.3 <= calls[-1] < 0.5, "it went on after the cancel"
    with pytest.raises(ZeroDivisionError):
        lf.quantize(plain, target, "q8_0", n_threads=2, progress=lambda done: 1 / 0)
    assert [each.name for each in tmp_path.iterdir()] == ["out.gguf"]
    assert lf.score(tmp_path / "out.gguf", TEXT).total < 0  # the library goes on working


def test_ctrl_c_stops_before_the_next_tensor(plain: Path, tmp_path: Path) -> None:
    seen: list[float] = []

    def interrupt(done: float) -> None:
        seen.append(done)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        lf.quantize(plain, tmp_path / "out.gguf", "q8_0", n_threads=1, progress=interrupt)
    assert len(seen) <= 5
    assert not list(tmp_path.iterdir())


def test_two_threads_at_a_time(plain: Path, tmp_path: Path) -> None:
    seen: dict[str, list[float]] = {"a": [], "b": []}

    def work(name: str) -> None:
        lf.quantize(plain, tmp_path / name, "q8_0", n_threads=1, progress=seen[name].append)

    threads = [threading.Thread(target=work, args=(name,)) for name in seen]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert seen["a"] == seen["b"] == sorted(seen["a"])
