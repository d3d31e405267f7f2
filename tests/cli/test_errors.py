"""Wrong things typed: each is one line on stderr that says what was wrong, and a status that is not 0."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.model

Fails = Callable[..., str]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=["generate", "info"])
def with_model(request: pytest.FixtureRequest, fails: Fails) -> Callable[..., str]:
    """Give a file as the model to each command that takes one."""

    def run(path: object, **kwargs: object) -> str:
        if request.param == "info":
            return fails("info", str(path), **kwargs)
        return fails("generate", "Once", "-n", "4", "-m", str(path), **kwargs)

    return run


def test_missing_file(with_model: Fails, tmp_path: Path) -> None:
    line = with_model(tmp_path / "nothing.gguf")
    assert "nothing.gguf" in line
    assert "no such file" in line.lower() or "not found" in line.lower() or "no file" in line.lower()


def test_directory(with_model: Fails, tmp_path: Path) -> None:
    line = with_model(tmp_path)
    assert str(tmp_path) in line
    assert "directory" in line or "folder" in line


def test_empty_file(with_model: Fails, tmp_path: Path) -> None:
    path = tmp_path / "empty.gguf"
    path.touch()
    assert "empty" in with_model(path)


def test_wrong_magic(with_model: Fails, tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "magic.gguf"
    path.write_bytes(b"GGML" + tiny_model.read_bytes()[4:4096])
    assert "GGUF" in with_model(path)


def test_text_file(with_model: Fails, tmp_path: Path) -> None:
    path = tmp_path / "readme.gguf"
    path.write_text("This is not a model.\nIt is a text.\n")
    assert "GGUF" in with_model(path)


@pytest.mark.parametrize("size", [4, 8, 24, 100, 4096, -1])
def test_truncated_file(with_model: Fails, tmp_path: Path, tiny_model: Path, size: int) -> None:
    whole = tiny_model.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[:size] if size > 0 else whole[: len(whole) // 2])
    assert str(path) in with_model(path)


def test_unreadable_file(with_model: Fails, tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "secret.gguf"
    path.write_bytes(tiny_model.read_bytes())
    path.chmod(0)
    line = with_model(path, preexec_fn=drop_file_capabilities)
    assert "secret.gguf" in line
    assert "may not be read" in line


def drop_file_capabilities() -> None:
    """Let root's child process obey file modes, so that the test means something for root too."""
    if os.geteuid() == 0:
        drop_from_bounding_set, dac_override, dac_read_search = 24, 1, 2
        prctl = ctypes.CDLL(None).prctl
        for capability in (dac_override, dac_read_search):
            if prctl(drop_from_bounding_set, capability, 0, 0, 0) != 0:
                raise OSError("the process may not drop its capabilities")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-c", "2000000000"], "n_ctx"),
        (["-c", "-5"], "n_ctx"),
        (["-c", "99999999999999999999"], "n_ctx"),
        (["-n", "-7"], "max_tokens"),
        (["--temp", "-1"], "temp"),
        (["--temp", "nan"], "temp"),
        (["--top-p", "7"], "top_p"),
        (["--top-p", "nan"], "top_p"),
        (["--top-k", "-3"], "top_k"),
        (["--min-p", "-0.5"], "min_p"),
        (["--seed", "-9"], "seed"),
        (["--seed", "99999999999999999999"], "seed"),
        (["--threads", "0"], "n_threads"),
        (["--threads", "-4"], "n_threads"),
        (["--threads", "1000000"], "n_threads"),
    ],
)
def test_numbers_out_of_range(fails: Fails, options: list[str], said: str) -> None:
    assert said in fails("generate", "Once", *options)


@pytest.mark.parametrize("option", ["--device", "--rpc"])
def test_a_variable_that_is_not_set(fails: Fails, option: str) -> None:
    assert fails("generate", "Once", option, "").endswith(f"{option} names nothing: ''")
    assert fails("generate", "Once", option, " ,").endswith(f"{option} names nothing: ' ,'")


def test_other_files_than_the_right_ones(fails: Fails, tmp_path: Path, tiny_model: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("hi\n")
    assert fails("perplexity", str(tiny_model)).startswith(
        f"llama-ffi: error: {tiny_model}: is a model (GGUF)"
    )
    assert "is a model (GGUF)" in fails("tokenize", "-f", str(tiny_model))
    assert (
        fails("tokenize", "-f", "no such file") == "llama-ffi: error: no such file: No such file or directory"
    )
    assert fails("tokenize", "-f", str(tmp_path)).endswith(f"{tmp_path}: Is a directory")
    for action in ("show", "verify"):
        assert fails("state", action, str(text)).startswith(f"llama-ffi: error: {text}: not a state file")


def test_a_prompt_longer_than_the_context(fails: Fails) -> None:
    line = fails("generate", "word " * 600, "-c", "256")
    assert "256" in line
    assert "token" in line


def test_a_prompt_that_is_not_utf8(fails: Fails) -> None:
    done = subprocess.run(
        [os.fsencode(sys.executable), b"-m", b"llama_ffi", b"generate", b"caf\xe9"],
        capture_output=True,
        timeout=60,
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 1, done.stderr
    assert len(lines) == 1
    assert b"internal error" not in lines[0]


def test_a_library_that_is_not_one(fails: Fails, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.so"
    assert "nothing.so" in fails("info", env={"LLAMA_FFI_LIB": str(nothing)})
    nothing.write_text("not a library")
    assert "nothing.so" in fails("generate", "x", env={"LLAMA_FFI_LIB": str(nothing)})


def test_a_full_disk(llama: Run) -> None:
    with open("/dev/full", "w") as full:
        done = llama("generate", "Once", "-n", "4", "--seed", "1", stdout=full)
        assert done.returncode == 1
        assert "No space left" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert llama("--version", stdout=full).returncode == 1


def test_a_closed_output(llama: Run) -> None:
    done = llama("generate", "Once", stdout=None, preexec_fn=lambda: os.close(1))
    assert done.returncode == 1
    assert done.stderr == "llama-ffi: error: standard output is closed\n"


def test_a_reader_that_goes_away_ends_it_silently() -> None:
    program = f"{sys.executable} -m llama_ffi generate Once --seed 1 -n 200"
    script = f"{program} | head -c 5; status=${{PIPESTATUS[0]}}; echo; echo $status"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "141"


def test_a_traceback_for_those_who_ask(llama: Run) -> None:
    done = llama("generate", "x", "-m", "/nowhere.gguf", env={"LLAMA_FFI_TRACEBACK": "1"})
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("llama-ffi: error: ")


@pytest.mark.parametrize("option", [[], ["-p"]])
def test_bytes_that_are_not_utf8_are_named(fails: Fails, option: list[str]) -> None:
    line = fails("generate", *option, os.fsdecode(b"caf\xc3\xa9 \xff"), "-n", "1")
    assert "the prompt isn't UTF-8: the byte 0xff at byte 6" in line
    assert "errors=" not in line
