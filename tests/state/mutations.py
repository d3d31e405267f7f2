"""Changed state files, by the thousand: each is refused with a reason, or is as good as the original.

    python -m tests.state.mutations --count 10000 [--seed 1]

Half of the files are sealed again after the change, with right lengths and right SHA-256, so that the
checksums don't do all the work: what is changed then is what libllama would have to believe (counts,
positions, sequences, types, sizes, the description). The numbers of keys, values and token ids themselves are
left alone in these: any number there is as good as another, and only the seal can tell.

The files are loaded in child processes, whose deaths are counted.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import llama_ffi as lf
from llama_ffi._core import state_payload_file as payload_file

from . import reseal
from .conftest import SMALL, feed, go_on

CONTEXTS: list[dict[str, Any]] = [
    {},
    {"n_seq_max": 3},
    {"n_seq_max": 3, "kv_unified": True},
    {"type_k": "f32", "type_v": "f32"},
    {"n_ctx": 512},
]
TOKENS = [1, 500, 600, 700, 800, 900, 1000, 1100]
STEPS = 2


class Case:
    """A context, one of its state files, and how it goes on from there."""

    def __init__(self, model: lf.Model, options: dict[str, Any], seq_id: int | None) -> None:
        self.ctx = model.context(**(SMALL | options))
        self.seq_id = seq_id
        for sequence in range(min(2, self.ctx.n_seq_max)):
            feed(self.ctx, TOKENS[: 6 + sequence], seq_id=sequence)
        self.last = 6 if seq_id is None else 6 + seq_id
        stream = io.BytesIO()
        tokens = {0: TOKENS[:6]} if seq_id is None else TOKENS[: self.last]
        lf.StateFile.save(self.ctx, stream, tokens, seq_id=seq_id)
        self.data = stream.getvalue()
        self.structure = list(structure(reseal.parts(self.data)[2], whole=seq_id is None))
        self.expected = self.go_on()

    def go_on(self) -> list[bytes]:
        return go_on(self.ctx, 42, self.last, STEPS, seq_id=self.seq_id or 0)

    def try_file(self, data: bytes) -> str:
        """Load a file; return how that went."""
        try:
            lf.StateFile.load(self.ctx, io.BytesIO(data), seq_id=self.seq_id)
        except lf.LlamaError as error:
            if not str(error):
                return "refused without a reason"
            return f"refused: {type(error).__name__}"
        return "loaded, the same" if self.go_on() == self.expected else "LOADED, ANOTHER"


def structure(payload: bytes, *, whole: bool) -> Iterator[int]:
    """Yield the places of a plain KV cache's payload that are no keys or values."""
    at = 0

    def word() -> int:
        nonlocal at
        at += 4
        return int(struct.unpack_from("<I", payload, at - 4)[0])

    begin = 0
    at = 4 + struct.unpack_from("<I", payload)[0] if whole else 8
    for _ in range(word()):
        count = word()
        if not count:
            continue
        for _ in range(count):
            at += 4
            n_sequences = word()
            at += 4 * n_sequences
        transposed, n_layer = word(), word()
        assert not transposed
        for _ in range(2 * n_layer):
            at += 4
            (row,) = struct.unpack_from("<Q", payload, at)
            at += 8
            yield from range(begin, at)
            at += row * count
            begin = at
    yield from range(begin, at)
    assert at == len(payload)


# --- changes ---------------------------------------------------------------------------------------


def flip(rng: random.Random, case: Case) -> bytes:
    data = bytearray(case.data)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def cut(rng: random.Random, case: Case) -> bytes:
    return case.data[: rng.randrange(len(case.data))]


def longer(rng: random.Random, case: Case) -> bytes:
    return case.data + rng.randbytes(rng.choice([1, 4, 4096]))


def block(rng: random.Random, case: Case) -> bytes:
    begin = rng.randrange(len(case.data))
    return case.data[:begin] + bytes(512) + case.data[begin + 512 :]


def sealed_flip(rng: random.Random, case: Case) -> bytes:
    payload = bytearray(reseal.parts(case.data)[2])
    for _ in range(rng.choice([1, 1, 2, 4])):
        payload[rng.choice(case.structure)] ^= 1 << rng.randrange(8)
    return reseal.with_payload(case.data, bytes(payload))


def sealed_word(rng: random.Random, case: Case) -> bytes:
    payload = bytearray(reseal.parts(case.data)[2])
    at = min(rng.choice(case.structure) // 4 * 4, len(payload) - 4)
    if not set(range(at, at + 4)) <= set(case.structure):
        return sealed_flip(rng, case)
    value = rng.choice([0, 1, 2, 3, 255, 256, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**32)])
    struct.pack_into("<I", payload, at, value)
    return reseal.with_payload(case.data, bytes(payload))


def sealed_cut(rng: random.Random, case: Case) -> bytes:
    payload = reseal.parts(case.data)[2]
    end = rng.choice([rng.randrange(len(payload)), rng.choice(case.structure)])
    return reseal.with_payload(case.data, payload[:end])


def sealed_longer(rng: random.Random, case: Case) -> bytes:
    payload = reseal.parts(case.data)[2]
    return reseal.with_payload(case.data, payload + rng.randbytes(rng.choice([1, 4, 8, 64])))


def sealed_header(rng: random.Random, case: Case) -> bytes:
    description = reseal.parts(case.data)[0]
    name = rng.choice(sorted(description.keys() - {"created", "extra", "made_by", "model", "n_seq_max"}))
    value = description[name]
    if name == "options":
        key = rng.choice(sorted(value))
        changed: Any = value | {key: rng.choice(["f32", "q8_0", "0.5", "none", "true", "x"])}
    elif name == "cells":
        key = rng.choice(sorted(value) or ["0"])
        changed = value | {key: [rng.randrange(10), rng.randrange(10), rng.randrange(10)]}
    elif name == "n_tokens":
        changed = {"0": rng.choice([0, 1, 5, 100, 2**40])}
    elif isinstance(value, int):
        changed = rng.choice([0, 1, value + 1, value * 2, 2**40, -1])
    else:
        changed = rng.choice(["", "llama2", value[::-1], value.upper(), "0" * len(value), None])
    if name == "n_ctx":  # any size of context is as good for a model without longrope
        changed = "256"
    if changed == value:
        changed = None
    return reseal.with_header(case.data, **{name: changed})


def sealed_swap(rng: random.Random, case: Case) -> bytes:
    """The description of one file over the payload of another."""
    other = rng.choice([each for each in CASES if each is not case])
    description, tokens, _ = reseal.parts(other.data)
    payload = reseal.parts(case.data)[2]
    whole = reseal.seal(description, tokens, payload)
    return reseal.with_payload(whole, payload)


Change = Callable[[random.Random, Case], bytes]
UNSEALED: list[Change] = [flip, flip, cut, longer, block]
SEALED: list[Change] = [sealed_flip, sealed_flip, sealed_word, sealed_word, sealed_cut, sealed_longer]
SEALED += [sealed_header, sealed_header, sealed_swap]
CASES: list[Case] = []


def child(seed: int, first: int, count: int) -> None:
    """Try ``count`` files; print one line for each."""
    model = lf.Model.load(lf.tiny_model_path())
    for options in CONTEXTS:
        for seq_id in (None, 0):
            CASES.append(Case(model, options, seq_id))
    for index in range(first, first + count):
        rng = random.Random(f"{seed}/{index}")
        payload_file._SMALL = rng.choice([0, 1 << 20])  # mapped, or copied as small ones are
        case = rng.choice(CASES)
        change = rng.choice(SEALED if index % 2 else UNSEALED)
        print(json.dumps([index, change.__name__, "begun"]), flush=True)
        data = change(rng, case)
        outcome = "unchanged" if data == case.data else case.try_file(data)
        print(json.dumps([index, change.__name__, outcome]), flush=True)
        if outcome == "loaded, the same" or outcome.startswith("LOADED"):
            lf.StateFile.load(case.ctx, io.BytesIO(case.data), seq_id=case.seq_id)


def run(count: int, seed: int) -> collections.Counter[tuple[str, str]]:
    """Try ``count`` files in child processes; return how often each change had which outcome."""
    outcomes: collections.Counter[tuple[str, str]] = collections.Counter()
    first = 0
    while first < count:
        step = min(2500, count - first)
        program = f"from tests.state.mutations import child; child({seed}, {first}, {step})"
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        for _index, change, outcome in lines:
            if outcome != "begun":
                outcomes[change, outcome] += 1
        if done.returncode:
            if not lines:
                raise SystemExit(f"the child process ended with {done.returncode} before its first file")
            index, change, _ = lines[-1]
            outcomes[change, f"DEAD ({done.returncode}) at {index}"] += 1
            first = index + 1
        else:
            first += step
    return outcomes


def bad(outcomes: collections.Counter[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return the outcomes that must not be."""
    allowed = ("refused: ", "loaded, the same", "unchanged")
    return {key: number for key, number in outcomes.items() if not key[1].startswith(allowed)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    outcomes = run(arguments.count, arguments.seed)
    for (change, outcome), number in sorted(outcomes.items()):
        print(f"{number:6}  {change:14}  {outcome}")
    wrong = bad(outcomes)
    print(f"{sum(outcomes.values())} files; wrong: {sum(wrong.values())}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
