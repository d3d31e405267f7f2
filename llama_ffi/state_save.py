"""Saving a state: describe it, let C write it into its place in the new file, seal it."""

from __future__ import annotations

import array
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any, SupportsIndex

from . import state_facts
from ._core import arrays, check, durable, state_header, state_io, state_payload
from ._core import state_payload_file as payload_file
from ._core.state_header import Header
from ._core.state_payload_file import Progress
from .context import Context
from .errors import ArgumentTypeError, InvalidArgumentError, StateDamagedError, UnsupportedError

Tokens = Sequence[int] | Mapping[int, Sequence[int]] | None
Target = str | os.PathLike[str] | IO[bytes]

_MOST_EXTRA = 1 << 20


@dataclass(frozen=True)
class Plan:
    """What is to be written."""

    sequence: int | None
    tokens: dict[int, array.array[int]]
    header: Header
    """with everything but what C has yet to say"""
    level: int | None
    """of zstd, None = not compressed"""


def plan(
    ctx: Context,
    tokens: Tokens,
    seq_id: SupportsIndex | None,
    extra: Mapping[str, Any] | None,
    compress: int | None,
) -> Plan:
    """Check the arguments of a save."""
    sequence = None if seq_id is None else check.sequence(seq_id, ctx.n_seq_max)
    level = None if compress is None else check.integer("compress", compress, 1, 22)
    lists = _token_lists(ctx, tokens, sequence)
    header = Header(
        **state_facts.of(ctx),
        kind="context" if sequence is None else "sequence",
        cells={},
        n_tokens={key: len(ids) for key, ids in lists.items()},
        created=int(time.time()),
        extra=_extra(extra),
    )
    return Plan(sequence, lists, header, level)


def write(ctx: Context, path: str, plan: Plan, progress: Progress | None) -> tuple[Header, int]:
    """Write a state file; return its header and its size in bytes."""
    with durable.Replacement(path) as new:
        if plan.level is None:
            header, size = _plain(ctx, new, plan, progress)
        else:
            header, size = _compressed(ctx, new, plan, plan.level, progress)
        new.commit()
    return header, size


def _plain(
    ctx: Context, new: durable.Replacement, plan: Plan, progress: Progress | None
) -> tuple[Header, int]:
    with ctx._handle as pointer:
        state_facts.check_settled(ctx)
        length = state_io.size(ctx._lib, pointer, plan.sequence)
        header = replace(plan.header, length=length)
        room, begin = state_header.reserve(_full(ctx, header))
        new.reserve(begin + length)
        with payload_file.mapped(new.fd, begin + length, writable=True) as area:
            cells = _take(ctx, pointer, area, begin, plan)
    # By another mapping: to write out pages that are mapped for writing, the system has to tell every core
    # that runs a thread of this process, page by page, which takes longer than all the rest.
    with (
        payload_file.writing_out(new.fd),
        payload_file.mapped(new.fd, begin + length, writable=False) as area,
        memoryview(area) as view,
        view[begin:] as part,
    ):
        sha256 = payload_file.digest(part, progress)
    header = replace(header, sha256=sha256, cells=cells)
    durable.write_all(new.fd, state_header.encode(header, plan.tokens, room, begin, length))
    return header, begin + length


def _compressed(
    ctx: Context, new: durable.Replacement, plan: Plan, level: int, progress: Progress | None
) -> tuple[Header, int]:
    with tempfile.TemporaryFile(dir=os.path.dirname(new.path) or ".") as whole, ctx._handle as pointer:
        state_facts.check_settled(ctx)
        length = state_io.size(ctx._lib, pointer, plan.sequence)
        header = replace(plan.header, length=length, compression="zstd")
        room, begin = state_header.reserve(_full(ctx, header))
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(whole.fileno(), 0, length)
        else:
            whole.truncate(length)
        with payload_file.mapped(whole.fileno(), length, writable=True) as area:
            cells = _take(ctx, pointer, area, 0, plan)
            with memoryview(area) as view, os.fdopen(os.dup(new.fd), "wb") as file:
                sha256 = payload_file.digest(view, progress)
                file.seek(begin)
                payload_file.compress(view, file, level)
                size = file.tell()
    header = replace(header, sha256=sha256, cells=cells)
    os.lseek(new.fd, 0, os.SEEK_SET)
    durable.write_all(new.fd, state_header.encode(header, plan.tokens, room, begin, size - begin))
    return header, size


def _full(ctx: Context, header: Header) -> Header:
    """Return ``header`` with a line for each sequence, as large as it can become."""
    return replace(header, cells=dict.fromkeys(range(ctx.n_seq_max), (2**31, 2**31, 2**31)))


def _take(ctx: Context, pointer: Any, area: Any, begin: int, plan: Plan) -> dict[int, tuple[int, int, int]]:
    """Let C write its state into ``area``; read it as it will be read, and return what is in it."""
    lib, ffi, sequence = ctx._lib, ctx._ffi, plan.sequence
    form = state_io.form(ffi, lib, pointer, ctx.n_seq_max)
    length = len(area) - begin
    with payload_file.pointer(ffi, area, begin) as target:
        written = state_io.get(lib, pointer, sequence, target, length)
        if written != length:
            raise InvalidArgumentError(f"llama.cpp wrote {written} bytes of state and had said {length}")
    with memoryview(area) as view, view[begin if sequence is None else begin + state_io.PREFIX :] as part:
        arch = ctx.model.arch if sequence is None else None
        try:
            found = state_payload.read(part, form, state_facts.limits(ctx, form), arch=arch)
        except StateDamagedError as error:  # C has just written it: it's the form that isn't known
            raise UnsupportedError(
                f"the memory of {ctx.model.arch!r} models has a form whose states can't be checked, so they "
                f"are not saved ({error})"
            ) from None
    cells = state_facts.summary(found, sequence)
    wrong = state_facts.wrong_count(ctx, cells, plan.header.n_tokens)
    if wrong:
        raise InvalidArgumentError(f"{wrong}; give the tokens that were decoded")
    return cells


def _token_lists(ctx: Context, tokens: Tokens, sequence: int | None) -> dict[int, array.array[int]]:
    if tokens is None:
        return {}
    given = tokens if isinstance(tokens, Mapping) else {sequence or 0: tokens}
    lists: dict[int, array.array[int]] = {}
    for key in sorted(given):
        number = check.sequence(key, ctx.n_seq_max, "a key of tokens")
        if sequence is not None and number != sequence:
            raise InvalidArgumentError(
                f"tokens are given for sequence {number}, and {sequence} is saved alone"
            )
        ids = array.array("i", arrays.int32_view(given[key], "tokens"))
        for each in (min(ids), max(ids)) if ids else ():
            check.token(each, ctx._limits.n_vocab)
        lists[number] = ids
    return lists


def _extra(extra: Mapping[str, Any] | None) -> dict[str, Any]:
    if extra is None:
        return {}
    if not isinstance(extra, Mapping):
        raise ArgumentTypeError(f"extra must be a mapping, not {type(extra).__name__}")
    try:
        text = json.dumps(dict(extra), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"extra can't be written as JSON: {error}") from None
    if len(text) > _MOST_EXTRA:
        raise InvalidArgumentError(f"extra has {len(text)} bytes as JSON; {_MOST_EXTRA} are possible")
    values: dict[str, Any] = json.loads(text)
    return values
