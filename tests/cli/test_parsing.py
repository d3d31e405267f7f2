"""What the command line says before it does anything: help, version, mistakes in typing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

import llama_ffi
from llama_ffi.cli import COMMANDS, main
from llama_ffi.cli.text import one_line, printable, shorten, size

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Fails = Callable[..., str]


def test_version(llama: Run) -> None:
    done = llama("--version")
    assert done.returncode == 0
    assert done.stdout == f"llama-ffi {llama_ffi.__version__}\n"
    assert done.stderr == ""


def test_help_names_every_command(llama: Run) -> None:
    done = llama("--help")
    assert done.returncode == 0
    assert done.stderr == ""
    for name, summary in COMMANDS.items():
        assert name in done.stdout
        assert summary in " ".join(done.stdout.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(llama: Run, command: str) -> None:
    done = llama(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: llama-ffi {command}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], f"no command given, expected one of: {', '.join(COMMANDS)}"),
        (["sing"], "invalid choice: 'sing'"),
        (["--loud"], "--loud"),
        (["generate", "--loud"], "--loud"),
        (["generate", "a", "b"], "unrecognized arguments: b"),
        (["generate", "-n"], "expected one argument"),
        (["generate", "-n", "many"], "invalid int value: 'many'"),
        (["generate", "--temp", "hot"], "invalid float value: 'hot'"),
        (["generate", "-n", "1.5"], "invalid int value: '1.5'"),
        (["generate", "one", "-p", "two"], "not allowed with"),
        (
            ["generate", "Once", "upon"],
            "upon; a text of several words takes quotes (see `llama-ffi generate --help`)",
        ),
        (
            ["generate", "--temprature=1"],
            "--temprature=1; did you mean --temp? (see `llama-ffi generate --help`)",
        ),
        (["generate", "--nothing-like-it"], "--nothing-like-it (see `llama-ffi generate --help`)"),
        (
            ["generate", "--n-gpu-layers", "many"],
            "argument --n-gpu-layers: 'many' is neither a number nor auto",
        ),
        (
            ["state", "list", "-s", "x", "--ownr", "me"],
            "did you mean --owner? (see `llama-ffi state list --help`)",
        ),
        (["info", "a", "b"], "unrecognized arguments: b (see `llama-ffi info --help`)"),
        (["generate", "--\nloud"], "--; loud"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(fails: Fails, arguments: list[str], said: str) -> None:
    assert said in fails(*arguments, status=2)


def test_parsing_opens_no_library() -> None:
    program = (
        "import sys; from llama_ffi.cli import main; main(['generate', '--help']); main(['--version']);"
        "bad = [m for m in sys.modules if m in ('numpy', 'cffi', 'pycparser', '_cffi_backend')]; "
        "assert not bad, bad; "
        "assert 'libllama' not in open('/proc/self/maps').read() if sys.platform == 'linux' else True"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_main_takes_arguments_and_returns_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert main(["nothing"]) == 2
    captured = capsys.readouterr()
    assert captured.out.startswith("llama-ffi ")
    assert "invalid choice" in captured.err


def test_text_for_terminals() -> None:
    assert one_line("a\n  b\r\n\nc") == "a; b; c"
    assert printable("\x1b[31m\t\u202e") == "\\x1b[31m\\t\\u202e"
    assert printable("grüße 😀") == "grüße 😀"
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"
    assert [size(n) for n in (0, 1023, 1536, 5 << 20, 3 << 40)] == [
        "0 B", "1023 B", "1.5 KiB", "5.0 MiB", "3.0 TiB",
    ]  # fmt: skip
