"""Whatever moment a save is killed at, the previous state or the new one is there, whole.

Every call of the system that a save makes is a moment, before it and after it; a preloaded library counts
them and kills. A kill alone doesn't show that the bytes had reached the disk before the new name did: the
page cache survives a process. So the order of the calls is read from strace as well.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import llama_ffi as lf
from llama_ffi._core import durable

from .conftest import SMALL, feed

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="preloads a library, reads strace"),
]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("killer") / "killer.so"
    source = Path(__file__).with_name("c") / "killer.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl", "-lpthread"], check=True)
    return library


@pytest.fixture
def old(model: lf.Model, tmp_path: Path) -> Path:
    folder = tmp_path / "states"
    folder.mkdir()
    path = folder / "x.state"
    with model.context(**SMALL) as ctx:
        feed(ctx, [1, 400])
        lf.StateFile.save(ctx, path, [1, 400], extra={"round": "old"})
    return path


def save(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.state.saver", path],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def whole(path: Path) -> object:
    """Return which state is there, having read all of it."""
    return lf.StateFile.verify(path).header.extra["round"]


def begin_again(model: lf.Model, path: Path) -> None:
    """Save the old state; that removes what a killed save has left, but for a file it had just opened."""
    with model.context(**SMALL) as ctx:
        feed(ctx, [1, 400])
        lf.StateFile.save(ctx, path, [1, 400], extra={"round": "old"})
    for each in path.parent.iterdir():
        if each.name.startswith(f".{path.name}."):
            assert not each.stat().st_size, each
            each.unlink()


@pytest.mark.parametrize("when", ["before", pytest.param("after", marks=pytest.mark.slow)])
def test_killed_at_every_call(model: lf.Model, killer: Path, old: Path, tmp_path: Path, when: str) -> None:
    log = tmp_path / "calls"
    assert save(old, LD_PRELOAD=str(killer), KILLER_LOG=str(log)).returncode == 0
    assert {"posix_fallocate64", "mmap64", "fsync", "write", "rename"} <= set(log.read_text().split())
    environment = {"LD_PRELOAD": str(killer)} | ({"KILLER_AFTER": "1"} if when == "after" else {})
    outcomes: list[object] = []
    for number in range(1, 100):
        begin_again(model, old)
        done = save(old, KILLER_AT=str(number), **environment)
        outcomes.append(whole(old))
        if done.returncode == 0:
            break  # fewer calls than that
        assert done.returncode == -signal.SIGKILL, number
    # How many calls there are can differ by one or two: threads allocate.
    first_new = outcomes.index(0)
    assert first_new > 10
    assert outcomes == ["old"] * first_new + [0] * (len(outcomes) - first_new)
    begin_again(model, old)


def killed_at_random(path: Path, rng: random.Random) -> object:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.state.saver", path, "10000"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "save\n"
    time.sleep(rng.uniform(0, 0.05))
    process.kill()
    process.wait()
    process.stdout.close()
    return whole(path)


def test_killed_at_random(model: lf.Model, old: Path) -> None:
    rng = random.Random(1)
    seen = {killed_at_random(old, rng) for _ in range(8)}
    assert len(seen) > 1
    begin_again(model, old)


@pytest.mark.slow
def test_killed_at_random_many_times(model: lf.Model, old: Path) -> None:
    rng = random.Random(2)
    for _ in range(250):
        killed_at_random(old, rng)
    begin_again(model, old)


def test_the_order_of_the_calls(old: Path, tmp_path: Path) -> None:
    assert shutil.which("strace"), "strace is missing: apt-get install strace"
    log = tmp_path / "trace"
    subprocess.run(
        [
            "strace",
            "-f",
            "-y",
            "-o",
            log,
            "-e",
            "trace=file,desc",
            sys.executable,
            "-m",
            "tests.state.saver",
            old,
        ],
        check=True,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    lines = [re.sub(r"^\d+ +", "", line) for line in log.read_text().splitlines()]
    part = re.escape(str(old.parent / f".{old.name}.")) + r"\w+" + re.escape(durable.SUFFIX)
    folder = re.escape(str(old.parent))
    steps = {
        "opened": rf'openat\(.*"{part}", O_RDWR\|O_CREAT\|O_EXCL',
        "reserved": rf"fallocate\(\d+<{part}>",
        "mapped": rf"mmap\(.*MAP_SHARED, \d+<{part}>",
        "described": rf'write\(\d+<{part}>, "LFFISTA',
        "synced": rf"fsync\(\d+<{part}>",
        "renamed": rf'rename\w*\(.*"{part}".*"{re.escape(str(old))}"',
        "folder synced": rf"fsync\(\d+<{folder}>",
    }
    last = {
        name: max((index for index, line in enumerate(lines) if re.match(pattern, line)), default=-1)
        for name, pattern in steps.items()
    }
    assert -1 not in last.values(), last
    assert list(last) == sorted(last, key=lambda name: last[name]), last
    assert whole(old) == 0
