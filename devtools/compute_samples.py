"""Let llama.cpp plan networks of random sizes, without allocating, and write down what it says.

One file of JSON lines per kind of `llama_ffi.testing`: the metadata, and for several contexts the bytes of
weights, memory and compute buffer. `devtools.fit_compute` looks for sums that explain the last.

Half of the networks have the sizes of real models, which costs no memory: nothing is allocated. Each kind has
a process of its own, `python -m devtools.compute_samples KIND FILE …`: sizes that end it cost only that kind.
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import llama_ffi as lf
from llama_ffi import testing
from llama_ffi._core import binding, model_checks
from llama_ffi.errors import InvalidArgumentError, LlamaError
from llama_ffi.gguf import GgufContext

Metadata = dict[str, Any]

FILES = ("rwkv6qwen2",)
CLOSER = ("llama", "llama-moe", "qwen2", "qwen3", "qwen3moe", "gemma3", "deepseek2", "gpt-oss")
"""Kinds of which most models are: of these four times as many networks are planned."""
USUAL: list[dict[str, Any]] = [{"n_ctx": 512}, {"n_ctx": 2048}, {"n_ctx": 8192}]
"""Contexts of the first network, which has the sizes that `testing` gives it."""
TRIES = 4
"""How often sizes are drawn for a network: not all fit together."""


def planned(metadata: Metadata) -> lf.Model:
    """Return a model whose weights have a place and no values: only its plans are of use."""
    active = binding.active()
    params = active.lib.llama_model_default_params()
    params.n_gpu_layers, params.use_extra_bufts, params.no_alloc = 0, False, True
    nothing = active.ffi.callback("llama_model_set_tensor_data_t", lambda _tensor, _data: None)
    problem = model_checks.metadata_problem(metadata["general.architecture"], metadata.get, metadata)
    if problem:
        raise InvalidArgumentError(problem)
    with GgufContext(metadata) as gguf, gguf._handle as context:
        return lf.Model(active.lib.llama_model_init_from_user(context, nothing, active.ffi.NULL, params))


def from_file(kind: str, metadata: Metadata) -> lf.Model:
    """Return the same for kinds that take a file: in memory they get tensors that they must not have."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.gguf"
        testing.save_random_model(path, kind, metadata=metadata)
        return lf.Model.load(path, no_alloc=True, n_gpu_layers=0, use_extra_bufts=False)


def with_words(metadata: Metadata, count: int) -> Metadata:
    """Return the metadata with a vocabulary of that many tokens and no words, which is quickly made."""
    own = {key: value for key, value in metadata.items() if not key.startswith("tokenizer.")}
    arch = metadata["general.architecture"]
    return {**own, "tokenizer.ggml.model": "no_vocab", f"{arch}.vocab_size": count}


def sample(kind: str, n_sizes: int, n_contexts: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield records of networks of one kind; the first one has the usual sizes."""
    chance = random.Random(f"{kind} {seed}")
    for number in range(n_sizes):
        real = number % 2 == 1 and kind not in FILES
        for attempt in range(TRIES):
            try:
                metadata = testing.random_metadata(kind)
                if number:
                    metadata = _network(kind, chance, real=real, usual_depth=attempt > 1)
                model = from_file(kind, metadata) if kind in FILES else planned(metadata)
            except LlamaError:  # sizes that don't fit together
                continue
            with model:
                yield _record(model, metadata, _contexts(chance, n_contexts, usual=number == 0, real=real))
            break


def _record(model: lf.Model, metadata: Metadata, contexts: list[dict[str, Any]]) -> dict[str, Any]:
    runs = []
    for context in contexts:
        try:
            plan = model.measure(**context)
        except LlamaError:  # a context that this kind can't have
            continue
        runs.append((context, plan.model, plan.context, plan.compute))
    own = {key: value for key, value in metadata.items() if not key.startswith("tokenizer.")}
    return {"md": own, "n_vocab": model.vocab.n_tokens, "runs": runs}


def write(folder: Path, kinds: list[str], n_sizes: int, n_contexts: int, seed: int) -> list[str]:
    """Write a file per kind into ``folder``; return the kinds whose process failed."""
    folder.mkdir(parents=True, exist_ok=True)

    def one(kind: str) -> bool:
        count = 4 * n_sizes if kind in CLOSER else n_sizes
        numbers = [str(number) for number in (count, n_contexts, seed)]
        words = [sys.executable, "-m", __name__, kind, str(folder / f"{kind}.jsonl"), *numbers]
        failed = subprocess.run(words, check=False).returncode != 0
        print(f"{kind} failed" if failed else kind, flush=True)
        return failed

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [kind for kind, failed in zip(kinds, pool.map(one, kinds), strict=True) if failed]


def _network(kind: str, chance: random.Random, *, real: bool, usual_depth: bool) -> Metadata:
    """Return the metadata of a network of random sizes."""
    plain = testing.random_metadata(kind)
    arch = plain["general.architecture"]
    sizes: Any = _sizes(chance, experts=f"{arch}.expert_count" in plain, wide="rwkv" in arch, real=real)
    usual = plain[f"{arch}.block_count"]
    depths = [usual] if usual_depth else [1, 2, *range(usual, usual + 4), *range(2 * usual, 2 * usual + 4)]
    sizes["n_layer"] = depth = chance.choice(depths)
    n_vocab = _any(chance, 30_000, 260_000, 64) if real else _any(chance, 600, 12_000, 8)
    if plain["tokenizer.ggml.model"] == "bert":  # its kinds ask it for the number of token types
        n_vocab = min(n_vocab, 30_000)
    own = kind in FILES or plain["tokenizer.ggml.model"] == "bert"
    if own:
        sizes["n_vocab"] = n_vocab
    metadata = testing.random_metadata(kind, **sizes)
    metadata = metadata if own else with_words(metadata, n_vocab)
    if kind in FILES:
        return metadata
    for key, value in metadata.items():
        if ".attention." in key and isinstance(value, list) and len(value) == usual != depth:
            metadata[key] = (value * depth)[:depth]  # one for each layer
    for changes in _variations(metadata, arch, chance):
        try:
            planned({**metadata, **changes}).close()
            metadata.update(changes)
        except LlamaError:  # not every kind can have them
            pass
    return metadata


def _sizes(chance: random.Random, *, experts: bool, wide: bool, real: bool) -> dict[str, int]:
    n_head = 2 ** (chance.randint(3, 6) if real else chance.randint(0, 3 if wide else 4))
    n_head_kv = n_head if wide else 2 ** chance.randint(0, n_head.bit_length() - 1)
    widths = [64, 128] if real else [8, 16, 24, 32, 64, 64, 128]
    n_embd = n_head * (64 if wide else chance.choice(widths))
    sizes = {
        "n_embd": n_embd,
        "n_head": n_head,
        "n_head_kv": n_head_kv,
        "n_ff": _any(chance, n_embd if real else 32, 4 * max(n_embd, 64), 8),
        "n_swa": chance.choice([512, 1024, 4096] if real else [32, 64, 256]),
    }
    if experts:
        sizes["n_expert"] = chance.choice([8, 32, 64, 128] if real else [4, 8, 16])
        sizes["n_expert_used"] = chance.randint(1, 8 if real else 4)
    return sizes


def _variations(metadata: Metadata, arch: str, chance: random.Random) -> Iterator[Metadata]:
    """Yield changes to sizes that don't follow from the others, each of which may be refused."""
    n_embd = metadata[f"{arch}.embedding_length"]
    heads = [8, 16, 32, 64, 128, 192, 256]

    def own(**values: Any) -> Metadata:
        return {f"{arch}.{key.replace('__', '.')}": value for key, value in values.items()}

    def has(key: str) -> bool:
        return f"{arch}.{key}" in metadata

    if has("attention.key_length_mla"):
        latent, turned = chance.choice([32, 64, 128, 256, 512]), chance.choice([8, 16, 32, 64])
        if not metadata.get(f"{arch}.rope.dimension_count", 1):  # it turns nothing
            turned = 0
        keys, values = chance.choice(heads[1:5]), chance.choice(heads[1:5])
        wide = {
            "attention__kv_lora_rank": latent,
            "attention__key_length": latent + turned,
            "attention__value_length": latent,
            "attention__key_length_mla": keys + turned,
            "attention__value_length_mla": values,
        }
        if has("attention.key_length_swa"):
            wide.update({f"{key}_swa": value for key, value in wide.items()})
        yield own(**wide, rope__dimension_count=turned)
    elif chance.random() < 0.5:
        width = chance.choice(heads)
        wide = {"attention__key_length": width, "attention__value_length": width}
        if has("attention.key_length_swa"):
            swa = chance.choice(heads)
            wide.update(attention__key_length_swa=swa, attention__value_length_swa=swa)
        yield own(**wide, rope__dimension_count=width)
    if chance.random() < 0.7:
        yield own(attention__q_lora_rank=_any(chance, 16, n_embd, 16))
    if has("expert_count"):
        yield own(expert_feed_forward_length=_any(chance, 32, 2 * n_embd, 32))
        shared = _any(chance, 32, 2 * n_embd, 32)
        yield own(expert_shared_feed_forward_length=shared, expert_shared_count=chance.choice([1, 1, 2]))
    if chance.random() < 0.7:
        yield own(ssm__state_size=chance.choice([16, 32, 64, 128]))
        yield own(ssm__group_count=chance.choice([1, 2, 4, 8]))
        yield own(ssm__inner_size=n_embd * chance.choice([1, 2, 3]))
    if has("kda.head_dim"):
        yield own(kda__head_dim=chance.choice([16, 32, 64, 128]))
    if has("attention.indexer.head_count"):
        yield own(attention__indexer__key_length=chance.choice([32, 64, 128]))
        heads_kv = metadata[f"{arch}.attention.head_count_kv"]
        same = arch == "minimax-m3"  # which has one for each head of keys
        yield own(attention__indexer__head_count=heads_kv if same else chance.choice([2, 4, 16, 64]))
        yield own(attention__indexer__top_k=chance.choice([64, 512, 2048, 2**17]))
    if has("embedding_length_per_layer_input"):
        yield own(embedding_length_per_layer_input=chance.choice([16, 64, 256]))


def _contexts(chance: random.Random, count: int, *, usual: bool, real: bool) -> list[dict[str, Any]]:
    return (USUAL if usual else []) + [_context(chance, real=real) for _ in range(count)]


def _context(chance: random.Random, *, real: bool) -> dict[str, Any]:
    tokens = chance.choice([256, 512, 512, 512, 1024, 2048] if real else [16, 32, 64, 128, 256, 512])
    sequences = chance.choice([1, 1, 1, 1, 2, 4, 8] if real else [1, 1, 1, 1, 2, 4])
    longest = 262_144 if real else 16_384
    context: dict[str, Any] = {"n_ctx": _any(chance, 256, longest, 256), "n_seq_max": sequences}
    context.update(n_ubatch=tokens, n_batch=max(tokens, 2048 if real else 512))
    if chance.random() < 0.3:
        context["flash_attn"] = False
    if chance.random() < 0.35:
        context["n_outputs_max"] = max(sequences, chance.choice([4, 8, 16]))
    if chance.random() < 0.2:
        context["swa_full"] = False
    if sequences > 1 and chance.random() < 0.4:
        context["kv_unified"] = True
    return context


def _any(chance: random.Random, low: int, high: int, step: int) -> int:
    """Return a multiple of ``step``, every order of size as likely as the others."""
    return max(step, int(math.exp(chance.uniform(math.log(low), math.log(max(low, high))))) // step * step)


if __name__ == "__main__":
    with open(sys.argv[2], "w", encoding="utf-8", buffering=1) as out:
        for record in sample(sys.argv[1], *map(int, sys.argv[3:6])):
            out.write(json.dumps(record) + "\n")
