"""llama.cpp's own state files are read and written, and looked at before C believes them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi import raw
from llama_ffi.errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    StateDamagedError,
    StateError,
    StateMismatchError,
    StateNotFoundError,
    StateSaveError,
)

from .conftest import SMALL, feed, go_on

pytestmark = pytest.mark.model


class Secret(bytes):
    """Bytes that a failing test doesn't print."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


def c_string(path: Path) -> Any:
    return raw.ffi.new("char[]", str(path).encode())


def c_tokens(tokens: list[int]) -> Any:
    return raw.ffi.new("llama_token[]", tokens)


@pytest.mark.parametrize("sequence", [None, 1])
def test_we_read_what_c_writes(
    model: lf.Model, tokens: list[int], tmp_path: Path, sequence: int | None
) -> None:
    path = tmp_path / "c"
    with model.context(**SMALL, n_seq_max=2) as ctx:
        feed(ctx, tokens[:-1], seq_id=sequence or 0)
        if sequence is None:
            assert raw.lib.llama_state_save_file(ctx.ptr, c_string(path), c_tokens(tokens), len(tokens) - 1)
        else:
            assert raw.lib.llama_state_seq_save_file(
                ctx.ptr, c_string(path), sequence, c_tokens(tokens), len(tokens) - 1
            )
        expected = go_on(ctx, tokens[-1], len(tokens) - 1, 4, seq_id=sequence or 0)
    found = lf.PromptCache.inspect(path)
    assert (found.tokens, found.size) == (tokens[:-1], path.stat().st_size)
    assert found.kind == ("context" if sequence is None else "sequence")
    with model.context(**SMALL, n_seq_max=2) as ctx:
        assert lf.PromptCache.load(ctx, path) == found
        assert go_on(ctx, tokens[-1], len(tokens) - 1, 4) == expected


@pytest.mark.parametrize("sequence", [None, 1])
def test_c_reads_what_we_write(
    model: lf.Model, tokens: list[int], tmp_path: Path, sequence: int | None
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    with model.context(**SMALL, n_seq_max=2) as ctx:
        feed(ctx, tokens[:-1], seq_id=sequence or 0)
        lf.PromptCache.save(ctx, ours, tokens[:-1], seq_id=sequence)
        count = len(tokens) - 1
        if sequence is None:
            assert raw.lib.llama_state_save_file(ctx.ptr, c_string(theirs), c_tokens(tokens), count)
        else:
            raw.lib.llama_state_seq_save_file(ctx.ptr, c_string(theirs), sequence, c_tokens(tokens), count)
    assert ours.read_bytes() == theirs.read_bytes()


def test_one_token_more_than_the_memory_holds(model: lf.Model, tokens: list[int], tmp_path: Path) -> None:
    path = tmp_path / "x"
    with model.context(**SMALL) as ctx:
        feed(ctx, tokens[:-1])
        lf.PromptCache.save(ctx, path, tokens)
        assert lf.PromptCache.load(ctx, path).tokens == tokens
        with pytest.raises(InvalidArgumentError, match="at most one that will be"):
            lf.PromptCache.save(ctx, path, [*tokens, 5])
        with pytest.raises(InvalidArgumentError):
            lf.PromptCache.save(ctx, path, tokens[:3])


@pytest.fixture(scope="module")
def file(model: lf.Model, tmp_path_factory: pytest.TempPathFactory) -> Secret:
    path = tmp_path_factory.mktemp("cache") / "x"
    with model.context(**SMALL) as ctx:
        feed(ctx, [1, 500, 600])
        lf.PromptCache.save(ctx, path, [1, 500, 600])
    return Secret(path.read_bytes())


@pytest.fixture(scope="module")
def ctx(model: lf.Model) -> Iterator[lf.Context]:
    with model.context(**SMALL) as made:
        yield made


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda data: b"", StateDamagedError),
        (lambda data: data[:11], StateDamagedError),
        (lambda data: b"GGUF" + data[4:], StateDamagedError),
        (lambda data: data[:4] + struct.pack("<I", 9) + data[8:], StateMismatchError),
        (lambda data: data[:8] + struct.pack("<I", 2**30) + data[12:], StateDamagedError),
        (lambda data: data[:8] + struct.pack("<I", 2) + data[12:], StateDamagedError),
        (lambda data: data[:12] + struct.pack("<i", -5) + data[16:], StateError.__mro__[1]),
        (lambda data: data[:24] + struct.pack("<I", 2**32 - 1) + data[28:], StateDamagedError),
        (lambda data: data[:-1], StateDamagedError),
        (lambda data: data + b"x", StateDamagedError),
        (lambda data: data[:28] + b"llamo" + data[33:], StateDamagedError),
    ],
)
def test_damaged_files(ctx: lf.Context, file: bytes, tmp_path: Path, change: Any, error: Any) -> None:
    path = tmp_path / "x"
    path.write_bytes(change(file))
    with pytest.raises(error):
        lf.PromptCache.load(ctx, path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_change_ends_in_an_error_or_a_state(
    ctx: lf.Context, file: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    changed = bytearray(file)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, 120))
        changed[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "changed"
    path.write_bytes(changed[: data.draw(st.integers(0, len(file)) | st.just(len(file)))])
    try:
        found = lf.PromptCache.load(ctx, path)
    except lf.LlamaError:
        return
    assert len(found.tokens) - ctx.memory.seq_pos_max(0) in (1, 2)


def test_wrong_arguments(ctx: lf.Context, file: bytes, tmp_path: Path) -> None:
    with pytest.raises(StateNotFoundError):
        lf.PromptCache.inspect(tmp_path / "none")
    with pytest.raises(StateError):
        lf.PromptCache.inspect(tmp_path)
    with pytest.raises(StateSaveError):
        lf.PromptCache.save(ctx, tmp_path / "no" / "x", [])
    with pytest.raises(ArgumentTypeError):
        lf.PromptCache.inspect(7)  # type: ignore[arg-type]
    path = tmp_path / "x"
    path.write_bytes(file)
    with pytest.raises(InvalidArgumentError, match="leave seq_id out"):
        lf.PromptCache.load(ctx, path, seq_id=0)


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800"])
def test_a_name_that_no_file_can_have(model: lf.Model, name: str) -> None:
    with model.context(**SMALL) as ctx, pytest.raises(InvalidArgumentError):
        lf.PromptCache.save(ctx, name, [])
    with pytest.raises(InvalidArgumentError):
        lf.PromptCache.inspect(name)
