"""The readers on a few hundred inputs; and the fuzzer sees what it looks for."""

from __future__ import annotations

import collections
import json
import os
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.fuzz.readers import __main__ as command
from tests.fuzz.readers import bounds, gguf, states

pytestmark = [pytest.mark.native, pytest.mark.skipif(os.name == "nt", reason="its clock is a POSIX signal")]


@pytest.mark.parametrize(("target", "count"), [(gguf, 250), (states, 2500)])
def test_a_few_inputs(target: ModuleType, count: int, tmp_path: Path) -> None:
    seeds = target.prepare(tmp_path)
    assert all(target.one(seed, tmp_path) for seed in seeds), "the inputs that it begins with are sound"
    ended: collections.Counter[bool] = collections.Counter()
    for number in range(count):
        rng = random.Random(number)
        ended[target.one(target.mutate(rng.choice(seeds), rng), tmp_path)] += 1
    assert min(ended[True], ended[False]) > count // 20, ended


def waste(_data: bytes, _folder: Path) -> None:
    bytearray(66 << 20)


def hang(_data: bytes, _folder: Path) -> None:
    while True:
        pass


def stumble(data: bytes, _folder: Path) -> None:
    if len(data) % 7 == 3:
        raise IndexError("this is what nobody must see")


@pytest.mark.parametrize(
    ("reader", "said"), [(waste, "bytes of memory"), (hang, "CPU time"), (stumble, "nobody")]
)
def test_it_sees_what_it_looks_for(
    reader: Any,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(states, "READERS", dict.fromkeys(states.READERS, reader))
    monkeypatch.setattr(states, "prepare", lambda _folder: [b"Sabcdefgh"])
    monkeypatch.setattr(bounds, "SECONDS", 0.3)
    findings = tmp_path / "findings"
    arguments = ["states", "--minutes", "0.01", "--seed", "1", "--findings", str(findings)]
    monkeypatch.setattr(sys, "argv", ["readers", *arguments])
    assert command.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert said in lines[0], lines[0]
    assert json.loads(lines[-1])["findings"] == len(list(findings.iterdir())) > 0
