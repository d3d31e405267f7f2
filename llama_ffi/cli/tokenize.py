"""`llama-ffi tokenize`: show how a model cuts text into tokens, and turn ids back into text."""

from __future__ import annotations

import argparse
import os
import sys

from .sampling import add_model
from .text import printable, read_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("text", nargs="?", metavar="TEXT", help="the text (default: standard input)")
    source.add_argument("-p", "--prompt", metavar="TEXT", help="the same; --prompt=-x if it begins with '-'")
    source.add_argument("-f", "--file", metavar="FILE", help="read the text from a file")
    source.add_argument(
        "--decode", metavar="IDS", help="turn ids into text instead: '1 2 3', '1,2,3' or '[1, 2, 3]'"
    )
    add_model(parser)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--ids", action="store_true", help="print the ids as a list")
    shape.add_argument("--count", action="store_true", help="print how many tokens there are")
    parser.add_argument("--no-bos", action="store_true", help="put no special tokens around the text")
    parser.add_argument("--parse-special", action="store_true", help="recognise special tokens in the text")


def run(args: argparse.Namespace) -> int:
    import llama_ffi

    data = None if args.decode is not None else read(args)
    ids = parse_ids(args.decode) if args.decode is not None else []
    path = llama_ffi.tiny_model_path() if args.model is None else args.model
    with llama_ffi.Model.load(path, vocab_only=True) as model:
        vocab = model.vocab
        if data is None:
            sys.stdout.write(vocab.detokenize(ids) + "\n")
            return 0
        tokens = vocab.tokenize(data, add_special=not args.no_bos, parse_special=args.parse_special)
        if args.count:
            print(len(tokens))
        elif args.ids:
            print(tokens)
        else:
            for token in tokens:
                print(f"{token:>7}  {shown(vocab.piece(token))}")
    return 0


def read(args: argparse.Namespace) -> bytes:
    """Return the text as bytes: what comes from outside may be no UTF-8."""
    if args.file is not None:
        return read_file(args.file)
    given: str | None = args.text if args.text is not None else args.prompt
    return sys.stdin.buffer.read() if given is None else os.fsencode(given)


def parse_ids(text: str) -> list[int]:
    """Return the ids that `--decode` was given.

    Raises:
        InvalidArgumentError: something else than numbers.
    """
    from llama_ffi.errors import InvalidArgumentError

    words = text.strip().removeprefix("[").removesuffix("]").replace(",", " ").split()
    try:
        return [int(word) for word in words]
    except ValueError:
        raise InvalidArgumentError(f"--decode takes token ids such as '1 2 3', not {text!r:.60}") from None


def shown(piece: bytes) -> str:
    """Return a piece in quotes; bytes that are no text by themselves as \\xNN."""
    text = piece.decode("utf-8", "backslashreplace")
    return f"'{printable(text)}'"
