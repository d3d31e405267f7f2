"""Commands of workflows and images: found in their text, and tried up to where their arguments are read.

    python -m tests.release.commands < a JSON list of [module, argument, …]

prints a JSON list with "" for each whose arguments its parser takes, or what it says against them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import re
import runpy
import shlex
import sys
from typing import Any

WORDS_BEFORE = ("sudo", "exec")


def lines(script: str) -> list[list[str]]:
    """Return the simple commands of a shell script."""
    joined = script.replace("\\\n", " ")
    found: list[list[str]] = []
    for line in joined.splitlines():
        command: list[str] = []
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
        lexer.whitespace_split = True
        for word in lexer:
            if set(word) <= set("&|;"):
                found.append(command)
                command = []
            else:
                command.append(word)
        found.append(command)
    return [command for command in found if command]


def expanded(text: str, matrix: dict[str, Any]) -> list[str]:
    """Return a text for every combination of a job's matrix that it speaks of."""
    names = list(dict.fromkeys(re.findall(r"\$\{\{ *matrix\.([a-z_]+) *\}\}", text)))
    entries = matrix.get("include")
    if entries:
        choices = [
            tuple(entry[name] for name in names) for entry in entries if all(n in entry for n in names)
        ]
    else:
        choices = list(itertools.product(*(matrix[name] for name in names)))
    texts = []
    for choice in dict.fromkeys(choices):
        result = text
        for name, value in zip(names, choice, strict=True):
            result = re.sub(r"\$\{\{ *matrix\." + name + r" *\}\}", str(value), result)
        texts.append(result)
    return texts


def module_call(command: list[str]) -> list[str] | None:
    """Return (module, arguments …) of a command that runs one of Python's modules, None for another."""
    while command and command[0] in WORDS_BEFORE:
        command = command[1:]
    if command[:1] == ["llama-ffi"]:
        return ["llama_ffi", *command[1:]]
    if command[:1] in (["python"], ["python3"]) and command[1:2] == ["-m"]:
        return command[2:]
    return None


class _Parsed(BaseException):  # nobody catches it on its way
    pass


def tried(module: str, arguments: list[str]) -> str:
    """Return "" if the arguments of a module's command line parse, else what is said against them."""
    real = argparse.ArgumentParser.parse_known_args
    depth = 0

    def parse(parser: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> Any:
        nonlocal depth
        depth += 1
        try:
            found, rest = real(parser, args, namespace)
        finally:
            depth -= 1
        if depth > 0:  # of a subcommand
            return found, rest
        if rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        raise _Parsed

    before = sys.argv
    said = io.StringIO()
    argparse.ArgumentParser.parse_known_args = parse  # type: ignore[method-assign, assignment]
    sys.argv = [module, *arguments]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except _Parsed:
        return ""
    except SystemExit as error:
        return f"status {error.code}: {said.getvalue()[-500:]}"
    except ImportError as error:
        return str(error)
    finally:
        argparse.ArgumentParser.parse_known_args = real  # type: ignore[method-assign]
        sys.argv = before
    return f"no arguments were read: {said.getvalue()[-500:]}"


if __name__ == "__main__":
    print(json.dumps([tried(module, rest) for module, *rest in json.load(sys.stdin)]))
