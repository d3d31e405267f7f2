"""A folder of named states, each with its owner: a cache of prompts that several processes share.

Two owners with the same name for a state never meet. Names are kept in a registry and never become names of
files, so that nothing in them can lead out of the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import IO, Any, SupportsIndex

from ._core import arrays, check, durable
from ._core import text as text_
from ._core.store_registry import Registry, StoredState, is_file_name
from .context import Context
from .errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    QuotaError,
    StateDamagedError,
    StateNotFoundError,
    StateStoreError,
)
from .model import Model
from .session import Session
from .statefile import StateFile
from .store_transfer import Upload

_States = list[StoredState]
_Names = list[str]
_MOST_NAME = 255
_CHUNK = 1 << 20
REGISTRY = "registry.sqlite"
"""the file by which a folder is a store"""

_GRACE = 3600.0
"""seconds in which a file without a row may be one that is about to be entered"""


class StateStore:
    """A folder of states.

    Arguments:
        folder: where it is; made if it isn't there.
        owner: whose states are meant by the names that the methods take; see :meth:`of`.
        quota: bytes that all states together may have; None = any number. The states that were not used for
            longest make room.
        owner_quota: bytes that one owner's states may have.

    Raises:
        StateMismatchError: a newer version of this package has made it.
        StateStoreError: the folder can't be made, read or written.
        InvalidArgumentError, ArgumentTypeError: a name or a quota that can't be.

    Threads: any; several processes may use one store.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        owner: str = "",
        quota: int | None = None,
        owner_quota: int | None = None,
    ) -> None:
        if not isinstance(folder, str | os.PathLike):
            raise ArgumentTypeError(f"folder must be a path, not {type(folder).__name__}")
        self.folder = os.path.abspath(os.fsdecode(text_.encode_path(folder, "folder")))
        self.owner = _name("owner", owner, empty=True)
        self.quota = None if quota is None else check.integer("quota", quota, 0, 2**62)
        self.owner_quota = (
            None if owner_quota is None else check.integer("owner_quota", owner_quota, 0, 2**62)
        )
        self._files = os.path.join(self.folder, "states")
        try:
            os.makedirs(self._files, mode=0o700, exist_ok=True)
        except OSError as error:
            raise StateStoreError(
                f"the store's folder {self.folder!r} can't be made: {error.strerror}"
            ) from error
        self._registry = Registry(os.path.join(self.folder, REGISTRY))

    def __repr__(self) -> str:
        return f"<llama_ffi.StateStore of {self.owner!r} at {self.folder!r}>"

    def of(self, owner: str) -> StateStore:
        """Return the same store for the names of another owner.

        Arguments:
            owner: any text of 1 to 255 bytes without control characters; "" is the nameless one.
        """
        return StateStore(self.folder, owner=owner, quota=self.quota, owner_quota=self.owner_quota)

    # --- states in and out ---

    def put(
        self,
        name: str,
        source: Session | Context,
        tokens: Sequence[int] | None = None,
        *,
        seq_id: SupportsIndex | None = None,
    ) -> StoredState:
        """Store the state of a session or a context under ``name``, in place of one that has it.

        Arguments:
            name: any text of 1 to 255 bytes without control characters.
            source: a session, or a context.
            tokens: of a context: the tokens that its memory holds.
            seq_id: of a context: this sequence alone.

        Returns:
            the state.

        Raises:
            QuotaError: it alone has more bytes than a quota allows; nothing has changed.
            StateSaveError …: as :meth:`StateFile.save`; the state that had the name is as it was.

        Threads: one call at a time on the session or context.
        """
        _name("name", name)

        def write(path: str) -> StateFile:
            if isinstance(source, Session):
                if tokens is not None or seq_id is not None:
                    raise InvalidArgumentError("a session knows its tokens and its sequence; leave them out")
                return source.save(path)
            return StateFile.save(source, path, tokens, seq_id=seq_id)

        return self._enter(name, write)

    def get(self, name: str, target: Session | Context, *, seq_id: SupportsIndex | None = None) -> StateFile:
        """Load a state into a session or a context.

        Arguments:
            name: the state's.
            target: a session (for what a session has put) or a context.
            seq_id: of a context: where the state of a sequence goes.

        Returns:
            the state file, with its tokens.

        Raises:
            StateNotFoundError: there is no state of that name.
            StateMismatchError, StateDamagedError …: as :meth:`StateFile.load`, :meth:`Session.load`.

        Threads: one call at a time on the session or context.
        """
        with self._opened(name) as file:
            if isinstance(target, Session):
                if seq_id is not None:
                    raise InvalidArgumentError("a session has a sequence of its own; leave seq_id out")
                return target.load(file)
            return StateFile.load(target, file, seq_id=seq_id)

    def find(self, tokens: Sequence[int], model: Model) -> tuple[str, int] | None:
        """Return the name of the state that shares the longest beginning with ``tokens``, and its length.

        Arguments:
            tokens: of a prompt.
            model: states of this model are meant.

        Returns:
            (name, number of tokens in common), None if no state begins like that.
        """
        check.instance("model", model, Model)
        ids = arrays.int32_view(tokens, "tokens").tolist()
        found = self._registry.longest_prefix(self.owner, model.fingerprint, ids)
        return None if found is None else (found[0].name, found[1])

    # --- looking after them ---

    def list(self) -> _States:
        """Return the owner's states by name, a copy."""
        return self._registry.states(self.owner)

    def owners(self) -> _Names:
        """Return everybody who has a state here, a copy."""
        return sorted({state.owner for state in self._registry.states()})

    def info(self, name: str) -> StoredState:
        """Return what is known about a state: size, SHA-256, model, times.

        Raises:
            StateNotFoundError: there is none of that name.
        """
        state = self._registry.get(self.owner, _name("name", name))
        if state is None:
            raise StateNotFoundError(f"there is no state {name!r} of {self.owner!r} in this store")
        return state

    def verify(self, name: str) -> StateFile:
        """Read all of a state and check its digests.

        Arguments:
            name: the state's.

        Returns:
            the state file.

        Raises:
            StateNotFoundError, StateDamagedError.
        """
        state = self.info(name)
        with self._opened(name) as file:
            if _digest(file) != state.sha256:
                raise StateDamagedError(f"the file of state {name!r} was changed: its SHA-256 is another")
            file.seek(0)
            return StateFile.verify(file)

    def copy(self, name: str, to: str, *, owner: str | None = None) -> StoredState:
        """Copy a state to another name, in place of one that has it; what it belongs to goes with it.

        Arguments:
            name: the state's.
            to: the copy's name.
            owner: the copy's owner; None = the same.

        Returns:
            the copy.

        Raises:
            StateNotFoundError, QuotaError, StateStoreError.
        """
        self.info(name)
        target = self if owner is None else self.of(owner)

        def write(path: str) -> StateFile:
            with self._opened(name) as source, durable.Replacement(path) as new:
                for chunk in iter(lambda: source.read(_CHUNK), b""):
                    durable.write_all(new.fd, chunk)
                new.commit()
            return StateFile.inspect(path)

        return target._enter(_name("to", to), write)

    def remove(self, name: str) -> bool:
        """Remove a state; return whether there was one."""
        file = self._registry.remove(self.owner, _name("name", name))
        if file is None:
            return False
        self._unlink(file)
        return True

    def collect_garbage(self) -> int:
        """Remove the files that killed processes have left; return how many there were."""
        now = time.time()
        with os.scandir(self._files) as entries:
            old = {
                entry.name
                for entry in entries
                if entry.stat(follow_symlinks=False).st_mtime < now - _GRACE
                and (is_file_name(entry.name) or entry.name.endswith(durable.SUFFIX))
            }
        unknown = self._registry.unknown_files(old)
        for name in unknown:
            self._unlink(name)
        return len(unknown)

    # --- in pieces ---

    def export(self, name: str, offset: int = 0, size: int = _CHUNK) -> bytes:
        """Return a piece of a state's file; an empty one behind its end.

        Arguments:
            name: the state's.
            offset: where the piece begins, in bytes.
            size: how long it is at most, 1 to 64 MB.

        Raises:
            StateNotFoundError, InvalidArgumentError.
        """
        check.integer("offset", offset, 0, 2**62)
        check.integer("size", size, 1, 64 << 20)
        with self._opened(name) as file:
            file.seek(offset)
            return file.read(size)

    def upload(self, name: str, size: int, sha256: str) -> Upload:
        """Begin to take a state in, piece by piece; see :class:`Upload`.

        Arguments:
            name: what it will be called, in place of a state that has the name.
            size: bytes of the whole file.
            sha256: of the whole file, 64 hex digits.

        Returns:
            what takes the pieces.

        Raises:
            QuotaError: it is larger than a quota allows.
            InvalidArgumentError: a name, size or digest that can't be.
        """
        _name("name", name)
        check.integer("size", size, 1, 2**62)
        self._check_quota(size)
        return Upload(self._files, size, sha256, lambda write: self._enter(name, write))

    # --- inside ---

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        """Open a state's file. One that another process replaces meanwhile stays readable."""
        for _ in range(8):
            state = self._registry.get(self.owner, _name("name", name), touch=True)
            if state is None:
                raise StateNotFoundError(f"there is no state {name!r} of {self.owner!r} in this store")
            path = os.path.join(self._files, state.file)
            with contextlib.suppress(FileNotFoundError):  # replaced between the two lines
                file = open(path, "rb")  # noqa: SIM115
                break
        else:
            raise StateDamagedError(f"the file of state {name!r} is gone: {path!r}")
        with file:
            yield file

    def _enter(self, name: str, write: Callable[[str], StateFile]) -> StoredState:
        """Write a new file, and make it the state ``name``."""
        file = f"{secrets.token_hex(16)}.state"
        path = os.path.join(self._files, file)
        try:
            found = write(path)
            self._check_quota(found.size)
            with open(path, "rb") as stream:
                sha256 = _digest(stream)
            now = time.time()
            header = found.header
            state = StoredState(
                self.owner, name, file, found.size, sha256, header.fingerprint, header.kind, now, now
            )
            tokens = next(iter(found.tokens.values()), [])
            replaced = self._registry.put(state, tokens)
        except BaseException:
            self._unlink(file)
            raise
        if replaced is not None:
            self._unlink(replaced)
        for owner, most in ((self.owner, self.owner_quota), (None, self.quota)):
            if most is not None:
                for gone in self._registry.evict(owner, most, file):
                    self._unlink(gone.file)
        return replace(state)

    def _check_quota(self, size: int) -> None:
        for what, most in (("an owner", self.owner_quota), ("the store", self.quota)):
            if most is not None and size > most:
                raise QuotaError(f"the state has {size} bytes; the quota of {what} is {most}")

    def _unlink(self, file: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._files, file))


def _name(what: str, value: Any, *, empty: bool = False) -> str:
    """Return a name that can be kept and shown."""
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{what} must be text, not {type(value).__name__}")
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{what} {value!r} holds a lone surrogate") from None
    if not value.isprintable() or length > _MOST_NAME or not (value or empty):
        raise InvalidArgumentError(f"{what} is {value!r}; it must have 1 to {_MOST_NAME} printable bytes")
    return value


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in iter(lambda: file.read(_CHUNK), b""):
        digest.update(chunk)
    return digest.hexdigest()
