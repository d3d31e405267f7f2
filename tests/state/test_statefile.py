"""State files come back as what they were, belong to whom they say, and are never half written."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_ffi as lf
from llama_ffi.errors import (
    ArgumentTypeError,
    ClosedError,
    InvalidArgumentError,
    NoOutputsError,
    SequenceRangeError,
    StateDamagedError,
    StateError,
    StateMismatchError,
    StateNotFoundError,
    StateSaveError,
    TokenRangeError,
)

from .conftest import SMALL, feed, go_on

pytestmark = pytest.mark.model

Save = Callable[..., lf.StateFile]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_seq_max": 3},
        {"n_seq_max": 3, "kv_unified": True},
        {"flash_attn": False},
        {"type_k": "q8_0", "type_v": "q8_0"},
    ],
    ids=lambda options: ",".join(map(str, options)) or "plain",
)
@pytest.mark.parametrize("compress", [None, 3])
def test_continues_as_if_nothing_had_happened(
    model: lf.Model, tokens: list[int], tmp_path: Path, options: dict[str, Any], compress: int | None
) -> None:
    path = tmp_path / "x.state"
    with model.context(**SMALL, **options) as ctx:
        feed(ctx, tokens[:-1])
        lf.StateFile.save(ctx, path, tokens[:-1], compress=compress)
        expected = go_on(ctx, tokens[-1], len(tokens) - 1, 8)
    with model.context(**SMALL, **options) as ctx:
        feed(ctx, tokens[3:7])  # what was there before is replaced
        file = lf.StateFile.load(ctx, path)
        assert file.tokens == {0: tokens[:-1]}
        assert go_on(ctx, tokens[-1], len(tokens) - 1, 8) == expected


def test_one_sequence_goes_into_another(model: lf.Model, tokens: list[int], tmp_path: Path) -> None:
    path = tmp_path / "x.state"
    with model.context(**SMALL, n_seq_max=3) as ctx:
        feed(ctx, tokens[:-1], seq_id=2)
        lf.StateFile.save(ctx, path, tokens[:-1], seq_id=2)
        expected = go_on(ctx, tokens[-1], len(tokens) - 1, 4, seq_id=2)
    with model.context(**SMALL, n_seq_max=3) as ctx:
        feed(ctx, tokens[:5], seq_id=0)
        file = lf.StateFile.load(ctx, path, seq_id=1)
        assert file.header.kind == "sequence"
        assert ctx.memory.seq_pos_max(0) == 4, "the others are as they were"
        assert go_on(ctx, tokens[-1], len(tokens) - 1, 4, seq_id=1) == expected


def test_a_new_process_goes_on(model: lf.Model, tokens: list[int], saved: Path) -> None:
    program = """
import sys, llama_ffi as lf
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.state.conftest import SMALL, go_on
with lf.Model.load(lf.tiny_model_path()) as model, model.context(**SMALL) as ctx:
    file = lf.StateFile.load(ctx, sys.argv[1])
    rows = go_on(ctx, int(sys.argv[2]), len(file.tokens[0]), 16)
sys.stdout.buffer.write(b"".join(rows))
"""
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", program, saved, str(tokens[-1]), root], capture_output=True, cwd=root
    )
    assert done.returncode == 0, done.stderr.decode()
    with model.context(**SMALL) as ctx:
        feed(ctx, tokens[:-1])
        assert done.stdout == b"".join(go_on(ctx, tokens[-1], len(tokens) - 1, 16))


def test_a_load_leaves_no_outputs(model: lf.Model, saved: Path, tokens: list[int]) -> None:
    with model.context(**SMALL) as ctx:
        feed(ctx, tokens)
        lf.StateFile.load(ctx, saved)
        with pytest.raises(NoOutputsError):
            ctx.logits(-1)


def test_inspect_and_verify_need_no_model(saved: Path) -> None:
    program = (
        "import sys, llama_ffi as lf; file = lf.StateFile.verify(sys.argv[1]); "
        "print(file.header.arch, file.size, len(file.tokens[0])); "
        "from llama_ffi._core import binding; assert binding.loaded() is None"
    )
    done = subprocess.run([sys.executable, "-c", program, saved], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == ["llama", str(saved.stat().st_size)]


def test_streams(model: lf.Model, tokens: list[int]) -> None:
    stream = io.BytesIO()
    with model.context(**SMALL) as ctx:
        feed(ctx, tokens)
        lf.StateFile.save(ctx, stream, tokens, extra={"who": "me", "list": [1, None, "ü"]})
        stream.seek(0)
        assert lf.StateFile.inspect(stream).header.extra == {"who": "me", "list": [1, None, "ü"]}
        stream.seek(0)
        assert lf.StateFile.load(ctx, stream).tokens == {0: tokens}


def test_an_empty_context(model: lf.Model, tmp_path: Path, tokens: list[int]) -> None:
    path = tmp_path / "empty.state"
    with model.context(**SMALL) as ctx:
        lf.StateFile.save(ctx, path, [])
        feed(ctx, tokens)
        lf.StateFile.load(ctx, path)
        assert ctx.memory.seq_pos_max(0) == -1


def test_progress_reports_and_cancels(model: lf.Model, saved: Path, tokens: list[int]) -> None:
    seen: list[tuple[int, int]] = []
    with model.context(**SMALL) as ctx:
        length = lf.StateFile.load(
            ctx, saved, progress=lambda done, total: seen.append((done, total))
        ).header.length
        assert seen[-1] == (length, length)
        before = saved.read_bytes()
        with pytest.raises(StateError, match="cancelled"):
            lf.StateFile.save(ctx, saved, progress=lambda done, total: False)
        with pytest.raises(ZeroDivisionError):
            lf.StateFile.save(ctx, saved, progress=lambda done, total: 1 // 0)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name], "nothing is left lying around"


def test_file_mode(model: lf.Model, saved: Path) -> None:
    assert saved.stat().st_mode & 0o777 == 0o600, "a conversation is nobody else's business"
    saved.chmod(0o640)
    with model.context(**SMALL) as ctx:
        lf.StateFile.save(ctx, saved)
    assert saved.stat().st_mode & 0o777 == 0o640


def test_a_link_is_followed(model: lf.Model, saved: Path) -> None:
    link = saved.with_name("link")
    link.symlink_to(saved.name)
    before = saved.read_bytes()
    with model.context(**SMALL) as ctx:
        lf.StateFile.save(ctx, link)
    assert link.is_symlink()
    assert saved.read_bytes() != before


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"type_k": "f32"}, "type_k"),
        ({"type_v": "f32"}, "type_v"),
        ({"rope_freq_base": 5000.0}, "rope_freq_base"),
        ({"rope_freq_scale": 0.5}, "rope_freq_scale"),
        ({"n_seq_max": 4}, "n_stream"),
        ({"flash_attn": False}, "flash_attn"),
    ],
    ids=str,
)
def test_another_context(model: lf.Model, saved: Path, changed: dict[str, Any], field: str) -> None:
    with model.context(**(SMALL | changed)) as ctx, pytest.raises(StateMismatchError, match=f"^{field}:"):
        lf.StateFile.load(ctx, saved)


def test_a_smaller_context(model: lf.Model, tmp_path: Path, tokens: list[int]) -> None:
    path = tmp_path / "long.state"
    many = (tokens * 40)[:300]
    with model.context(n_ctx=512, n_batch=512, n_threads=1) as ctx:
        feed(ctx, many)
        lf.StateFile.save(ctx, path, many)
        expected = go_on(ctx, 5, 300, 3)
    with model.context(n_ctx=768, n_batch=512, n_threads=1) as ctx:
        lf.StateFile.load(ctx, path)
        assert go_on(ctx, 5, 300, 3) == expected, "a larger one takes it"
    with model.context(n_ctx=256, n_threads=1) as ctx:
        feed(ctx, tokens)
        with pytest.raises(StateDamagedError, match="300 cells, the context has 256"):
            lf.StateFile.load(ctx, path)
        assert ctx.memory.seq_pos_max(0) == len(tokens) - 1, "refused before anything was touched"


def test_another_model_of_the_same_shape(model: lf.Model, saved: Path, tmp_path: Path) -> None:
    data = bytearray(lf.tiny_model_path().read_bytes())
    data[-64:] = bytes(64)
    other = tmp_path / "other.gguf"
    other.write_bytes(data)
    with lf.Model.load(other) as twin, twin.context(**SMALL) as ctx:
        with pytest.raises(StateMismatchError, match=r"^fingerprint:"):
            lf.StateFile.load(ctx, saved)


def test_overridden_metadata_is_another_model(saved: Path) -> None:
    overrides = {"llama.attention.layer_norm_rms_epsilon": 0.5}
    with lf.Model.load(lf.tiny_model_path(), kv_overrides=overrides) as twin, twin.context(**SMALL) as ctx:
        with pytest.raises(StateMismatchError, match=r"^fingerprint:"):
            lf.StateFile.load(ctx, saved)


def test_wrong_arguments(model: lf.Model, tokens: list[int], saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.state"
    with model.context(**SMALL) as ctx:
        feed(ctx, tokens)
        with pytest.raises(InvalidArgumentError, match=f"3 tokens .* ends at position {len(tokens) - 1}"):
            lf.StateFile.save(ctx, path, tokens[:3])
        with pytest.raises(TokenRangeError):
            lf.StateFile.save(ctx, path, [*tokens[:-1], 10**6])
        with pytest.raises(SequenceRangeError):
            lf.StateFile.save(ctx, path, {7: tokens})
        with pytest.raises(SequenceRangeError):
            lf.StateFile.save(ctx, path, tokens, seq_id=1)
        with pytest.raises(InvalidArgumentError, match="JSON"):
            lf.StateFile.save(ctx, path, extra={"x": object()})
        with pytest.raises(InvalidArgumentError, match="JSON"):
            lf.StateFile.save(ctx, path, extra={"x": float("nan")})
        with pytest.raises(InvalidArgumentError, match="1048576"):
            lf.StateFile.save(ctx, path, extra={"x": "y" * (1 << 20)})
        with pytest.raises(InvalidArgumentError, match="compress"):
            lf.StateFile.save(ctx, path, compress=23)
        for wrong in (7, None, b"x"):
            with pytest.raises(ArgumentTypeError):
                lf.StateFile.save(ctx, wrong)  # type: ignore[arg-type]
            with pytest.raises(ArgumentTypeError):
                lf.StateFile.load(ctx, wrong)  # type: ignore[arg-type]
        with pytest.raises(ArgumentTypeError):
            lf.StateFile.save(model, path)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="leave seq_id out"):
            lf.StateFile.load(ctx, saved, seq_id=0)
    assert not path.exists()
    with pytest.raises(ClosedError):
        lf.StateFile.save(ctx, path)
    with pytest.raises(ClosedError):
        lf.StateFile.load(ctx, saved)


def test_a_copy_that_is_still_to_be_made(model: lf.Model, tokens: list[int], tmp_path: Path) -> None:
    """libllama would save the target of a copy as it was before; seen in its sources."""
    with model.context(**SMALL, n_seq_max=2) as ctx:
        feed(ctx, tokens[:-1])
        ctx.memory.seq_cp(0, 1)
        with pytest.raises(StateError, match="decode something first"):
            lf.StateFile.save(ctx, tmp_path / "x")
        with pytest.raises(StateError, match="decode something first"):
            lf.PromptCache.save(ctx, tmp_path / "x", [])
        feed(ctx, tokens[-1:], len(tokens) - 1)
        lf.StateFile.save(ctx, tmp_path / "x", tokens[:-1], seq_id=1)
        lf.StateFile.load(ctx, tmp_path / "x", seq_id=0)
        got = go_on(ctx, tokens[-1], len(tokens) - 1, 3)
    with model.context(**SMALL, n_seq_max=2) as ctx:
        feed(ctx, tokens[:-1])
        assert got == go_on(ctx, tokens[-1], len(tokens) - 1, 3)


def test_what_the_system_refuses(model: lf.Model, tmp_path: Path) -> None:
    with model.context(**SMALL) as ctx:
        with pytest.raises(StateSaveError, match=r"nowhere/x.*No such file"):
            lf.StateFile.save(ctx, tmp_path / "nowhere" / "x")
        with pytest.raises(StateSaveError, match="Is a directory"):
            lf.StateFile.save(ctx, tmp_path)
        with pytest.raises(StateNotFoundError):
            lf.StateFile.load(ctx, tmp_path / "x")
        with pytest.raises(StateError, match="directory"):
            lf.StateFile.load(ctx, tmp_path)


@pytest.mark.parametrize("content", [b"", b"LFFISTA", b"LFFISTA\n", b"GGUF" + bytes(100), bytes(200)])
def test_other_files(model: lf.Model, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with model.context(**SMALL) as ctx, pytest.raises(StateDamagedError):
        lf.StateFile.load(ctx, path)


def test_a_newer_format_is_named(saved: Path) -> None:
    from . import reseal

    with pytest.raises(StateMismatchError, match="format 2"):
        lf.StateFile.inspect(io.BytesIO(reseal.with_header(saved.read_bytes(), format=2)))


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["kind", "cells", "n_tokens", "options", "length", "sha256", "extra", "n_ctx", "more"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            ),
            max_leaves=6,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_headers_of_any_content(header_source: bytes, changes: dict[str, Any]) -> None:
    from . import reseal

    data = reseal.with_header(header_source, **changes)
    try:
        file = lf.StateFile.inspect(io.BytesIO(data))
    except (StateDamagedError, StateMismatchError):
        return
    json.dumps(file.header.extra)


@pytest.fixture(scope="session")
def header_source(model: lf.Model) -> bytes:
    stream = io.BytesIO()
    with model.context(**SMALL) as ctx:
        feed(ctx, [1, 5, 6])
        lf.StateFile.save(ctx, stream, [1, 5, 6])
    return stream.getvalue()


@pytest.mark.parametrize("compress", [None, 1])
def test_a_full_disk(saved: Path, tokens: list[int], compress: int | None) -> None:
    """On a file system of 64 KB that holds the old state already."""
    program = """
import sys, llama_ffi as lf
sys.path.insert(0, sys.argv[3])
from tests.state.conftest import SMALL, feed
lf.StateFile.verify(sys.argv[1])
with lf.Model.load(lf.tiny_model_path()) as model, model.context(**SMALL) as ctx:
    feed(ctx, [1, 5, 6, 7, 8, 9, 10, 11, 12])
    try:
        lf.StateFile.save(ctx, sys.argv[1], compress=eval(sys.argv[2]))
    except lf.errors.StateSaveError as error:
        print(error)
lf.StateFile.verify(sys.argv[1])
"""
    root = Path(__file__).resolve().parents[2]
    folder = saved.parent / "small"
    folder.mkdir()
    shell = (
        f'mount -t tmpfs -o size=64k tmpfs {folder} && cp {saved} {folder}/x && exec "$@" && ls -A {folder}'
    )
    command = ["unshare", "-rm", "sh", "-c", shell, "-", sys.executable, "-c", program, f"{folder}/x"]
    done = subprocess.run([*command, str(compress), str(root)], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    assert "No space left on device; what was there before is as it was" in done.stdout


def test_a_folder_that_is_read_only(model: lf.Model, saved: Path) -> None:
    program = """
import io, os, sys, llama_ffi as lf
sys.path.insert(0, sys.argv[2])
from tests.state.conftest import SMALL
with lf.Model.load(lf.tiny_model_path()) as model, model.context(**SMALL) as ctx:
    lf.StateFile.save(ctx, io.BytesIO())  # everything is imported before the user changes
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        lf.StateFile.save(ctx, sys.argv[1])
    except lf.errors.StateSaveError as error:
        print(error)
"""
    root = str(Path(__file__).resolve().parents[2])
    before = saved.read_bytes()
    folder = saved.parent
    folder.chmod(0o555)
    try:
        command = [sys.executable, "-c", program, saved, root]
        done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    finally:
        folder.chmod(0o755)
    assert "Permission denied; what was there before is as it was" in done.stdout, done.stderr
    assert saved.read_bytes() == before
