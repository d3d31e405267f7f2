"""The registry of a state store: which states there are, whose they are, and which tokens they hold.

SQLite in WAL mode: several processes may read and write. The states themselves are files beside it, under
names that say nothing; a row is the only thing that makes a file a state. So a file is written first and
entered afterwards, and a row is taken out first and its file afterwards: what a kill leaves in between is a
file that nobody knows, which :meth:`unknown_files` finds.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import StateMismatchError, StateStoreError

VERSION = 1
BLOCK = 16
"""tokens per link of the chain of hashes by which common beginnings are found"""

_SCHEMA = """
CREATE TABLE state (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    file TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    kind TEXT NOT NULL,
    tokens BLOB NOT NULL,
    created REAL NOT NULL,
    used REAL NOT NULL,
    UNIQUE (owner, name)
);
CREATE TABLE block (
    state INTEGER NOT NULL REFERENCES state (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL
);
CREATE INDEX block_hash ON block (hash);
CREATE INDEX block_state ON block (state);
CREATE INDEX state_used ON state (used);
"""
_COLUMNS = "owner, name, file, size, sha256, fingerprint, kind, created, used"


_TYPES: dict[str, type] = dict.fromkeys(_COLUMNS.split(", "), str)
_TYPES |= {"size": int, "created": float, "used": float}


@dataclass(frozen=True)
class StoredState:
    """One state of a store."""

    owner: str
    name: str
    file: str
    """name of its file, inside the store"""
    size: int
    """bytes of the file"""
    sha256: str
    """of the whole file"""
    fingerprint: str
    """of the model that it belongs to"""
    kind: str
    """context or sequence"""
    created: float
    """seconds since 1970"""
    used: float
    """seconds since 1970: when it was last put or got"""


class Registry:
    """The table of states. Each call is a transaction of its own.

    Raises:
        StateMismatchError: a newer version of this package has made it.
        StateStoreError: it can't be opened or isn't one.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with self._connected() as db:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            if version > VERSION:
                raise StateMismatchError(
                    f"store: it is of version {version}, this llama_ffi knows version {VERSION}; update it"
                )
            if version == VERSION:
                return
            db.execute("PRAGMA journal_mode = WAL")
            with _writing(db):
                if not int(db.execute("PRAGMA user_version").fetchone()[0]):  # another process was faster
                    for statement in filter(str.strip, _SCHEMA.split(";")):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {VERSION}")

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            db = sqlite3.connect(self.path, timeout=30.0, isolation_level=None)
        except sqlite3.Error as error:
            raise StateStoreError(f"the store's registry {self.path!r} can't be opened: {error}") from error
        try:
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA synchronous = FULL")
            yield db
        # A damaged file's own words need not be UTF-8.
        except (sqlite3.Error, UnicodeError) as error:
            raise StateStoreError(f"the store's registry {self.path!r}: {error}") from error
        finally:
            db.close()

    def put(self, state: StoredState, tokens: Sequence[int]) -> str | None:
        """Enter a state whose file is complete; return the file that had its name before, if one had."""
        with self._connected() as db, _writing(db):
            old = db.execute(
                "DELETE FROM state WHERE owner = ? AND name = ? RETURNING file", (state.owner, state.name)
            ).fetchone()
            ids = array("i", tokens)
            cursor = db.execute(
                f"INSERT INTO state ({_COLUMNS}, tokens) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*_row(state), ids.tobytes()),
            )
            db.executemany(
                "INSERT INTO block (state, number, hash) VALUES (?, ?, ?)",
                [(cursor.lastrowid, *each) for each in chain(state.fingerprint, ids)],
            )
            return None if old is None else _file(old[0])

    def get(self, owner: str, name: str, *, touch: bool = False) -> StoredState | None:
        """Return a state, None if there is none; ``touch``: it is used now."""
        with self._connected() as db:
            if touch:
                db.execute(
                    "UPDATE state SET used = ? WHERE owner = ? AND name = ?", (time.time(), owner, name)
                )
            row = db.execute(
                f"SELECT {_COLUMNS} FROM state WHERE owner = ? AND name = ?", (owner, name)
            ).fetchone()
            return None if row is None else _state(row)

    def states(self, owner: str | None = None) -> list[StoredState]:
        """Return all states of an owner, or of all, by owner and name."""
        with self._connected() as db:
            where, values = ("", ()) if owner is None else ("WHERE owner = ?", (owner,))
            rows = db.execute(f"SELECT {_COLUMNS} FROM state {where} ORDER BY owner, name", values)
            return [_state(row) for row in rows]

    def remove(self, owner: str, name: str) -> str | None:
        """Take a state out; return its file, None if there is no such state."""
        with self._connected() as db, _writing(db):
            row = db.execute(
                "DELETE FROM state WHERE owner = ? AND name = ? RETURNING file", (owner, name)
            ).fetchone()
            return None if row is None else _file(row[0])

    def copy(self, owner: str, name: str, state: StoredState) -> str | None:
        """Enter ``state``, a copy of another one, with that one's tokens; return the file it replaces."""
        with self._connected() as db:
            row = db.execute(
                "SELECT tokens FROM state WHERE owner = ? AND name = ?", (owner, name)
            ).fetchone()
        return self.put(state, _tokens(row[0] if row else b""))

    def evict(self, owner: str | None, most: int, spare: str) -> list[StoredState]:
        """Take out the states that were not used for longest until the rest has at most ``most`` bytes.

        Arguments:
            owner: whose; None = everybody's.
            most: bytes.
            spare: the file of the state that stays, come what may.
        """
        gone: list[StoredState] = []
        with self._connected() as db, _writing(db):
            where, values = ("", ()) if owner is None else ("WHERE owner = ?", (owner,))
            rows = db.execute(f"SELECT {_COLUMNS} FROM state {where} ORDER BY used", values).fetchall()
            states = [_state(row) for row in rows]
            total = sum(state.size for state in states)
            for state in states:
                if total <= most:
                    break
                if state.file != spare:
                    db.execute("DELETE FROM state WHERE file = ?", (state.file,))
                    gone.append(state)
                    total -= state.size
        return gone

    def longest_prefix(
        self, owner: str, fingerprint: str, tokens: Sequence[int]
    ) -> tuple[StoredState, int] | None:
        """Return (the state that begins with most of ``tokens``, how many that are), None if none does."""
        ids = array("i", tokens)
        links = chain(fingerprint, ids)
        with self._connected() as db:
            best: tuple[StoredState, int] | None = None
            # A state shorter than a block has no link: those few are compared as they are.
            rows = db.execute(
                f"SELECT {_COLUMNS}, tokens FROM state WHERE owner = ? AND fingerprint = ? AND id NOT IN "
                f"(SELECT state FROM block)",
                (owner, fingerprint),
            ).fetchall()
            for _number, link in reversed(links):
                found = db.execute(
                    f"SELECT {_COLUMNS}, tokens FROM state JOIN block ON block.state = state.id "
                    f"WHERE block.hash = ? AND owner = ?",
                    (link, owner),
                ).fetchall()
                if found:
                    rows = found
                    break
            for *columns, blob in rows:
                count = common(ids, _tokens(blob))
                if count and (best is None or count > best[1]):
                    best = _state(columns), count
            return best

    def unknown_files(self, names: set[str]) -> set[str]:
        """Return which of ``names`` belong to no state."""
        with self._connected() as db:
            return names - {row[0] for row in db.execute("SELECT file FROM state")}


def chain(fingerprint: str, ids: array[int]) -> list[tuple[int, bytes]]:
    """Return (number, hash) of each whole block of tokens; a hash stands for everything up to its block."""
    link = fingerprint.encode()
    links = []
    for number in range(len(ids) // BLOCK):
        block = ids[number * BLOCK : (number + 1) * BLOCK].tobytes()
        link = hashlib.sha256(link + block).digest()[:16]
        links.append((number, link))
    return links


def common(one: array[int], other: array[int]) -> int:
    """Return how many tokens two lists have in common from their beginning on."""
    count = min(len(one), len(other))
    if one[:count] == other[:count]:
        return count
    return next(index for index in range(count) if one[index] != other[index])


@contextlib.contextmanager
def _writing(db: sqlite3.Connection) -> Iterator[None]:
    """Hold the write lock from the beginning on: a transaction that has read can't be refused at its end."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _state(row: Sequence[Any]) -> StoredState:
    """Return a row as a state; raise StateStoreError if nothing that put() has entered looks like it."""
    for value, (name, kind) in zip(row, _TYPES.items(), strict=True):
        if type(value) is not kind:
            raise StateStoreError(f"the store's registry is damaged: the {name} of a state is {value!r}")
    _file(row[2])
    if row[3] < 0:
        raise StateStoreError(f"the store's registry is damaged: a state of {row[3]} bytes")
    return StoredState(*row)


def _file(name: object) -> str:
    """Return the name of a state's file, which nobody can have led out of the store's folder."""
    if not isinstance(name, str) or not is_file_name(name):
        raise StateStoreError(f"the store's registry is damaged: no file of a state is called {name!r}")
    return name


def _tokens(blob: object) -> array[int]:
    if not isinstance(blob, bytes) or len(blob) % 4:
        raise StateStoreError("the store's registry is damaged: a state's tokens are no whole numbers")
    return array("i", blob)


def _row(state: StoredState) -> tuple[str | int | float, ...]:
    return (
        state.owner,
        state.name,
        state.file,
        state.size,
        state.sha256,
        state.fingerprint,
        state.kind,
        state.created,
        state.used,
    )


def is_file_name(name: str) -> bool:
    """Return whether a file of the store's folder is a state's."""
    whole = os.path.basename(name) == name and "\0" not in name
    return whole and name.endswith(".state") and not name.startswith(".")
