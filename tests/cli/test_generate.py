"""`llama-ffi generate` on the model that ships: what it writes, when, and what it leaves alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.model

Run = Callable[..., "subprocess.CompletedProcess[str]"]
PROMPT = "Once upon a time"
SEEDED = ("generate", PROMPT, "-n", "32", "--seed", "7")


def test_it_works_with_no_options_at_all(llama: Run) -> None:
    done = llama("generate", PROMPT)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith(PROMPT)
    assert done.stdout.endswith("\n")
    assert len(done.stdout.split()) > 20


def test_it_works_with_no_prompt_at_all(llama: Run) -> None:
    done = llama("generate")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 5


def test_a_seed_makes_it_repeatable_and_no_seed_does_not(llama: Run) -> None:
    first = llama(*SEEDED).stdout
    assert llama(*SEEDED).stdout == first
    assert llama("generate", PROMPT, "-n", "32", "--seed", "8").stdout != first
    assert len({llama("generate", PROMPT, "-n", "32").stdout for _ in range(3)}) > 1


def test_greedy_ignores_the_seed(llama: Run) -> None:
    texts = {llama("generate", PROMPT, "-n", "24", "--temp", "0", "--seed", s).stdout for s in "12"}
    assert len(texts) == 1


def test_the_prompt_can_be_an_option_and_can_be_hidden(llama: Run) -> None:
    shown = llama(*SEEDED).stdout
    assert llama("generate", "-p", PROMPT, *SEEDED[2:]).stdout == shown
    hidden = llama(*SEEDED, "--no-display-prompt").stdout
    assert PROMPT + hidden == shown


def test_a_prompt_that_begins_with_a_dash(llama: Run) -> None:
    done = llama("generate", "--prompt=- Tom", "-n", "4", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("- Tom")


def test_n_tokens(llama: Run, tiny_model: Path) -> None:
    import llama_ffi

    nothing = llama("generate", PROMPT, "-n", "0")
    assert (nothing.returncode, nothing.stdout) == (0, PROMPT + "\n")
    five = llama("generate", PROMPT, "-n", "5", "--temp", "0", "--no-display-prompt").stdout
    with llama_ffi.Model.load(tiny_model) as model:
        expected = "".join(llama_ffi.generate(PROMPT, model=model, max_tokens=5, temp=0))
    assert five.rstrip("\n") == expected.rstrip("\n")


def test_the_options_reach_the_sampler(llama: Run) -> None:
    greedy = llama("generate", PROMPT, "-n", "24", "--temp", "0").stdout
    hot = ("generate", PROMPT, "-n", "24", "--seed", "3", "--temp", "1.5")
    off = ("--top-k", "0", "--top-p", "1", "--min-p", "0")
    free = llama(*hot, *off).stdout
    assert free != greedy
    assert llama(*hot, "--top-k", "1", "--top-p", "1", "--min-p", "0").stdout == greedy
    assert llama(*hot, "--top-k", "0", "--top-p", "0.0001", "--min-p", "0").stdout == greedy
    assert llama(*hot, "--top-k", "0", "--top-p", "1", "--min-p", "1").stdout == greedy


def test_a_model_can_be_named(llama: Run, tiny_model: Path) -> None:
    assert llama(*SEEDED, "-m", str(tiny_model)).stdout == llama(*SEEDED).stdout


def test_text_comes_as_it_is_made(tiny_model: Path) -> None:
    """Each piece is a write of its own: the first is there while the process still works."""
    command = [sys.executable, "-m", "llama_ffi", "generate", PROMPT, "-n", "200", "--temp", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        chunks = []
        while chunk := os.read(process.stdout.fileno(), 1 << 16):
            chunks.append(chunk)
            time.sleep(0.0005)
    assert process.returncode == 0
    assert len(chunks) > 10


def test_it_never_imports_numpy() -> None:
    program = (
        "import sys; from llama_ffi.cli import main; "
        f"status = main(['generate', {PROMPT!r}, '-n', '20', '--seed', '1']); "
        "bad = [m for m in sys.modules if m.split('.')[0] in ('numpy', 'cffi', 'pycparser')]; "
        "assert not bad, bad; sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(PROMPT)


def test_it_needs_no_utf8_terminal(llama: Run) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    assert (
        llama("tokenize", "Grüße", "--ids", env=ascii_only).stdout
        == llama("tokenize", "Grüße", "--ids").stdout
    )
    done = llama("generate", "Grüße 😀", "-n", "4", "--seed", "1", env=ascii_only)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Gr??e ?")


def test_any_text_is_a_prompt(llama: Run) -> None:
    for prompt in ("", " ", "\n", "😀", "中文 и русский", "a" * 100, "</s> <s> [INST]"):
        done = llama("generate", "-p", prompt, "-n", "3", "--seed", "1")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(prompt)


def test_the_form_of_the_text(llama: Run, tmp_path: Path) -> None:
    schema = '{"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]'
    schema += ', "additionalProperties": false}'
    files = {"schema.json": schema, "x.gbnf": 'root ::= "yes" | "no"', "x.lark": 'start: "a" "b"'}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    for options, pattern in {
        ("--json-schema", schema): r'\{\s*"n"\s*:\s*[12]\s*\}',
        ("--json-schema", str(tmp_path / "schema.json")): r'\{\s*"n"\s*:\s*[12]\s*\}',
        ("--grammar", str(tmp_path / "x.gbnf")): "yes|no",
        ("--lark", str(tmp_path / "x.lark")): "ab",
        ("--regex", "[xyz]{3}"): "[xyz]{3}",
    }.items():
        done = llama("generate", PROMPT, "--no-display-prompt", "-n", "200", "-s", "1", *options)
        assert re.fullmatch(pattern, done.stdout.strip()), (options, done.stdout, done.stderr)


def test_a_form_that_can_not_be(fails: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff")
    assert "--json-schema: 'missing.json' can't be read: No such file" in fails(
        "generate", "--json-schema", "missing.json"
    )
    assert "utf-8" in fails("generate", "--lark", str(tmp_path / "x"))
    assert "isn't JSON" in fails("generate", "--json-schema", "{nothing")
    assert "invalid regex" in fails("generate", "--regex", "((")
    assert "not allowed with" in fails("generate", "--regex", "a", "--grammar", "b", status=2)


def test_layers_by_memory(llama: Run) -> None:
    done = llama("generate", "Once upon a time", "-n", "4", "--temp", "0", "--n-gpu-layers", "auto")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.strip()
    wrong = llama("generate", "x", "--n-gpu-layers", "most")
    assert wrong.returncode == 2 and "--n-gpu-layers" in wrong.stderr
