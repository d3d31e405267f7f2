"""`llama-ffi state`: look at state files, and look after a store of them."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .text import printable, size

if TYPE_CHECKING:
    from llama_ffi import StateFile, StateStore, StoredState

_CHUNK = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, summary: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=summary, description=summary.capitalize() + ".")
        action.set_defaults(action_run=run, parser=action)
        return action

    def stored(action: argparse.ArgumentParser) -> None:
        action.add_argument("-s", "--store", metavar="FOLDER", required=True, help="the store")
        action.add_argument("-o", "--owner", default="", help="whose states are meant (default: nobody's)")

    show = add("show", "show what a state file, or a state of a store, says about itself", _show)
    show.add_argument("state", metavar="FILE|NAME")
    show.add_argument("-s", "--store", metavar="FOLDER", help="a store; without it FILE is a file")
    show.add_argument("-o", "--owner", default="", help="whose state is meant")
    verify = add("verify", "read all of a state and check its digests", _verify)
    verify.add_argument("state", metavar="FILE|NAME", nargs="?", help="default: all of the store's owner")
    verify.add_argument("-s", "--store", metavar="FOLDER", help="a store; without it FILE is a file")
    verify.add_argument("-o", "--owner", default="", help="whose state is meant")
    listing = add("list", "list the states of a store", _list)
    stored(listing)
    listing.add_argument("-a", "--all", action="store_true", help="of all owners")
    copy = add("copy", "copy a state to another name", _copy)
    stored(copy)
    copy.add_argument("name")
    copy.add_argument("to")
    copy.add_argument("--to-owner", metavar="OWNER", help="the copy's owner (default: the same)")
    remove = add("rm", "remove states", _remove)
    stored(remove)
    remove.add_argument("names", metavar="NAME", nargs="+")
    export = add("export", "write a state to a file", _export)
    stored(export)
    export.add_argument("name")
    export.add_argument("file")
    bring = add("import", "take a state file into a store", _import)
    stored(bring)
    bring.add_argument("file")
    bring.add_argument("name")
    garbage = add("gc", "remove what killed processes have left in a store", _collect)
    garbage.add_argument("-s", "--store", metavar="FOLDER", required=True, help="the store")


def run(args: argparse.Namespace) -> int:
    return int(args.action_run(args))


def _open(args: argparse.Namespace) -> StateStore:
    import llama_ffi
    from llama_ffi.store import REGISTRY

    # A command that looks at a store doesn't make one out of a mistyped path.
    if not os.path.isfile(os.path.join(args.store, REGISTRY)):
        raise FileNotFoundError(f"there is no store at {args.store!r}")
    return llama_ffi.StateStore(args.store, owner=getattr(args, "owner", ""))


def _show(args: argparse.Namespace) -> int:
    import llama_ffi

    if args.store is None:
        _print(llama_ffi.StateFile.inspect(args.state))
        return 0
    store = _open(args)
    state = store.info(args.state)
    _line("name", printable(state.name))
    _line("owner", printable(state.owner))
    _line("stored", _time(state.created))
    _line("used", _time(state.used))
    _print(llama_ffi.StateFile.inspect(os.path.join(store.folder, "states", state.file)))
    return 0


def _verify(args: argparse.Namespace) -> int:
    import llama_ffi

    if args.store is None:
        if args.state is None:
            raise llama_ffi.errors.InvalidArgumentError("name a file, or a store with --store")
        llama_ffi.StateFile.verify(args.state)
        print(f"{printable(args.state)}: whole")
        return 0
    store = _open(args)
    names = [args.state] if args.state is not None else [state.name for state in store.list()]
    wrong = 0
    for name in names:
        try:
            store.verify(name)
            print(f"{printable(name)}: whole")
        except llama_ffi.errors.StateDamagedError as error:
            wrong += 1
            print(f"{printable(name)}: {error}")
    return 1 if wrong else 0


def _list(args: argparse.Namespace) -> int:
    store = _open(args)
    states: list[StoredState] = []
    for owner in store.owners() if args.all else [args.owner]:
        states += store.of(owner).list()
    width = max((len(printable(state.name)) for state in states), default=0)
    for state in states:
        owner = f"  {printable(state.owner)}" if args.all else ""
        print(f"{printable(state.name):{width}}  {size(state.size):>10}  {_time(state.used)}{owner}")
    return 0


def _copy(args: argparse.Namespace) -> int:
    _open(args).copy(args.name, args.to, owner=args.to_owner)
    return 0


def _remove(args: argparse.Namespace) -> int:
    from llama_ffi.errors import StateNotFoundError

    store = _open(args)
    missing = [name for name in args.names if not store.remove(name)]
    if missing:
        raise StateNotFoundError(f"there is no state {', '.join(map(repr, missing))} in this store")
    return 0


def _export(args: argparse.Namespace) -> int:
    store = _open(args)
    store.info(args.name)
    offset = 0
    with open(args.file, "xb") as target:
        try:
            while piece := store.export(args.name, offset, _CHUNK):
                target.write(piece)
                offset += len(piece)
        except BaseException:
            os.unlink(args.file)
            raise
    return 0


def _import(args: argparse.Namespace) -> int:
    import hashlib

    import llama_ffi

    store = llama_ffi.StateStore(args.store, owner=args.owner)
    with open(args.file, "rb") as source:
        digest = hashlib.sha256()
        for piece in iter(lambda: source.read(_CHUNK), b""):
            digest.update(piece)
        length = source.tell()
        if not length:
            raise llama_ffi.errors.StateDamagedError(f"{args.file!r} is empty")
        source.seek(0)
        with store.upload(args.name, length, digest.hexdigest()) as upload:
            offset = 0
            for piece in iter(lambda: source.read(_CHUNK), b""):
                upload.write(offset, piece)
                offset += len(piece)
    return 0


def _collect(args: argparse.Namespace) -> int:
    count = _open(args).collect_garbage()
    print(f"{count} file{'s' * (count != 1)} removed")
    return 0


def _print(file: StateFile) -> None:
    header = file.header
    _line("kind", header.kind)
    _line("model", f"{printable(header.model)}, fingerprint {header.fingerprint[:16]}…")
    _line("llama.cpp", f"commit {header.commit}, state version {header.state_version}")
    _line("context", f"{header.n_ctx} tokens, {header.n_seq_max} sequences")
    for sequence, (first, last, cells) in header.cells.items():
        stored = f", {len(file.tokens[sequence])} tokens stored" if sequence in file.tokens else ""
        _line(f"sequence {sequence}", f"positions {first} to {last}, {cells} cells{stored}")
    changed = ", ".join(f"{name} {value}" for name, value in sorted(header.options.items()))
    _line("parameters", changed)
    packed = f", {header.compression}" if header.compression else ""
    _line("size", f"{size(file.size)}, payload {size(header.length)}{packed}")
    _line("payload", f"sha256 {header.sha256}")
    _line("saved", _time(header.created))


def _line(name: str, text: str) -> None:
    print(f"{name:12} {text}")


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
