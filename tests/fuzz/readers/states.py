"""State files of either kind, their payloads, a store's registry, importance matrices of the old format.

The first byte of an input says what the others are: see :data:`READERS`.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import llama_ffi as lf
from llama_ffi import state_load
from llama_ffi._core import state_header, state_payload
from llama_ffi.errors import LlamaError, StateDamagedError
from tests.fuzz.readers import bounds
from tests.state import reseal

_FRAME = struct.Struct("<HH")
_LIMITS = [state_payload.Limits(1, 256), state_payload.Limits(3, 64), state_payload.Limits(256, 4096)]
_FORMS = [
    state_payload.Form(1, 1, None),
    state_payload.Form(2, 1, None),
    state_payload.Form(1, 3, None),
    state_payload.Form(0, 0, ((0, 256), (0, 4096))),
    state_payload.Form(2, 1, ((0, 256),)),
]


def _state_file(data: bytes, _folder: Path) -> None:
    """The bytes of a state file."""
    lf.StateFile.inspect(io.BytesIO(data))
    lf.StateFile.verify(io.BytesIO(data))


def _sealed(data: bytes, _folder: Path) -> None:
    """A description, tokens and a payload, which are given the right lengths and digests."""
    if len(data) < _FRAME.size:
        raise StateDamagedError("no frame")
    n_text, n_tokens = _FRAME.unpack_from(data)
    text, rest = data[_FRAME.size :][:n_text], data[_FRAME.size :][n_text:]
    tokens, payload = rest[:n_tokens], rest[n_tokens:]
    try:
        description = json.loads(text)
        description |= {"length": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
        text = json.dumps(description).encode()
    except (ValueError, TypeError, RecursionError):
        pass  # the bytes as they are
    whole = seal(text, tokens, payload)
    lf.StateFile.inspect(io.BytesIO(whole))
    file = lf.StateFile.verify(io.BytesIO(whole))
    with state_load.opened(io.BytesIO(whole)) as opened, state_load.payload(opened) as view:
        kind = None if file.header.kind == "sequence" else "llama"
        with view[8 if kind is None else 0 :] as part:
            several = file.header.n_stream > 1
            state_payload.read(part, _FORMS[2 * several], _LIMITS[several], arch=kind)


def seal(text: bytes, tokens: bytes, payload: bytes) -> bytes:
    begin = -(-(state_header.SIZE + len(text) + len(tokens)) // 4096) * 4096
    fixed = struct.pack("<8sIIQQ", b"LFFISTA\n", len(text), len(tokens), begin, len(payload))
    digest = hashlib.sha256(fixed + text + tokens).digest()
    return (fixed + digest + text + tokens).ljust(begin, b"\0") + payload


def _payload(data: bytes, _folder: Path) -> None:
    """A byte that chooses a form and limits, then a payload."""
    chosen = data[0] if data else 0
    form, limits = _FORMS[chosen % 8 % len(_FORMS)], _LIMITS[chosen // 16 % len(_LIMITS)]
    with memoryview(data[1:]) as view:
        state_payload.read(view, form, limits, arch="llama" if chosen & 8 else None)


def _form(data: bytes, _folder: Path) -> None:
    """The state of an empty sequence."""
    state_payload.Form.of(data)


def _prompt_cache(data: bytes, folder: Path) -> None:
    """The bytes of a state file of llama.cpp."""
    path = folder / "case.session"
    path.write_bytes(data)
    lf.PromptCache.inspect(path)


def _old_matrix(data: bytes, folder: Path) -> None:
    """The bytes of an importance matrix of the old format."""
    path = folder / "case.dat"
    path.write_bytes(data)
    matrix = lf.ImportanceMatrix.load(path)
    for name in matrix.entries:
        matrix.values(name)


def _registry(data: bytes, folder: Path) -> None:
    """The bytes of a store's registry."""
    place = folder / "store"
    shutil.rmtree(place, ignore_errors=True)
    (place / "states").mkdir(parents=True)
    (place / "registry.sqlite").write_bytes(data)
    store = lf.StateStore(place, quota=10_000)
    store.list()
    for look in (
        store.owners,
        store.collect_garbage,
        lambda: store.info("a"),
        lambda: store.verify("a"),
        lambda: store.export("a"),
        lambda: store._registry.longest_prefix("", "f" * 64, list(range(40))),
        lambda: store.copy("a", "b"),
        lambda: store.remove("a"),
    ):
        try:
            look()
        except LlamaError:
            pass


READERS: dict[int, Callable[[bytes, Path], None]] = {
    ord("S"): _state_file,
    ord("s"): _sealed,
    ord("L"): _payload,
    ord("F"): _form,
    ord("P"): _prompt_cache,
    ord("I"): _old_matrix,
    ord("R"): _registry,
}


def prepare(folder: Path) -> list[bytes]:
    """Return sound inputs of every kind."""
    seeds: list[bytes] = []
    with lf.testing.random_model("llama", n_layer=1, n_embd=32, n_head=2, n_ff=32) as model:
        for options, sequence in (({}, None), ({}, 0), ({"n_seq_max": 3}, None)):
            with model.context(n_ctx=256, n_batch=32, n_threads=1, **options) as ctx:
                ctx.decode(lf.Batch.from_tokens([1, 2, 3]))
                stream = io.BytesIO()
                lf.StateFile.save(ctx, stream, [1, 2, 3], seq_id=sequence, extra={"a": [1, None, "x"]})
                path = folder / "seed.session"
                lf.PromptCache.save(ctx, path, [1, 2, 3], seq_id=sequence)
                seeds.append(b"P" + path.read_bytes())
                data = stream.getvalue()
                seeds.append(b"S" + data)
                description, tokens, payload = reseal.parts(data)
                text = json.dumps(description).encode()
                seeds.append(b"s" + _FRAME.pack(len(text), len(tokens)) + text + tokens + payload)
                form = 2 if options else 0
                limits = 16 if options else 0
                whole = sequence is None
                seeds.append(b"L" + bytes([form | limits | 8 * whole]) + payload[0 if whole else 8 :])
                ctx.memory.clear()
                stream = io.BytesIO()
                lf.StateFile.save(ctx, stream, seq_id=0)
                seeds.append(b"F" + reseal.parts(stream.getvalue())[2][8:])
    with lf.testing.random_model("mamba", n_layer=1) as model, model.context(n_ctx=64, n_threads=1) as ctx:
        stream = io.BytesIO()
        lf.StateFile.save(ctx, stream, seq_id=0)
        empty = reseal.parts(stream.getvalue())[2][8:]
        _FORMS[3] = state_payload.Form.of(empty)
        seeds.append(b"F" + empty)
        ctx.decode(lf.Batch.from_tokens([1, 2, 3]))
        stream = io.BytesIO()
        lf.StateFile.save(ctx, stream, [1, 2, 3], seq_id=0)
        seeds.append(b"L\x03" + reseal.parts(stream.getvalue())[2][8:])
    matrix = lf.ImportanceMatrix({"blk.0.attn_q.weight": ([1.0] * 4, [2])}, datasets=["text"])
    matrix.save(folder / "seed.dat", legacy=True)
    seeds.append(b"I" + (folder / "seed.dat").read_bytes())
    seeds.append(b"R" + _store())
    return seeds


def _store() -> bytes:
    """Return the registry of a store that holds one state."""
    with tempfile.TemporaryDirectory() as folder, lf.testing.random_model("llama", n_layer=1) as model:
        store = lf.StateStore(folder)
        with model.context(n_ctx=64, n_batch=64, n_threads=1) as ctx:
            tokens = list(range(1, 40))
            ctx.decode(lf.Batch.from_tokens(tokens))
            store.put("a", ctx, tokens)
        del store
        return (Path(folder) / "registry.sqlite").read_bytes()


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change bytes and 32- or 64-bit numbers, cut, repeat; the kind of an input stays."""
    changed = bytearray(data or b"S")
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(1, len(changed)) if len(changed) > 1 else 0
        if rng.random() < 0.3:
            at = min(at, 200)  # where lengths and counts stand
        what = rng.randrange(8)
        if what == 0 and len(changed) > 1:
            del changed[at:]
        elif what == 1:
            del changed[at : at + rng.choice([1, 4, 8, 64])]
        elif what == 2:
            changed[at:at] = changed[at : at + rng.choice([1, 4, 8, 64])]
        elif what == 3:
            changed[at:at] = rng.randbytes(rng.choice([1, 4, 8]))
        elif what in (4, 5):
            size = rng.choice([1, 4, 4, 8])
            value = rng.choice(_NUMBERS) % 256**size
            changed[at : at + size] = value.to_bytes(size, "little")
        elif what == 6:
            token = rng.choice(_TEXTS)
            changed[at : at + (len(token) if rng.random() < 0.5 else 0)] = token
        elif len(changed) > 1:
            changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed[:1] or b"S") + bytes(changed[1:])


_NUMBERS = [0, 1, 2, 3, 7, 255, 256, 257, 4095, 4096, 65535]
_NUMBERS += [2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1]
_TEXTS = [
    b"null",
    b"-1",
    b"1e999",
    b"NaN",
    b"[]",
    b"{}",
    b'"',
    b"[" * 1200,
    b"9" * 5000,
    b"true",
    b"\\ud800",
    b"\xff",
]
_TEXTS += [b'"cells": {}', b'"zstd"', b'"0": [1, 2]', b'"n_tokens": {"0": 4611686018427387904}']


def one(data: bytes, folder: Path) -> bool:
    """Read an input in the way that its first byte says; returns whether it was accepted."""
    reader = READERS.get(data[0]) if data else None
    if reader is None:
        return False
    with bounds.in_time():
        try:
            reader(data[1:], folder)
        except LlamaError:
            return False
    return True
