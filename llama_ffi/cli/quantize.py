"""`llama-ffi quantize`: write a model file with its weights in a smaller type."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .text import printable, size

if TYPE_CHECKING:
    from llama_ffi import QuantizedTensor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="INPUT", help="the GGUF file; of a split model the first part")
    parser.add_argument("output", nargs="?", metavar="OUTPUT", help="the file to write")
    parser.add_argument("type", metavar="TYPE", help="q4_k_m, q8_0, iq3_s, f16, copy …")
    parser.add_argument("-t", "--threads", type=int, metavar="N", help="threads (default: one per processor)")
    parser.add_argument("--dry-run", action="store_true", help="write nothing, show what would be written")
    parser.add_argument("--imatrix", metavar="FILE", help="importance matrix, GGUF or the older format")
    parser.add_argument(
        "--include-weights", metavar="NAME", action="append", default=[], help="use it for these weights only"
    )
    parser.add_argument(
        "--exclude-weights",
        metavar="NAME",
        action="append",
        default=[],
        help="don't use it for these weights",
    )
    parser.add_argument("--output-tensor-type", metavar="TYPE", help="type of output.weight")
    parser.add_argument("--token-embedding-type", metavar="TYPE", help="type of the token embeddings")
    parser.add_argument(
        "--tensor-type",
        metavar="REGEX=TYPE",
        type=pair,
        action="append",
        default=[],
        help="type of the tensors whose names match; several times",
    )
    parser.add_argument(
        "--override-kv",
        metavar="KEY=TYPE:VALUE",
        type=override,
        action="append",
        default=[],
        help="set metadata; TYPE is int, float, bool or str",
    )
    parser.add_argument(
        "--prune-layers", metavar="N,N…", type=numbers, default=[], help="leave these layers out"
    )
    parser.add_argument("--allow-requantize", action="store_true", help="quantize quantized tensors again")
    parser.add_argument("--leave-output-tensor", action="store_true", help="keep output.weight as it is")
    parser.add_argument("--pure", action="store_true", help="the same type for every tensor")
    parser.add_argument("--keep-split", action="store_true", help="write as many files as there are")
    parser.add_argument("--max-buffer-size", type=int, default=0, metavar="MIB", help="default: 8192")


def pair(text: str) -> tuple[str, str]:
    """Split `REGEX=TYPE` at the last sign: a regular expression may hold one."""
    pattern, sign, kind = text.rpartition("=")
    if not sign or not pattern or not kind:
        raise argparse.ArgumentTypeError(f"{text!r} is not REGEX=TYPE")
    return pattern, kind


def override(text: str) -> tuple[str, bool | int | float | str]:
    """Read `KEY=TYPE:VALUE`."""
    key, _, rest = text.partition("=")
    kind, colon, value = rest.partition(":")
    try:
        if key and colon and kind == "bool" and value in ("true", "false"):
            return key, value == "true"
        if key and colon and kind in ("int", "float", "str"):
            return key, {"int": int, "float": float, "str": str}[kind](value)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not KEY=TYPE:VALUE")


def numbers(text: str) -> list[int]:
    """Read numbers with commas between them."""
    try:
        return [int(each) for each in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of layers such as 3,7") from None


def run(args: argparse.Namespace) -> int:
    import llama_ffi

    matrix = None
    if args.imatrix is not None:
        matrix = llama_ffi.ImportanceMatrix.load(args.imatrix)
        matrix = matrix.select(include=args.include_weights, exclude=args.exclude_weights)
    elif args.include_weights or args.exclude_weights:
        raise llama_ffi.errors.InvalidArgumentError("--include-weights and --exclude-weights need --imatrix")
    terminal = sys.stderr is not None and sys.stderr.isatty()
    try:
        result = llama_ffi.quantize(
            args.input,
            args.output,
            args.type,
            n_threads=args.threads,
            output_tensor_type=args.output_tensor_type,
            token_embedding_type=args.token_embedding_type,
            tensor_types=dict(args.tensor_type),
            allow_requantize=args.allow_requantize,
            quantize_output_tensor=not args.leave_output_tensor,
            pure=args.pure,
            keep_split=args.keep_split,
            imatrix=matrix,
            kv_overrides=dict(args.override_kv),
            prune_layers=args.prune_layers,
            max_buf_size=args.max_buffer_size * 1024 * 1024,
            dry_run=args.dry_run,
            progress=show if terminal else None,
        )
    finally:
        if terminal:
            sys.stderr.write("\r\033[K")
    show_types(result.tensors.values())
    for each in result.warnings:
        print(printable(each))
    words = "would write" if args.dry_run else "wrote"
    print(
        f"{words} {size(result.size_after)} for {size(result.size_before)}, "
        f"{result.bits_per_weight:.2f} bits per weight"
    )
    for path in result.paths:
        print(printable(path))
    return 0


def show(done: float) -> None:
    """Draw the progress on the terminal's line."""
    sys.stderr.write(f"\r{done:4.0%}")
    sys.stderr.flush()


def show_types(tensors: Iterable[QuantizedTensor]) -> None:
    """Print how many tensors went from which type to which."""
    counts: dict[tuple[str, str], int] = {}
    for tensor in tensors:
        key = (tensor.type_before, tensor.type_after)
        counts[key] = counts.get(key, 0) + 1
    for (before, after), count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{count:5} tensors  {before} → {after}" if before != after else f"{count:5} tensors  {before}")
