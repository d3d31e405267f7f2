"""The command line, `llama-ffi COMMAND …`: argument parsing, errors and exit statuses.

A command is one module of this package with `add_arguments(parser)` and `run(args) -> int`. Only the
module of the command that was asked for is imported, and a command imports the rest of `llama_ffi` when
it runs, so that `--help` and a mistyped option answer at once and open no library.

What a user sees when something is wrong is *one line* on stderr. Statuses: 0 done, 1 it failed,
2 the command line is wrong, 130 interrupted by Ctrl-C, 141 nobody reads the output any more.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from .text import one_line

# Name -> the line that `llama-ffi --help` shows.
COMMANDS = {
    "generate": "write a continuation of a prompt",
    "chat": "talk with a model",
    "tokenize": "show how a model cuts text into tokens",
    "state": "look at state files, and look after a store of them",
    "bind": "make bindings for another version or a fork of llama.cpp",
    "build": "compile a back end for this installation",
    "doctor": "look at the installation and say what is wrong with it",
    "perplexity": "measure how well a model predicts a text",
    "embed": "turn texts into vectors, or sort documents by a query",
    "quantize": "write a model file with its weights in a smaller type",
    "rpc-worker": "lend this machine's devices to models of other processes",
    "info": "show the library that is used, its devices, and a model's metadata",
}

TAKE_TEXT = ("generate", "tokenize", "perplexity")
"""commands whose argument is one text, which people type without quotes"""

FAILED = 1
USAGE = 2
INTERRUPTED = 128 + 2  # SIGINT, as a shell counts it
BROKEN_PIPE = 128 + 13  # SIGPIPE


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line: the usage text is behind `--help`."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {one_line(message)} (see `{self.prog} --help`)\n")

    def parse_args(self, argv: Any = None, namespace: Any = None) -> Any:
        """Parse; what isn't understood is an error of the command that was given, not of the whole."""
        args, rest = self.parse_known_args(argv, namespace)
        if rest:
            parser: Parser = getattr(args, "parser", self)
            parser.error(f"unrecognized arguments: {' '.join(rest)}{parser.meant(rest)}")
        return args

    def meant(self, rest: Sequence[str]) -> str:
        """Return what may help with arguments that aren't understood."""
        option = next((each for each in rest if each.startswith("-")), None)
        if option is None:
            return "; a text of several words takes quotes" if self.get_default("takes_text") else ""
        from difflib import get_close_matches

        near = get_close_matches(option.partition("=")[0], list(self._option_string_actions), 1, 0.65)
        return f"; did you mean {near[0]}?" if near else ""


def build_parser(argv: Sequence[str]) -> Parser:
    """Return the parser; only commands that occur in `argv` get their arguments."""
    parser = Parser(prog="llama-ffi", description="llama.cpp from Python and from the command line.")
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary.capitalize() + ".")
        if name in argv:
            module = importlib.import_module(f".{name.replace('-', '_')}", __name__)
            module.add_arguments(command)
            command.set_defaults(run=module.run, parser=command, takes_text=name in TAKE_TEXT)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        argv: the arguments without the program's name; None = those of the process.

    Threads: call it from the main thread, where Ctrl-C arrives.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        try:
            if sys.stdout is None:
                raise OSError("standard output is closed")
            status = dispatch(argv)
        except SystemExit as exit_request:  # argparse: after --help (0) and after a mistake (2)
            status = exit_request.code if isinstance(exit_request.code, int) else FAILED
        sys.stdout.flush()  # here, where a full disk or a closed pipe is still an error we can report
        return status
    except KeyboardInterrupt:
        return interrupted()
    except BrokenPipeError:
        discard_output()
        return BROKEN_PIPE
    except Exception as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            return (
                interrupted()
            )  # Python before 3.12 wraps what is raised while a class is made, as imports do
        flush_or_discard()
        report(error)
        return FAILED


def interrupted() -> int:
    """End the output after Ctrl-C and return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends the process at once
    end_line()
    discard_output()
    return INTERRUPTED


def dispatch(argv: Sequence[str]) -> int:
    """Parse and run; everything that goes wrong leaves as an exception."""
    parser = build_parser(argv)
    args = parser.parse_args(argv)
    if args.version:
        from llama_ffi import __version__

        print(f"llama-ffi {__version__}")
        return 0
    if args.command is None:
        parser.error(f"no command given, expected one of: {', '.join(COMMANDS)}")
    if hasattr(sys.stdout, "reconfigure"):
        # A terminal that can't show a character gets "?", not the end of the program.
        sys.stdout.reconfigure(errors="replace")
    return int(args.run(args))


def report(error: Exception) -> None:
    """Write the one line about `error`; a defect of ours is named as one."""
    if sys.stderr is None:
        return
    from llama_ffi.errors import LlamaError

    if isinstance(error, (LlamaError, OSError)):
        message = str(error) or type(error).__name__
        if not isinstance(error, LlamaError) and error.strerror:  # without "[Errno 2]" and quotes
            named = isinstance(error.filename, str | bytes)
            message = f"{os.fsdecode(error.filename)}: {error.strerror}" if named else error.strerror
    else:
        message = f"internal error: {type(error).__name__}: {error} (LLAMA_FFI_TRACEBACK=1 shows where)"
    if os.environ.get("LLAMA_FFI_TRACEBACK", "0") not in ("", "0"):
        import traceback

        traceback.print_exception(error)
    try:
        sys.stderr.write(f"llama-ffi: error: {one_line(message)}\n")
    except OSError:
        pass  # nobody left to tell


def flush_or_discard() -> None:
    """Write what was printed before an error, if it can still be written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        discard_output()


def end_line() -> None:
    """Put the shell's prompt on a line of its own, on a terminal only."""
    try:
        if sys.stdout is not None and sys.stdout.isatty():
            os.write(sys.stdout.fileno(), b"\n")
    except (OSError, ValueError):
        pass  # the terminal is gone


def discard_output() -> None:
    """Send what stdout still buffers nowhere: the interpreter's own flush at exit would fail, or block."""
    try:
        target = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        return  # closed, or replaced by something that is not a file
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, target)
    os.close(nowhere)
