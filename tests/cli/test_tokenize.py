"""`llama-ffi tokenize`: pieces, ids, counts, and back; text from anywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import llama_ffi as lf
from tests.cli.conftest import Run

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def vocab() -> lf.Vocab:
    return lf.Model.load(lf.tiny_model_path(), vocab_only=True).vocab


def test_one_line_per_token(llama: Run, vocab: lf.Vocab) -> None:
    done = llama("tokenize", "Once upon ü\n")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [int(line.split()[0]) for line in lines] == vocab.tokenize("Once upon ü\n")
    assert lines[0].endswith("'<s>'")
    assert lines[1].endswith("' Once'")
    assert "'\\xc3'" in done.stdout
    assert lines[-1].endswith("'\\n'")


def test_ids_and_counts(llama: Run, vocab: lf.Vocab) -> None:
    ids = vocab.tokenize("Once upon a time")
    assert json.loads(llama("tokenize", "--ids", "Once upon a time").stdout) == ids
    assert int(llama("tokenize", "--count", "-p", "Once upon a time").stdout) == len(ids)
    assert json.loads(llama("tokenize", "--ids", "--no-bos", "Once upon a time").stdout) == ids[1:]


def test_special_tokens_only_when_asked_for(llama: Run, vocab: lf.Vocab) -> None:
    assert vocab.eot not in json.loads(llama("tokenize", "--ids", "<|im_end|>").stdout)
    assert vocab.eot in json.loads(llama("tokenize", "--ids", "--parse-special", "<|im_end|>").stdout)


def test_text_from_a_file_and_from_a_pipe(llama: Run, tmp_path: Path, vocab: lf.Vocab) -> None:
    file = tmp_path / "text"
    data = "Grüße\0\r\n".encode() + b"\xff"
    file.write_bytes(data)
    assert json.loads(llama("tokenize", "--ids", "-f", str(file)).stdout) == vocab.tokenize(data)
    command = [sys.executable, "-m", "llama_ffi", "tokenize", "--ids"]
    done = subprocess.run(command, input=data, capture_output=True)
    assert json.loads(done.stdout) == vocab.tokenize(data)


@pytest.mark.parametrize("form", ["1 1322 2049", "1,1322,2049", "[1, 1322, 2049]", " 1\n1322\t2049 "])
def test_back_to_text(llama: Run, form: str) -> None:
    assert llama("tokenize", "--decode", form).stdout == "<s> Once upon\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--decode", "1 x"], "takes token ids such as"),
        (["--decode", "99999"], "the ids 0 to"),
        (["-f", "no-such-file"], "no-such-file"),
        (["hi", "-m", "no-such-model"], "no-such-model"),
    ],
)
def test_mistakes_are_one_line(llama: Run, arguments: list[str], words: str) -> None:
    done = llama("tokenize", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert "internal" not in done.stderr
