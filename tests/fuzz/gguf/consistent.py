"""Changes that keep sizes consistent: they get past the first checks and show what libllama makes of it."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from llama_ffi._core import gguf_types as types
from tests.fuzz.gguf.file import FLOATS, INTERESTING, File, refill, string

ARCHITECTURES = [
    "llama", "gpt2", "bert", "qwen2moe", "gemma3", "mamba", "mamba2", "rwkv6", "rwkv7", "t5", "t5encoder",
    "jamba", "falcon-h1", "deepseek2", "phi3", "clip", "nemotron_h", "lfm2", "gemma4", "gpt-oss", "eagle3",
    "wavtokenizer-dec", "", "no such architecture", "dream", "granitehybrid", "minicpm3", "cogvlm",
    "kimi-linear", "command-r",
]  # fmt: skip
KEYS = [
    "block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count",
    "attention.head_count_kv", "attention.key_length", "attention.value_length", "rope.dimension_count",
    "rope.dimension_sections", "rope.freq_base", "rope.scaling.type", "rope.scaling.factor", "expert_count",
    "expert_used_count", "expert_group_count", "expert_group_used_count", "expert_gating_func",
    "attention.sliding_window", "attention.causal", "pooling_type", "vocab_size", "ssm.conv_kernel",
    "ssm.inner_size", "ssm.state_size", "ssm.time_step_rank", "ssm.group_count", "wkv.head_size",
    "leading_dense_block_count", "nextn_predict_layers", "attention.max_alibi_bias", "attention.clamp_kqv",
    "logit_scale", "embedding_scale", "residual_scale", "expert_weights_scale", "rescale_every_n_layers",
    "attention.relative_buckets_count", "decoder_start_token_id", "final_logit_softcapping",
    "n_deepstack_layers",
    "attention.sliding_window_pattern", "classifier.output_labels", "embedding_length_out", "features_length",
    "rope.scaling.original_context_length", "rope.scaling.yarn_log_multiplier", "rope.freq_base_swa",
    "tensor_data_layout", "token_shift_count", "interleave_moe_layer_step", "attention.kv_lora_rank",
]  # fmt: skip


def scalar(file: File, rng: random.Random) -> None:
    """Another value of the same type."""
    entry = rng.choice(file.entries)
    kind = struct.unpack("<i", entry[1][:4])[0]
    entry[1] = entry[1][:4] + _content(kind, rng, entry[1])


def _content(kind: int, rng: random.Random, old: bytes = b"") -> bytes:
    if kind == types.STRING:
        return string(_text(rng, old[12:]))
    if kind == types.ARRAY:
        item, count = struct.unpack("<iQ", old[4:16]) if len(old) >= 16 else (types.I32, 3)
        return _array(item, count, rng)
    if kind in (types.F32, types.F64):
        return struct.pack("<" + types.CODES[kind], rng.choice(FLOATS))
    size = types.SIZES[kind]
    value = rng.choice(INTERESTING) if rng.random() < 0.8 else rng.getrandbits(64)
    return (value % 2 ** (8 * size)).to_bytes(size, "little")


def _array(item: int, count: int, rng: random.Random) -> bytes:
    count = rng.choice([0, 1, 2, count, count, count // 2, count + 1, min(2 * count, 5000), 512, 513, 600])
    head = struct.pack("<iQ", item, count)
    if item == types.STRING:
        return head + b"".join(string(_text(rng, b"")) for _ in range(count))
    if item == types.ARRAY:
        return head + b"".join(_array(types.I32, 1, rng) for _ in range(min(count, 5)))
    one = _content(item, rng)
    many = rng.random() < 0.5
    return head + (b"".join(_content(item, rng) for _ in range(count)) if many else one * count)


def _text(rng: random.Random, old: bytes) -> bytes:
    choice = rng.randrange(10)
    if choice == 0:
        return b""
    if choice == 1:
        return bytes(rng.getrandbits(8) for _ in range(rng.randrange(40)))
    if choice == 2:
        return b"\xff\xfe\xf0\x9f"
    if choice == 3:
        return b"a\0b"
    if choice == 4 and rng.random() < 0.1:
        return b"x" * 1_000_000
    if choice == 5:
        return rng.choice(["none", "linear", "yarn", "longrope", "no such thing"]).encode()
    if choice == 6:
        return rng.choice(["llama", "gpt2", "bert", "t5", "rwkv", "plamo2", "none", "hybriddna"]).encode()
    if choice == 7:
        return rng.choice(
            [b"default", b"llama-bpe", b"gpt-2", b"qwen2", b"gemma4", b"tekken", b"viking", b"?"]
        )
    changed = bytearray(old[:2000] or b"abc")
    changed[rng.randrange(len(changed))] = rng.getrandbits(8)
    return bytes(changed)


def array_item(file: File, rng: random.Random) -> None:
    """Change a few elements of an array, or its length, the others as they were."""
    array, nested = struct.pack("<i", types.ARRAY), struct.pack("<ii", types.ARRAY, types.ARRAY)
    arrays = [each for each in file.entries if each[1][:4] == array and each[1][:8] != nested]
    if not arrays:
        return scalar(file, rng)
    entry = rng.choice(arrays)
    item, count = struct.unpack("<iQ", entry[1][4:16])
    items = _items(entry[1][16:], item, count)
    for _ in range(rng.choice([1, 1, 4])):
        if not items:
            break
        at, what = rng.randrange(len(items)), rng.randrange(5)
        if what == 0:
            del items[at]
        elif what == 1:
            items.insert(at, items[rng.randrange(len(items))])
        elif what == 2:
            items[at] = items[rng.randrange(len(items))]
        else:
            items[at] = string(_text(rng, items[at][8:])) if item == types.STRING else _content(item, rng)
    entry[1] = entry[1][:8] + struct.pack("<Q", len(items)) + b"".join(items)
    return None


def _items(data: bytes, item: int, count: int) -> list[bytes]:
    if item != types.STRING:
        size = types.SIZES[item]
        return [data[index * size : (index + 1) * size] for index in range(count)]
    items, at = [], 0
    for _ in range(count):
        end = at + 8 + struct.unpack_from("<Q", data, at)[0]
        items.append(data[at:end])
        at = end
    return items


def retype(file: File, rng: random.Random) -> None:
    """A value of another type under the same key."""
    entry = rng.choice(file.entries)
    kind = rng.randrange(13)
    entry[1] = struct.pack("<i", kind)
    entry[1] += _array(rng.randrange(13), 3, rng) if kind == types.ARRAY else _content(kind, rng)


def remove_entry(file: File, rng: random.Random) -> None:
    file.entries.remove(rng.choice(file.entries))


def add_entry(file: File, rng: random.Random) -> None:
    arch = next((each[1][12:] for each in file.entries if each[0] == b"general.architecture"), b"llama")
    key = arch + b"." + rng.choice(KEYS).encode()
    entry = next((each for each in file.entries if each[0] == key), None)
    if entry is None:
        entry = [key, b""]
        file.entries.append(entry)
    kind = rng.choice([types.U32] * 6 + [types.F32] * 3 + [types.I32, types.STRING, types.BOOL, types.ARRAY])
    if kind == types.ARRAY:
        item = rng.choice([types.U32, types.I32, types.F32, types.BOOL])
        entry[1] = struct.pack("<i", kind) + _array(item, 2, rng)
    else:
        entry[1] = struct.pack("<i", kind) + _content(kind, rng)


def duplicate_entry(file: File, rng: random.Random) -> None:
    file.entries.append(list(rng.choice(file.entries)))


def rename_entry(file: File, rng: random.Random) -> None:
    entry = rng.choice(file.entries)
    key = entry[0]
    entry[0] = rng.choice([b"", b"\xff\xfe", key + b"\0x", b"k" * 70_000, key[:-1], b"general.alignment"])


def architecture(file: File, rng: random.Random) -> None:
    """Claim to be another architecture, with all keys renamed to it."""
    old = next((each[1][12:] for each in file.entries if each[0] == b"general.architecture"), b"llama")
    new = rng.choice(ARCHITECTURES).encode()
    for entry in file.entries:
        if entry[0] == b"general.architecture":
            entry[1] = entry[1][:4] + string(new)
        elif entry[0].startswith(old + b"."):
            entry[0] = new + entry[0][len(old) :]


def alignment(file: File, rng: random.Random) -> None:
    value = rng.choice([0, 1, 2, 3, 4, 8, 16, 33, 64, 4096, 2**31, 2**32 - 1])
    file.entries.append([b"general.alignment", struct.pack("<iI", types.U32, value)])


def split_keys(file: File, rng: random.Random) -> None:
    """Claim to be part of more files: too many, of a cycle, of oneself."""
    values = [
        (b"split.no", "<iH", types.U16, rng.choice([0, 1, 2, 65535])),
        (b"split.count", "<iH", types.U16, rng.choice([0, 1, 2, 3, 65535])),
        (b"split.tensors.count", "<ii", types.I32, rng.choice([0, 1, -1, 21, 2**31 - 1])),
    ]
    for key, form, kind, value in values:
        if rng.random() < 0.9:
            file.entries = [each for each in file.entries if each[0] != key]
            file.entries.append([key, struct.pack(form, kind, value)])


def reshape(file: File, rng: random.Random) -> None:
    """Another shape of a tensor, with as many bytes as it needs."""
    if not file.tensors:
        return scalar(file, rng)
    tensor = rng.choice(file.tensors)
    ne = tensor[1]
    what = rng.randrange(7)
    if what == 0:
        ne.reverse()
    elif what == 1 and ne:
        ne[rng.randrange(len(ne))] = rng.choice([0, 1, 2, 16, 31, 32, 33, 64, 300])
    elif what == 2:
        ne.append(rng.choice([0, 1, 2]))
    elif what == 3 and ne:
        ne.pop()
    elif what == 4:
        ne[:] = [0]
    elif what == 5 and ne:
        ne[-1] *= 2
    else:
        tensor[2] = rng.randrange(45)
    del ne[5:]
    refill(tensor, rng)
    return None


def retype_tensor(file: File, rng: random.Random) -> None:
    if not file.tensors:
        return scalar(file, rng)
    names = [each.number for each in types.tensor_types().values()]
    for tensor in rng.sample(file.tensors, rng.choice([1, 1, min(3, len(file.tensors)), len(file.tensors)])):
        tensor[2] = rng.choice(names)
        refill(tensor, rng)
    return None


def remove_tensor(file: File, rng: random.Random) -> None:
    if file.tensors:
        file.tensors.remove(rng.choice(file.tensors))


def rename_tensor(file: File, rng: random.Random) -> None:
    if not file.tensors:
        return
    tensor = rng.choice(file.tensors)
    other = rng.choice(file.tensors)[0]
    names = [other, tensor[0].replace(b"0", b"1"), b"output.weight", b"rope_freqs.weight"]
    tensor[0] = rng.choice([*names, b"", b"x" * 63, b"x" * 64, b"a\0b", b"\xff"])


def swap_tensors(file: File, rng: random.Random) -> None:
    rng.shuffle(file.tensors)
    if len(file.tensors) > 1 and rng.random() < 0.5:
        first, second = rng.sample(file.tensors, 2)
        first[0], second[0] = second[0], first[0]


def data_bytes(file: File, rng: random.Random) -> None:
    """NaNs, infinities or any bytes as weights."""
    if not file.tensors:
        return
    for tensor in rng.sample(file.tensors, rng.choice([1, len(file.tensors)])):
        unit = rng.choice([b"\xff", b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\x7c", rng.randbytes(64), b"\0"])
        tensor[3] = (unit * (len(tensor[3]) // len(unit) + 1))[: len(tensor[3])]


CONSISTENT: list[Callable[[File, random.Random], None]] = [
    scalar, scalar, scalar, array_item, array_item, array_item, retype, remove_entry, add_entry, add_entry,
    add_entry, duplicate_entry, rename_entry, architecture, alignment, split_keys, reshape, retype_tensor,
    remove_tensor, rename_tensor, swap_tensors, data_bytes,
]  # fmt: skip
