"""Schemas, expressions and grammars that want too much: what becomes of each, found out in a child process.

    python -m tests.structured.hostile NAME…

prints a line for each: its name, the processor's seconds, and "fine" or "refused" with the error. Anything
else that happens is a defect.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import llama_ffi as lf
from llama_ffi import testing

MEMORY = 8 << 30
"""Bytes of address space: stacks of a thousand megabytes are reserved, not used."""

STEPS = 40
"""Tokens that are sampled from what is accepted."""

Make = Callable[["lf.Vocab"], lf.Sampler]


def schema(value: Any) -> Make:
    return lambda vocab: lf.Sampler.json_schema(vocab, value() if callable(value) else value)


def regex(pattern: str) -> Make:
    return lambda vocab: lf.Sampler.regex(vocab, pattern)


def lark(grammar: str) -> Make:
    return lambda vocab: lf.Sampler.lark(vocab, grammar)


def nested(depth: int) -> str:
    """Return a schema of objects in objects, as JSON."""
    return '{"type":"object","properties":{"a":' * depth + '{"type":"null"}' + "}}" * depth


def nested_dict(depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for _ in range(depth):
        result = {"items": result}
    return result


def shared(depth: int) -> dict[str, Any]:
    """Return some dicts that hold each other twice: small here, endless as JSON."""
    result: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        result = {"anyOf": [result, result]}
    return result


def circle() -> dict[str, Any]:
    result: dict[str, Any] = {}
    result["items"] = result
    return result


def chain(length: int, link: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Return definitions, each of which refers to the next."""
    parts = {f"{n}": link(f"#/$defs/{n + 1}") for n in range(length)}
    return {"$defs": {**parts, f"{length}": {"type": "null"}}, "$ref": "#/$defs/0"}


def referring(target: str) -> dict[str, Any]:
    return {"$ref": target}


def holding(target: str) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": {"$ref": target}}, "required": ["a"]}


def twice(target: str) -> dict[str, Any]:
    return {"allOf": [{"$ref": target}, {"$ref": target}]}


def rules(length: int) -> str:
    """Return a Lark grammar of rules that each are the next one."""
    names = [f"a{n:x}" for n in range(length)]
    return "start:a0\n" + "\n".join(f"{a}:{b}" for a, b in pairwise(names)) + f'\n{names[-1]}:"x"'


def broken_class() -> type:
    class Model:
        @classmethod
        def model_json_schema(cls) -> dict[str, Any]:
            return {"type": "object", "properties": {1: {}, (2, 3): {}}}

    return Model


ALTERNATIVES = [
    {"anyOf": [{"properties": {f"a{n}": {"type": "integer"}}}, {"properties": {f"b{n}": {"type": "null"}}}]}
    for n in range(24)
]

CASES: dict[str, Make] = {
    # what is no schema
    "a list": schema([1, 2]),
    "a number": schema(5),
    "text that is no JSON": schema("{nothing"),
    "JSON that is no schema": schema("[1]"),
    "no text at all": schema(""),
    "bytes that are no UTF-8": schema(b"\xff{}"),
    "a lone surrogate": schema({"const": "\ud800"}),
    "a lone surrogate in JSON": schema('{"const": "\\ud800"}'),
    "NaN": schema({"type": "number", "minimum": float("nan")}),
    "NaN in JSON": schema('{"type": "number", "minimum": NaN}'),
    "infinity": schema({"const": float("inf")}),
    "1e999": schema('{"type": "number", "maximum": 1e999}'),
    "numbers of 300 digits": schema({"type": "integer", "minimum": -(10**300), "maximum": 10**300}),
    "numbers of 5000 digits": schema('{"const": ' + "9" * 5000 + "}"),
    "a set": schema({"enum": {1, 2}}),
    "names that are no text": schema({"properties": {(1, 2): {}}}),
    "a class with a wrong schema": schema(broken_class),
    "a length of 1e30": schema({"type": "string", "maxLength": 10**30}),
    "a negative length": schema({"type": "string", "maxLength": -1}),
    "keywords of wrong types": schema({"type": 5, "properties": [], "required": "a", "enum": 7}),
    "an unknown type": schema({"type": "thing"}),
    "an unknown format": schema({"type": "string", "format": "thing"}),
    "a keyword that isn't supported": schema({"type": "array", "uniqueItems": True}),
    # what nothing satisfies
    "false": schema(False),
    "no values": schema({"enum": []}),
    "no number": schema({"type": "integer", "minimum": 5, "maximum": 3}),
    "only itself": schema({"$ref": "#"}),
    "all of itself": schema({"allOf": [{"$ref": "#"}]}),
    "two that are each other": schema(
        {"$defs": {"a": referring("#/$defs/b"), "b": referring("#/$defs/a")}, **referring("#/$defs/a")}
    ),
    # references
    "a remote reference": schema({"$ref": "http://127.0.0.1:9/schema.json"}),
    "a reference to a file": schema({"$ref": "file:///etc/passwd"}),
    "a reference to nothing": schema({"$ref": "#/$defs/missing"}),
    "endless": schema({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}),
    "itself or nothing": schema({"anyOf": [{"$ref": "#"}, {"type": "null"}]}),
    "1000 references": schema(lambda: chain(1000, referring)),
    "25000 references": schema(lambda: chain(25000, referring)),
    "10000 references in objects": schema(lambda: chain(10000, holding)),
    "1000 references in objects": schema(lambda: chain(1000, holding)),
    "30 times twice": schema(lambda: chain(30, twice)),
    "12000 times twice": schema(lambda: chain(12000, twice)),
    # size and depth
    "100 deep": schema(lambda: nested(50)),
    "1000 deep": schema(lambda: nested(500)),
    "100000 deep": schema(lambda: nested(30_000)),
    "100000 deep, a dict": schema(lambda: nested_dict(100_000)),
    "a dict that holds itself": schema(circle),
    "dicts with 2**60 ways": schema(lambda: shared(60)),
    "10 MB": schema(lambda: {"type": "null", "description": "x" * 10_000_000}),
    "10 MB of JSON": schema(lambda: '{"type":"null","description":"' + "x" * 10_000_000 + '"}'),
    "70000 values": schema(lambda: {"enum": [f"value{n}" for n in range(70_000)]}),
    "one long value": schema(lambda: {"const": "a b" * 30_000}),
    "30000 properties": schema(lambda: {"properties": {f"p{n}": {} for n in range(30_000)}}),
    "4500 properties": schema(lambda: {"properties": {f"p{n}": {} for n in range(4_500)}}),
    "1500 properties": schema(lambda: {"properties": {f"p{n}": {} for n in range(1500)}}),
    "5000 ways": schema(lambda: {"anyOf": [{"properties": {f"k{n}": {"const": n}}} for n in range(5000)]}),
    "2**24 ways": schema({"type": "object", "allOf": ALTERNATIVES}),
    "a billion items": schema({"type": "array", "minItems": 10**9, "items": {"type": "null"}}),
    "a billion characters": schema({"type": "string", "minLength": 10**9}),
    # arithmetic
    "a multiple of 99991": schema({"type": "integer", "multipleOf": 99_991}),
    "a multiple of a billion": schema({"type": "integer", "multipleOf": 10**9 + 7}),
    "a multiple of 1e-300": schema({"type": "number", "multipleOf": 1e-300}),
    "a multiple of 0": schema({"type": "number", "multipleOf": 0}),
    "multiples of everything": schema(
        lambda: {"properties": {f"{n}": {"multipleOf": n} for n in range(9000, 9300)}}
    ),
    "a common multiple": schema({"allOf": [{"type": "integer", "multipleOf": n} for n in (99_991, 99_989)]}),
    # expressions
    "a pattern of nested repetitions": schema({"type": "string", "pattern": "^(a{1000}){1000}$"}),
    "a pattern with a backtracking trap": schema({"type": "string", "pattern": "^(a+)+$"}),
    "patterns that overlap": schema(
        {"patternProperties": {"^a": {}, "a$": {"type": "null"}}, "type": "object"}
    ),
    "a pattern with look-ahead": schema({"type": "string", "pattern": "(?=a)b"}),
    "(a?){500}a{500}": regex("(a?){500}a{500}"),
    "(.*a){30}": regex("(.*a){30}"),
    ".*a.{30}": regex(".*a.{30}"),
    "((a{100}){100}){100}": regex("((a{100}){100}){100}"),
    "100000 parentheses": regex("(" * 100_000 + ")" * 100_000),
    "open parentheses": regex("(" * 1000),
    "a million characters": regex("a" * 1_000_000),
    "more than that": regex("a" * 1_000_001),
    "100000 words": regex("|".join(f"x{n}" for n in range(100_000))),
    "an impossible expression": regex(r"a\bb[^\s\S]"),
    "a reference back": regex(r"(a)\1"),
    # grammars
    "no grammar": lark(""),
    "no start": lark('x: "a"'),
    "an unknown rule": lark("start: missing"),
    "parentheses": lark("start: " + "(" * 50_000 + '"a"' + ")" * 50_000),
    "not not": lark("start: A\nA: " + "~(" * 10_000 + "/a/" + ")" * 10_000),
    "60000 rules": lark(rules(60_000)),
    "2**30 ways": lark(
        "start: a0\n" + "\n".join(f"a{n}: a{n + 1} a{n + 1}" for n in range(30)) + '\na30: "x"'
    ),
    "left recursion": lark('start: start "a" | "b"'),
    "only recursion": lark("start: start start"),
    "a billion times": lark('start: "a"{1000000000}'),
    "nested repetitions": lark('start: x{0,100000}\nx: y{0,100000}\ny: "a"'),
    "two ways each time": lark('start: "a" start "b" | "a" start "c" | "d"'),
    "a deep schema inside": lark("start: %json " + nested(5000)),
    "an unknown special token": lark("start: <|missing|>"),
    "a token that doesn't exist": lark("start: <[99999999]>"),
    "NUL": lark('start: "\0"'),
}


def outcome(vocab: lf.Vocab, make: Make) -> str:
    """Return what becomes of one: made, sampled from, cloned, dropped."""
    logits = [float(n * 7919 % 101) / 20 for n in range(vocab.n_tokens)]
    try:
        chain = lf.SamplerChain().add(make(vocab)).add_dist(1)
        copy = chain.clone()
        for each in (chain, copy):
            for _ in range(STEPS):
                token = each.apply(lf.Candidates(logits)).token
                assert token is not None
                each.accept(token)
            each.close()
    except lf.LlamaError as error:
        text = str(error)
        assert len(text) < 1000, text[:2000]
        return f"refused {type(error).__name__}: " + json.dumps(text)[:160]
    return "fine"


def main(names: list[str]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with testing.random_model("llama", seed=1) as model:
        for name in names:
            print(f"{name}\t", end="", flush=True)
            before = time.process_time()
            result = outcome(model.vocab, CASES[name])
            print(f"{time.process_time() - before:.2f}\t{result}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(CASES))
