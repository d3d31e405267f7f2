"""`llama-ffi embed`: texts as vectors, one JSON list per line."""

from __future__ import annotations

import argparse
import json

from .text import utf8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="a text; with --rerank a document")
    parser.add_argument("-m", "--model", metavar="FILE", required=True, help="a GGUF file")
    parser.add_argument("--pooling", choices=("mean", "cls", "last"), help="default: as the model says")
    parser.add_argument("--no-normalize", action="store_true", help="leave the vectors' lengths as they are")
    parser.add_argument("--truncate", action="store_true", help="cut texts that are too long for the model")
    parser.add_argument("--rerank", metavar="QUERY", help="print scores and documents instead, best first")
    parser.add_argument("-b", "--batch-size", type=int, default=512, metavar="N", help="tokens per call")
    parser.add_argument("-t", "--threads", type=int, metavar="N", help="CPU threads (default: the cores)")


def run(args: argparse.Namespace) -> int:
    import llama_ffi

    options = {"n_batch": args.batch_size, "n_threads": args.threads}
    texts = [utf8(text, f"text {number}") for number, text in enumerate(args.texts, 1)]
    if args.rerank is not None:
        for each in llama_ffi.rerank(args.model, utf8(args.rerank, "the query"), texts, **options):
            print(json.dumps({"score": each.score, "document": texts[each.document]}, ensure_ascii=False))
        return 0
    vectors = llama_ffi.embed(
        args.model,
        texts,
        pooling=args.pooling,
        normalize=not args.no_normalize,
        truncate=args.truncate,
        **options,
    )
    for row in vectors:
        print(json.dumps([round(float(value), 7) for value in row]))
    return 0
