"""Stores: names, owners, quotas, pieces, common beginnings; several processes, kills, wrong use."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi._core import store_registry
from llama_ffi.errors import (
    ArgumentTypeError,
    ClosedError,
    InvalidArgumentError,
    QuotaError,
    StateDamagedError,
    StateMismatchError,
    StateNotFoundError,
    StateStoreError,
)

from .conftest import SMALL, STORY, feed

pytestmark = pytest.mark.model

OPTIONS: dict[str, Any] = {"n_ctx": 256, "n_threads": 1, "temp": 0.8, "seed": 7}


@pytest.fixture
def store(tmp_path: Path) -> lf.StateStore:
    return lf.StateStore(tmp_path / "store", owner="me")


@pytest.fixture
def session(model: lf.Model) -> Iterator[lf.Session]:
    with model.session(**OPTIONS) as made:
        made.feed(STORY)
        yield made


def files(store: lf.StateStore) -> list[str]:
    return sorted(os.listdir(os.path.join(store.folder, "states")))


def test_put_and_get(model: lf.Model, store: lf.StateStore, session: lf.Session) -> None:
    state = store.put("a chat", session)
    assert (state.owner, state.name, state.kind) == ("me", "a chat", "sequence")
    assert files(store) == [state.file]
    assert (
        state.sha256 == hashlib.sha256((Path(store.folder) / "states" / state.file).read_bytes()).hexdigest()
    )
    expected = "".join(session.generate(30))
    with model.session(**OPTIONS) as other:
        store.get("a chat", other)
        assert "".join(other.generate(30)) == expected
    again = store.put("a chat", session)
    assert files(store) == [again.file], "the old one is gone"
    assert store.list() == [store.info("a chat")]
    assert store.verify("a chat").header.fingerprint == model.fingerprint


def test_contexts(model: lf.Model, store: lf.StateStore, tokens: list[int]) -> None:
    with model.context(**SMALL, n_seq_max=2) as ctx:
        feed(ctx, tokens, seq_id=1)
        store.put("x", ctx, tokens, seq_id=1)
        assert store.get("x", ctx, seq_id=0).tokens == {1: tokens}
        assert ctx.memory.seq_pos_max(0) == len(tokens) - 1


def test_owners_never_meet(store: lf.StateStore, session: lf.Session) -> None:
    store.put("x", session)
    other = store.of("you")
    with pytest.raises(StateNotFoundError):
        other.get("x", session)
    other.put("x", session)
    assert store.remove("x")
    assert not store.remove("x")
    assert [state.owner for state in other.list()] == ["you"]
    assert other.find(session.tokens, session.model) is not None
    assert store.find(session.tokens, session.model) is None
    assert store.owners() == ["you"]


def test_copy(store: lf.StateStore, session: lf.Session) -> None:
    store.put("x", session)
    one, two = store.copy("x", "y"), store.copy("x", "z", owner="you")
    assert one.sha256 == two.sha256 == store.info("x").sha256
    assert store.remove("x")
    assert store.get("y", session).size == one.size
    assert store.of("you").find(session.tokens, session.model) == ("z", len(session.tokens) - 1)


def test_the_least_recently_used_make_room(model: lf.Model, tmp_path: Path, session: lf.Session) -> None:
    size = lf.StateStore(tmp_path / "sizes").put("x", session).size
    store = lf.StateStore(tmp_path / "store", owner="me", owner_quota=2 * size + 10, quota=3 * size + 10)
    store.put("a", session)
    store.put("b", session)
    store.get("a", session)
    store.put("c", session)
    assert [state.name for state in store.list()] == ["a", "c"]
    you = store.of("you")
    you.put("d", session)
    you.put("e", session)
    assert [state.name for state in (*store.list(), *you.list())] == ["c", "d", "e"]
    assert len(files(store)) == 3
    small = lf.StateStore(tmp_path / "store", owner="me", quota=size - 1)
    with pytest.raises(QuotaError, match=f"{size} bytes"):
        small.put("c", session)
    assert [state.name for state in store.list()] == ["c"], "refused, and nothing was lost"
    assert len(files(store)) == 3


def test_find_the_longest_beginning(model: lf.Model, store: lf.StateStore) -> None:
    with model.session(**OPTIONS) as session:
        for name, length in (("short", 5), ("middle", 40), ("long", 100)):
            session.prompt([1] + [500 + index for index in range(length)])
            store.put(name, session)
        ids = [1] + [500 + index for index in range(200)]
        assert store.find(ids, model) == ("long", 100)
        assert store.find([*ids[:60], 7, 8], model) == ("long", 60)
        assert store.find([*ids[:20], 7], model) is not None
        assert store.find(ids[:3], model) == ("short", 3)
        assert store.find([9, 9], model) is None
    with lf.testing.random_model("llama") as other:
        assert store.find(ids, other) is None, "other models' states don't count"


def in_common(one: list[int], other: list[int]) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2), max_size=70), max_size=6),
    st.lists(st.integers(0, 2), max_size=70),
)
def test_find_equals_comparing_all(
    tmp_path_factory: pytest.TempPathFactory, stored: list[list[int]], wanted: list[int]
) -> None:
    registry = store_registry.Registry(str(tmp_path_factory.mktemp("registry") / "r.sqlite"))
    for index, tokens in enumerate(stored):
        registry.put(
            store_registry.StoredState("me", str(index), f"{index}.state", 1, "", "f", "sequence", 0.0, 0.0),
            tokens,
        )
    best = max((in_common(tokens, wanted) for tokens in stored), default=0)
    found = registry.longest_prefix("me", "f", wanted)
    # A chain of hashes finds whole blocks; behind the last common one every candidate is compared.
    assert (found[1] if found else 0) >= best // store_registry.BLOCK * store_registry.BLOCK
    if found:
        assert found[1] == in_common(stored[int(found[0].name)], wanted)


# --- in pieces ---


def pieces(store: lf.StateStore, name: str, size: int) -> list[bytes]:
    found, offset = [], 0
    while piece := store.export(name, offset, size):
        found.append(piece)
        offset += len(piece)
    return found


def test_export_and_upload(store: lf.StateStore, session: lf.Session) -> None:
    state = store.put("x", session)
    parts = pieces(store, "x", 10_000)
    assert b"".join(parts) == (Path(store.folder) / "states" / state.file).read_bytes()
    with store.of("you").upload("y", state.size, state.sha256) as upload:
        offset = 0
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            taken = upload.write(offset, part)
            assert (taken is None) != last
            if not last:
                assert upload.write(offset, part) is None, "once more"
                if index == 1:
                    with pytest.raises(InvalidArgumentError, match="bytes have come so far"):
                        upload.write(offset + 1, part)
            offset += len(part)
        with pytest.raises(ClosedError):
            upload.write(0, b"x")
    assert store.of("you").info("y").sha256 == state.sha256
    assert store.of("you").get("y", session)


def test_uploads_that_are_refused(store: lf.StateStore, session: lf.Session) -> None:
    state = store.put("x", session)
    data = b"".join(pieces(store, "x", 1 << 20))
    with store.upload("y", len(data), "0" * 64) as upload, pytest.raises(StateDamagedError, match="SHA-256"):
        upload.write(0, data)
    bad = b"x" * 100
    with store.upload("y", 100, hashlib.sha256(bad).hexdigest()) as upload:
        with pytest.raises(StateDamagedError, match="not a state file"):
            upload.write(0, bad)
    with store.upload("y", 100, "0" * 64) as upload:
        with pytest.raises(InvalidArgumentError, match="the file at 100"):
            upload.write(0, bytes(101))
        upload.write(0, bytes(50))
        upload.write(0, bytes(20))
        assert upload.received == 20, "offset 0 begins again"
    assert [each.name for each in store.list()] == ["x"]
    assert files(store) == [state.file]
    with pytest.raises(InvalidArgumentError):
        store.upload("y", 100, "xyz")
    with pytest.raises(QuotaError):
        lf.StateStore(store.folder, quota=10).upload("y", 100, "0" * 64)


# --- several processes, kills ---

WRITER = """
import sys, llama_ffi as lf
store = lf.StateStore(sys.argv[1], owner="me")
with lf.Model.load(lf.tiny_model_path()) as model, model.session(n_ctx=256, n_threads=1) as session:
    session.feed("Once upon a time")
    print("ready", flush=True)
    for index in range(int(sys.argv[2])):
        store.put(f"{sys.argv[3]}{index % 3}", session)
"""


def test_several_processes_write_at_once(store: lf.StateStore, session: lf.Session) -> None:
    command = [sys.executable, "-c", WRITER, store.folder, "12"]
    writers = [subprocess.Popen([*command, name], stdout=subprocess.PIPE) for name in ("x", "x", "y")]
    for _ in range(12):
        store.put("mine", session)
        store.get("mine", session)
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    names = [state.name for state in store.list()]
    assert names == ["mine", "x0", "x1", "x2", "y0", "y1", "y2"]
    assert files(store) == sorted(state.file for state in store.list())
    for name in names:
        store.verify(name)


def test_killed_writers_lose_nothing(store: lf.StateStore, session: lf.Session, monkeypatch: Any) -> None:
    store.put("x0", session)
    for delay in (0.0, 0.01, 0.02, 0.05):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, store.folder, "10000", "x"], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        for state in store.list():
            store.verify(state.name)
    store.put("x0", session)
    monkeypatch.setattr("llama_ffi.store._GRACE", -10.0)
    store.collect_garbage()
    assert files(store) == sorted(state.file for state in store.list())


def test_a_newer_store(store: lf.StateStore) -> None:
    path = os.path.join(store.folder, "registry.sqlite")
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StateMismatchError, match="version 99"):
        lf.StateStore(store.folder)


def test_a_damaged_store(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "registry.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(StateStoreError, match="not a database"):
        lf.StateStore(folder)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateStoreError, match="can't be made"):
        lf.StateStore(tmp_path / "file")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("file", "../../outside.state"),
        ("file", "/etc/hostname"),
        ("file", "a\0.state"),
        ("file", 7),
        ("size", "many"),
        ("size", -1),
        ("created", b"now"),
        ("tokens", b"abc"),
        ("tokens", "abcd"),
        ("fingerprint", b"\xff"),
    ],
)
def test_a_changed_registry(
    model: lf.Model, store: lf.StateStore, session: lf.Session, tmp_path: Path, column: str, value: object
) -> None:
    """Nothing in it leads out of the folder, and what can't be is an error of ours."""
    outside = tmp_path / "outside.state"
    outside.write_bytes(b"somebody else's")
    store.put("a", session)
    with sqlite3.connect(os.path.join(store.folder, "registry.sqlite")) as db:
        db.execute(f"UPDATE state SET {column} = ?", (value,))
        db.execute("DELETE FROM block")
    db.close()
    calls: list[Callable[[], object]] = []
    if column != "fingerprint":  # of another model, then
        calls.append(lambda: store.find(session.tokens, model))
    if column != "tokens":
        calls += [store.list, lambda: store.info("a"), lambda: store.export("a"), lambda: store.verify("a")]
        calls.append(lambda: store.copy("a", "b"))
    for call in calls:
        with pytest.raises(StateStoreError, match="registry is damaged"):
            call()
    if column == "file":
        with pytest.raises(StateStoreError, match="registry is damaged"):
            store.remove("a")
    assert outside.read_bytes() == b"somebody else's"


def test_a_lost_or_changed_file(store: lf.StateStore, session: lf.Session) -> None:
    state = store.put("x", session)
    path = Path(store.folder) / "states" / state.file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StateDamagedError):
        store.verify("x")
    with pytest.raises(StateDamagedError):
        store.get("x", session)
    path.unlink()
    with pytest.raises(StateDamagedError, match="is gone"):
        store.get("x", session)


def test_wrong_arguments(store: lf.StateStore, session: lf.Session, model: lf.Model) -> None:
    for name in ("", "a\nb", "\0", "x" * 256, "\ud800"):
        with pytest.raises(InvalidArgumentError):
            store.put(name, session)
    for name in ("../../x", "/etc/passwd", "ü ü", ".", ".."):
        store.put(name, session)
        assert store.info(name).name == name
    assert len(files(store)) == 5
    assert sorted(os.listdir(store.folder))[-1] == "states"
    with pytest.raises(ArgumentTypeError):
        store.put(7, session)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError):
        store.put("x", model)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError):
        store.put("x", session, [1, 2])
    with pytest.raises(InvalidArgumentError):
        store.get("..", session, seq_id=1)
    with pytest.raises(ArgumentTypeError):
        lf.StateStore(7)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError):
        lf.StateStore(store.folder, quota=-1)
    with pytest.raises(StateNotFoundError):
        store.copy("nothing", "x")
    with pytest.raises(ArgumentTypeError):
        store.find([1], "model")  # type: ignore[arg-type]
