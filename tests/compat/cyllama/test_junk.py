"""Every shell of cyllama's, called with anything: what comes is a result or one of our errors."""

from __future__ import annotations

import inspect
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import llama_ffi as lf
import llama_ffi.compat.cyllama as cy

pytestmark = pytest.mark.model

ROOT = Path(__file__).resolve().parents[3]

VALUES: list[Any] = [None, 0, 1, -1, 2, 5, 1 << 40, -(1 << 40), 3.5, float("nan"), float("inf"), True]
VALUES += [
    "",
    "x",
    'root ::= "a"',
    "/nowhere",
    "\ud800",
    "a\0b",
    b"",
    b"abc",
    [],
    [1],
    [1, 2, 3],
    [-1],
    [10**9],
]
VALUES += [["a"], {}, {"a": 1}, (1, 2), object(), lambda *_: 1, range(5), [(1, 2.0)], [(1,)]]

# What answers to several threads' worth of junk anyway, or changes the whole process for good.
NOT_CALLED = {"Llama", "ask", "model_quantize", "set_log_callback", "disable_logging", "log_set_verbosity"}


def objects(model: cy.LlamaModel) -> list[Any]:
    params = cy.LlamaContextParams(n_ctx=256, n_seq_max=2, n_threads=1)
    sampler = cy.LlamaSampler()
    sampler.add_greedy()
    ctx = cy.LlamaContext(model=model, params=params)
    pool = cy.GgmlThreadPool(cy.GgmlThreadPoolParams(1))
    return [model, model.get_vocab(), ctx, cy.LlamaBatch(n_tokens=8, n_seq_max=2), sampler, pool]


def call(draw: random.Random, function: Any, pool: list[Any]) -> None:
    positional, named = [], {}
    for parameter in inspect.signature(function).parameters.values():
        value = draw.choice(pool)
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = value
        elif parameter.default is parameter.empty or draw.random() < 0.5:
            positional.append(value)
        else:
            break
    try:
        function(*positional, **named)
    except lf.LlamaError:
        pass


def main(seed: int, rounds: int) -> None:
    draw, count = random.Random(seed), 0
    model = cy.LlamaModel(path_model=lf.tiny_model_path())
    functions = sorted(set(cy.__all__) - NOT_CALLED - {"LLAMA_DEFAULT_SEED"})
    for _ in range(rounds):
        made = objects(model)
        pool = [*VALUES, *made, cy.LlamaContextParams(), cy.LlamaModelParams(), cy.CommonParams()]
        for _ in range(60):
            owner: Any = cy if draw.random() < 0.2 else draw.choice(made)
            names = (
                functions if owner is cy else [n for n in dir(type(owner)) if n[0] != "_" and n != "close"]
            )
            try:
                function = getattr(owner, draw.choice(names))
            except lf.LlamaError:
                continue
            if callable(function) and not isinstance(function, int | float | str):
                call(draw, function, pool)
                count += 1
        for each in made[2:]:
            each.close()
    print(f"{count} calls", file=sys.stderr)


def test_junk_is_refused_by_our_errors(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "7", "25"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stderr.split()[-2]) > 1000


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
